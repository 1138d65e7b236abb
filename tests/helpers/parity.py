"""Networks against recordings of the reference implementation (host and device).

tests/parity/spec*.json describe every case: the reference's module, its sizes, and the
seed and shapes of its random weights. tests/parity/<case>.npz holds the reference's
results:

  in/        inputs, and the targets of the loss
  eval/      outputs in evaluation mode
  train/     outputs in training mode and the loss, which is the sum over outputs of
             sum(linspace(-1, 1) * output), or that of the paper for whole networks and
             those of r2n2 and DeepSDF
  grad/      its gradients, where they are small; gradnorm/ the norm of each of them
  after/     the running statistics after that step in training mode
"""

import functools
import json
import pathlib
import re
import runpy
from contextlib import nullcontext

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import traverse_util

from occnet_jax import losses
from tests.helpers import (
  HAS_OLD_EMITTERS,
  convolutions,
  parity_convonet,
  parity_networks,
  parity_poco,
  parity_sap,
)

RECORDED = pathlib.Path(__file__).parents[1] / "parity"
SPEC = {
  case: about
  for path in sorted(RECORDED.glob("spec*.json"))
  for case, about in json.loads(path.read_text()).items()
}
FITTED = "deepsdf_infer"  # a recording of codes, not of a network's gradients
# Families with tests of their own, in tests/models and tests/nn.
APART = ("siren", "formula", "point_sets", "cells", "pix2mesh")
CASES = [
  case
  for case in SPEC
  if case not in (FITTED, parity_convonet.SLIDING)
  and SPEC[case]["about"].get("family") not in APART
]
FAMILIES = {
  special.FAMILY: special for special in (parity_convonet, parity_poco, parity_sap)
}
LEAVES = {
  "alpha": ("params", "alpha"),
  "beta": ("params", "beta"),
  "bias": ("params", "bias"),
  "norm_radius": ("batch_stats", "norm_radius"),
  "running_mean": ("batch_stats", "mean"),
  "running_var": ("batch_stats", "var"),
  "weight_g": ("params", "scale"),
}
# Cases whose training step is compared in float64, with the tolerances of its
# gradients; on a GPU also those that agree in float32 on CPUs alone. Among millions of
# ReLUs some have an input so close to zero that rounding decides their slope, and
# one of them changes a gradient by 1e-2. In float64 the gradient is the same on every
# machine. The first case was recorded in float32: with the slopes of two ReLUs changed,
# whose inputs are -1.3e-6 and -3.1e-6, its error is 6e-6.
KINKED = {"enc_resnet18_nolinear": 2e-2, "enc_resnet34": 1e-4, "enc_r2n2_resnet": 1e-4}
# In float64 XLA's convolutions are loops that need LLVM's optimisations.
KINKED_IMAGES = frozenset(KINKED)
KINKED |= parity_convonet.KINKED | parity_sap.KINKED
if jax.default_backend() != "cpu":
  KINKED |= {"enc_r2n2_simple": 1e-4, "r2n2_pointcloud_small": 1e-4}
# Compiled as users' programs are: one case of each kind of network. The others, as all
# tests, do without LLVM's optimisations (tests/conftest.py).
OPTIMISED = {"xla_backend_optimization_level": 3}
if HAS_OLD_EMITTERS:
  OPTIMISED["xla_cpu_use_fusion_emitters"] = True
AS_USERS = {
  "unconditional_onet_chairs",
  "dec_DecoderCBatchNorm_0",
  "enc_pointnet_resnet",
  "r2n2_decoder",
  "deepsdf_small",
  "conv_cloud_3plane",
  *parity_convonet.PLAIN,  # XLA's own convolutions, which would run long without
}
state_dict = runpy.run_path(str(RECORDED / "redraw.py"))["state_dict"]


def family(case):
  """The module of this package for the cases of one family, or None."""
  return FAMILIES.get(SPEC[case]["about"].get("family"))


def network(case):
  """The network of a case, with the sizes that the reference was given."""
  return (family(case) or parity_networks).network(SPEC[case]["about"])


def load(case, prefix):
  """The recorded arrays of a case under a prefix, by the rest of their names."""
  with np.load(RECORDED / f"{case}.npz") as arrays:
    names = [name for name in arrays if name.startswith(prefix)]
    return {name[len(prefix) :]: arrays[name] for name in names}


