"""Networks against recorded outputs of the reference implementation.

tests/parity/*.npz hold random weights in the reference's layout, inputs, and what the
reference made of them: outputs in evaluation and training mode, the loss
sum(linspace(-1, 1) * output) with its gradients, and the running statistics after it.
"""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

from occnet_jax.nn.decoders import CBatchNormDecoder
from occnet_jax.nn.pointnet import ResnetPointnet

RECORDED = pathlib.Path(__file__).parents[1] / "parity"
LEAVES = {
  "weight": ("params", "kernel"),
  "bias": ("params", "bias"),
  "running_mean": ("batch_stats", "mean"),
  "running_var": ("batch_stats", "var"),
}


def load(case, prefix):
  with np.load(RECORDED / f"{case}.npz") as arrays:
    names = [name for name in arrays if name.startswith(prefix)]
    return {name[len(prefix) :]: jnp.asarray(arrays[name]) for name in names}


def as_variables(named):
  """{"block0.fc_0.weight": ...} as the reference has it -> linen variables."""
  flat = {}
  for name, array in named.items():
    *path, leaf = name.split(".")
    if leaf == "num_batches_tracked":
      continue
    collection, ours = LEAVES[leaf]
    if leaf == "weight":
      array = array.reshape(array.shape[:2]).T  # Conv1d of width 1, and out x in
    flat[collection, *path, ours] = array
  return traverse_util.unflatten_dict(flat)


def weighted_sum(out):
  return (jnp.linspace(-1, 1, out.size).reshape(out.shape) * out).sum()


def assert_trees_close(found, wanted, **tolerance):
  """Every leaf close relative to its own largest entry, but for leaves that are nought:

  a bias before a batch norm has no gradient, and what is recorded of it is rounding.
  """
  found = traverse_util.flatten_dict(found, sep="/")
  wanted = traverse_util.flatten_dict(wanted, sep="/")
  assert found.keys() == wanted.keys()
  largest = max(np.abs(array).max() for array in wanted.values())
  for name, array in wanted.items():
    scale = max(1e-2 * largest, np.abs(array).max())
    np.testing.assert_allclose(
      found[name] / scale, array / scale, err_msg=name, **tolerance
    )


def test_pointnet_matches_the_reference():
  case = "enc_pointnet_resnet"
  net = ResnetPointnet(c_dim=24, hidden_dim=32)
  variables = as_variables(load(case, "weight/"))
  inputs, out = load(case, "in/")["inputs"], load(case, "eval/")["out0"]
  found = net.apply(variables, inputs, train=False)
  np.testing.assert_allclose(found, out, rtol=1e-5, atol=1e-5)

  def loss(params):
    return weighted_sum(net.apply({"params": params}, inputs, train=True))

  value, gradients = jax.value_and_grad(loss)(variables["params"])
  np.testing.assert_allclose(value, load(case, "train/")["loss"], rtol=1e-4)
  wanted = as_variables(load(case, "grad/"))["params"]
  assert_trees_close(gradients, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
  ("case", "leaky"),
  [("dec_DecoderCBatchNorm_0", False), ("dec_DecoderCBatchNorm_1", True)],
)
def test_cbatchnorm_decoder_matches_the_reference(case, leaky):
  net = CBatchNormDecoder(hidden_size=32, leaky=leaky)
  variables = as_variables(load(case, "weight/"))
  given = load(case, "in/")
  z = given["z"] if given["z"].shape[1] else None
  args = (given["p"], z, given["c"])
  out = net.apply(variables, *args, train=False)
  wanted = load(case, "eval/")["out0"]
  np.testing.assert_allclose(out, wanted, rtol=1e-5, atol=1e-5)

  def loss(params):
    variables_now = {**variables, "params": params}
    out, new = net.apply(variables_now, *args, train=True, mutable=["batch_stats"])
    return weighted_sum(out), (out, new["batch_stats"])

  (value, (out, stats)), gradients = jax.value_and_grad(loss, has_aux=True)(
    variables["params"]
  )
  recorded = load(case, "train/")
  np.testing.assert_allclose(out, recorded["out0"], rtol=1e-4, atol=1e-4)
  np.testing.assert_allclose(value, recorded["loss"], rtol=1e-4)
  wanted = as_variables(load(case, "grad/"))["params"]
  assert_trees_close(gradients, wanted, rtol=1e-4, atol=1e-4)
  after = as_variables(load(case, "after/"))["batch_stats"]
  assert_trees_close(stats, after, rtol=1e-4, atol=1e-5)


def test_the_running_variance_is_biased_on_request():
  case = "dec_DecoderCBatchNorm_0"
  variables = as_variables(load(case, "weight/"))
  given = load(case, "in/")
  args = (given["p"], given["z"], given["c"])

  def after(unbiased):
    net = CBatchNormDecoder(hidden_size=32, unbiased_variance=unbiased)
    _, new = net.apply(variables, *args, train=True, mutable=["batch_stats"])
    return new["batch_stats"]["bn"]["bn"]["var"]

  before = variables["batch_stats"]["bn"]["bn"]["var"]
  n = given["p"].shape[0] * given["p"].shape[1]
  batch_variance = (after(False) - 0.9 * before) / 0.1
  np.testing.assert_allclose(
    after(True), 0.9 * before + 0.1 * batch_variance * n / (n - 1), rtol=1e-5
  )
