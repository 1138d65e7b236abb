"""Networks against recorded outputs of the reference, which parity.py describes."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from occnet_jax import losses
from occnet_jax.nn.decoders import CBatchNormDecoder
from occnet_jax.nn.norm import NormSettings
from tests.helpers.parity import (
  CASES,
  FITTED,
  SPEC,
  arguments,
  as_variables,
  largest_errors,
  load,
  network,
  place,
  state_dict,
  tolerances,
)


@pytest.mark.parametrize("case", CASES)
def test_the_network_matches_the_reference(case):
  limits = tolerances(case)
  for name, error in largest_errors(case).items():
    assert error < limits.get(name, 1e-4), name


def test_the_running_variance_is_biased_on_request():
  case = "dec_DecoderCBatchNorm_0"
  variables, args = as_variables(state_dict(SPEC[case])), arguments(case)

  def after(unbiased):
    net = CBatchNormDecoder(32, norm=NormSettings(unbiased_variance=unbiased))
    _, new = net.apply(variables, *args, train=True, mutable=["batch_stats"])
    return new["batch_stats"]["bn"]["bn"]["var"]

  before = variables["batch_stats"]["bn"]["bn"]["var"]
  n = args[0].shape[0] * args[0].shape[1]
  batch_variance = (after(False) - 0.9 * before) / 0.1
  np.testing.assert_allclose(
    after(True), 0.9 * before + 0.1 * batch_variance * n / (n - 1), rtol=1e-5
  )


def test_a_layer_of_the_reference_finds_its_place_by_its_name():
  path, kernel = place("features.layer2.0.downsample.0.weight", np.zeros((8, 4, 1, 2)))
  assert path == ("params", "features", "layer2_0", "downsample_0", "kernel")
  assert kernel.shape == (1, 2, 4, 8)
  path, kernel = place("block0.bn_0.fc_gamma.weight", np.zeros((8, 4)))
  assert path == ("params", "block0", "bn_0", "conv_gamma", "kernel")
  assert kernel.shape == (4, 8)


def test_a_code_fitted_to_distances_takes_the_steps_of_deepsdf():
  given, recorded = load(FITTED, "in/"), load(FITTED, "eval/")
  net, variables = network(FITTED), as_variables(state_dict(SPEC[FITTED]))
  points = jnp.asarray(given["xyz"][None])
  distances = jnp.asarray(given["sdf_gt"][None, :, 0])

  def loss(code):
    errors = losses.clamped_l1(
      net.apply(variables, points, code, train=False), distances
    )
    return errors + 1e-4 * jnp.square(code).mean()

  step = jax.jit(jax.value_and_grad(loss))
  adam, code = optax.adam(5e-3), jnp.asarray(given["code"])
  state, codes, values = adam.init(code), [], []
  for _ in recorded["losses"]:
    value, gradient = step(code)
    updates, state = adam.update(gradient, state)
    code = optax.apply_updates(code, updates)
    values.append(value)
    codes.append(code[0])
  np.testing.assert_allclose(values, recorded["losses"], rtol=1e-5)
  np.testing.assert_allclose(codes, recorded["codes"], rtol=1e-4, atol=1e-6)