def place(name, array):
  """("block0.fc_0.weight", (o, i)) in the reference's layout -> linen's path, array."""
  name = re.sub(r"(layer\d|downsample)\.(\d+)", r"\1_\2", name)
  name = re.sub(r"net\.net\.(\d+)\.0", r"mlp.lin\1", name)  # of SIREN
  name = re.sub(r"fc_(gamma|beta)", r"conv_\1", name)  # the reference's older layout
  *path, leaf = name.split(".")
  if leaf in LEAVES:
    collection, ours = LEAVES[leaf]
    # weight_g is (o, 1), and a single number (1,).
    shape = () if leaf in ("alpha", "beta", "norm_radius") else np.shape(array)[:1]
    array = np.reshape(array, shape)
  elif array.ndim == 1:
    collection, ours = "params", "scale"
  else:
    collection, ours = "params", "kernel"
    if array.ndim == 3 or path[-2:-1] == ["mlp_convs"]:  # a convolution of width 1
      array = array.reshape(array.shape[:2])
    array = np.moveaxis(array, (0, 1), (-1, -2))  # (out, in, ...) -> (..., in, out)
    if path[-1:] and path[-1] in parity_poco.DENSE:
      array = array.reshape(-1, array.shape[-1])
  return (collection, *path, ours), array


def weights(case):
  """The weights of a case by their names, those without any influence left out."""
  unused = SPEC[case]["about"].get("without_gradient", ())
  modules = {name.rpartition(".")[0] for name in unused}
  named = state_dict(SPEC[case]).items()
  return {name: a for name, a in named if name.rpartition(".")[0] not in modules}


def as_variables(named):
  """{"block0.fc_0.weight": ...} as the reference has it -> linen variables."""
  return traverse_util.unflatten_dict(
    {path: jnp.asarray(a) for path, a in (place(*item) for item in named.items())}
  )


def arguments(case):
  """The arguments of a case's network."""
  given = load(case, "in/")
  if special := family(case):
    return special.arguments(given)
  if "sdf_gt" in given:  # one point of each code
    return jnp.asarray(given["xyz"][:, None]), jnp.asarray(given["codes"])
  if "voxels" in given:
    return (jnp.asarray(given["inputs"] if "inputs" in given else given["c"]),)
  if "eps" in given:
    names = ("p", "occ", "eps", "z")
    return tuple(jnp.asarray(given[name]) for name in names)
  if "p" not in given:
    shared = SPEC[case].get("inputs_of", case)
    inputs = jnp.asarray(load(shared, "in/")["inputs"])
    is_image = inputs.ndim == 4 and inputs.shape[1] == 3  # (b, 3, h, w)
    return (jnp.moveaxis(inputs, 1, -1) if is_image else inputs,)
  names = ("p", "z", "c") if "z" in given else ("p", "occ", "c")
  return tuple(jnp.asarray(given[k]) if given[k].shape[1] else None for k in names)


def named_outputs(case, outputs, *, train):
  """Outputs by their names in the recording."""
  if special := family(case):
    return special.named_outputs(outputs)
  if case.startswith("unconditional"):
    mean, logstd, logits, at_z, at_zero = outputs
    pairs = zip(mean[:, None], logstd[:, None], strict=True)
    kl = jnp.stack([losses.kl_to_standard_normal(*pair) for pair in pairs])
    names = {"mean_z": mean, "logstd_z": logstd, "kl": kl, "logits_z0": at_zero}
    # in evaluation the reference decoded a given z, in training one of the posterior
    return names | {"logits": logits if train else at_z}
  if case.startswith("r2n2"):
    return {"logits": outputs}
  if case.startswith("deepsdf"):
    return {"sdf": outputs}
  outputs = outputs if isinstance(outputs, tuple) else (outputs,)
  return {f"out{i}": out for i, out in enumerate(outputs)}


def recorded_loss(case, outputs, args):
  """The loss whose gradients are recorded."""
  if case.startswith("unconditional"):
    mean, logstd, logits = outputs[:3]
    kl = losses.kl_to_standard_normal(mean, logstd)
    return kl + losses.occupancy_cross_entropy(logits, args[1])
  given = {name: jnp.asarray(array) for name, array in load(case, "in/").items()}
  if family(case) and "occ" in given:
    return losses.occupancy_cross_entropy(outputs[0], given["occ"])
  if "gt_psr" in given:
    return losses.tanh_l2(outputs[0], given["gt_psr"].astype(outputs[0].dtype))
  if case.startswith("r2n2"):
    return losses.grid_cross_entropy(outputs, given["voxels"])
  if case.startswith("deepsdf"):  # of epoch 50
    regularisation = 1e-4 * 50 / 100 * losses.mean_code_norm(args[1])
    return losses.clamped_l1(outputs, given["sdf_gt"]) + regularisation
  return sum(
    (jnp.linspace(-1, 1, out.size).reshape(out.shape) * out).sum()
    for out in jax.tree.leaves(outputs)
  )


def relative_error(found, wanted, floor=0.0):
  """The largest difference relative to the largest entry, or to a floor above it."""
  scale = max(np.abs(wanted).max(), floor)
  return float(np.abs(np.asarray(found) - wanted).max() / scale)


def largest_relative_error(found, wanted):
  """The largest error over all arrays, each relative to its own largest entry.

  Arrays below 1 % of the largest count relative to that: a bias before a batch norm has
  no gradient, and its recording is rounding.
  """
  floor = 1e-2 * max(np.abs(array).max() for array in wanted.values())
  return max(relative_error(found[k], wanted[k], floor) for k in wanted)


def evaluate(case, variables, args):
  """Named outputs in evaluation mode."""
  net = network(case)
  options = OPTIMISED if case in AS_USERS else None
  run = jax.jit(lambda v, a: net.apply(v, *a, train=False), compiler_options=options)
  outputs = run(variables, args)
  return named_outputs(case, outputs, train=False)


def step(case, variables, args):
  """A step in training mode: ((loss, (outputs, statistics)), gradients)."""
  return _compiled_step(case)(
    variables["params"], variables.get("batch_stats", {}), args
  )


@functools.lru_cache(maxsize=1)
def _compiled_step(case):
  net = network(case)

  def loss(params, stats, args):
    now = {"params": params, "batch_stats": stats}
    outputs, changed = net.apply(now, *args, train=True, mutable=["batch_stats"])
    value = recorded_loss(case, outputs, args)
    return value, (outputs, changed.get("batch_stats", {}))

  graded = jax.value_and_grad(loss, has_aux=True)
  options = OPTIMISED if case in AS_USERS or case in KINKED_IMAGES else None
  return jax.jit(graded, compiler_options=options)


def gradient_error(case, named, gradients):
  """The largest error of the recorded gradients and of the norms of all gradients."""
  found = traverse_util.flatten_dict({"params": gradients})
  small = dict(place(*item) for item in load(case, "grad/").items())
  norms = {place(k, named[k])[0]: v for k, v in load(case, "gradnorm/").items()}
  assert norms.keys() == found.keys()
  found_norms = {k: np.linalg.norm(np.ravel(found[k])) for k in norms}
  return max(
    largest_relative_error(found, small), largest_relative_error(found_norms, norms)
  )


def largest_errors(case):
  """Largest relative errors of a case, by what was compared.

  Returns:
    "outputs" in evaluation mode; "loss", "gradients" and, where they are recorded,
    "training outputs" and running "statistics" after a step in training mode; "loss
    after a step" of Adam where it is recorded.
  """
  with convolutions.plain() if case in parity_convonet.PLAIN else nullcontext():
    return _largest_errors(case)


def _largest_errors(case):
  named, args = weights(case), arguments(case)
  variables = as_variables(named)
  take = double_step if case in KINKED else step
  (value, (trained, stats)), gradients = take(case, variables, args)
  # Every recorded output is compared; of nothing observed the recorded code is empty.
  wanted = {k: a for k, a in load(case, "eval/").items() if a.size and k != "loss"}
  wanted_trained = load(case, "train/")
  trained = named_outputs(case, trained, train=True)
  # Without statistics this family computes the same in both modes: one program less.
  same = family(case) and not stats and case not in KINKED
  outputs = trained if same else evaluate(case, variables, args)
  errors = {
    "outputs": max(relative_error(outputs[k], wanted[k]) for k in wanted),
    "loss": relative_error(value, wanted_trained["loss"]),
    "gradients": gradient_error(case, named, gradients),
  }
  if both := trained.keys() & wanted_trained.keys():
    errors["training outputs"] = max(
      relative_error(trained[k], wanted_trained[k]) for k in both
    )
  if after := dict(place(*item) for item in load(case, "after/").items()):
    found = traverse_util.flatten_dict({"batch_stats": stats})
    assert after.keys() == found.keys()
    errors["statistics"] = largest_relative_error(found, after)
  if "loss_after_adam_step" in wanted_trained:
    gradients = jax.tree.map(jnp.float32, gradients)
    after = {**variables, "params": adam_step(variables["params"], gradients)}
    (value, _), _ = take(case, after, args)
    wanted_value = wanted_trained["loss_after_adam_step"]
    errors["loss after a step"] = relative_error(value, wanted_value)
  return errors


@jax.jit  # as one program: each operation on its own compiles for every shape
def adam_step(params, gradients):
  """The parameters after the first step of the reference's Adam."""
  adam = optax.adam(1e-4)
  updates, _ = adam.update(gradients, adam.init(params))
  return optax.apply_updates(params, updates)


def double_step(case, variables, args):
  """A step in float64.

  Of images by XLA's own convolutions, which compile faster; of grids they are slow.
  """
  plain = convolutions.plain() if case in KINKED_IMAGES else nullcontext()
  with jax.enable_x64(True), plain:
    variables, args = jax.tree.map(
      lambda a: np.asarray(a, np.float64), (variables, args)
    )
    return jax.device_get(step(case, variables, args))


def tolerances(case):
  """The largest errors that are accepted, by what is compared; 1e-4 of all else."""
  return {
    "outputs": (parity_convonet.SUMMED | parity_sap.SUMMED).get(case, 1e-5),
    "gradients": KINKED.get(case, 1e-4),
  }


if __name__ == "__main__":
  from tests.helpers import parity_table  # which imports this file

  parity_table.main()
