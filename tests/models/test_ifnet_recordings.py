"""IF-Net against recordings of its published code, which this repository may not hold.

The licence of that code forbids to pass on what came from it, so the recordings lie
beside the checkout, in ../shared/parity_successors or OCCNET_PARITY_SUCCESSORS.
tests/models/test_ifnet.py has the tests that need none.
"""

import json
import os
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import traverse_util

from configs import ifnet
from occnet_jax.interop import ifnet_weights
from occnet_jax.models import registry
from tests.helpers import ROOT
from tests.helpers.parity import largest_relative_error, relative_error, state_dict

FOLDER = pathlib.Path(
  os.environ.get(
    "OCCNET_PARITY_SUCCESSORS", ROOT.parent / "shared" / "parity_successors"
  )
)
CASES = {  # case -> variant of configs/ifnet.py
  "ifnet_vox32_small": "shapenet32vox",
  "ifnet_vox128_small": "shapenet128vox",
  "ifnet_points_small": "shapenetpoints",
  "ifnet_svr_small": "svr",
}


@pytest.fixture(params=CASES)
def recording(request):
  """The method of a case, its weights in the published layout, and its arrays."""
  if not (FOLDER / f"{request.param}.npz").exists():
    pytest.skip(
      "The recordings of IF-Net are not in the repository, because its licence does "
      "not allow that; set OCCNET_PARITY_SUCCESSORS to their directory."
    )
  spec = json.loads((FOLDER / "spec.json").read_text())[request.param]
  model = ifnet.get_config(CASES[request.param]).to_dict()["model"]
  size = spec["about"]["config"]["hidden_dim"]
  model["hidden_sizes"] = [width * size // 256 for width in model["hidden_sizes"]]
  with np.load(FOLDER / f"{request.param}.npz") as file:
    arrays = dict(file)
  return registry.build(model), state_dict(spec), arrays


def make_batch(arrays):
  """The recorded arrays as this package has them: its points have x first."""
  return {
    "inputs": jnp.asarray(arrays["in/inputs"], jnp.float32),
    "points": jnp.asarray(arrays["in/p"][..., ::-1] / 2),
    "occupancies": jnp.asarray(arrays["in/occ"]),
  }


def under(arrays, prefix):
  return {k[len(prefix) :]: a for k, a in arrays.items() if k.startswith(prefix)}


def test_logits_losses_gradients_and_statistics_are_the_published_ones(recording):
  method, state, arrays = recording
  batch = make_batch(arrays)
  key = jax.random.key(0)
  template = registry.variable_specs(method, jax.device_get(batch))
  variables = ifnet_weights.from_state_dict(state, template)
  latent = jax.jit(method.encode)(variables, batch["inputs"])
  logits = jax.jit(method.decode)(variables, latent, batch["points"])
  assert relative_error(logits, arrays["eval/logits"]) < 1e-5

  def loss(params, batch):
    return method.loss({**variables, "params": params}, batch, key, True)

  value, (stats, _) = jax.jit(loss)(variables["params"], batch)
  assert relative_error(value, arrays["train/loss"]) < 1e-5
  after = ifnet_weights.to_state_dict(
    {"params": variables["params"], "batch_stats": stats}
  )
  assert largest_relative_error(after, under(arrays, "after/")) < 1e-5

  # In float64, as recorded: rounding does not decide which side of zero a ReLU is on.
  with jax.enable_x64(True):
    double = jax.tree.map(lambda a: jnp.asarray(a, jnp.float64), (variables, batch))
    variables, batch = double
    graded = jax.jit(jax.value_and_grad(loss, has_aux=True))
    _, gradients = graded(variables["params"], batch)
    adam = optax.adam(1e-4)
    updates, _ = adam.update(gradients, adam.init(variables["params"]))
    stepped = optax.apply_updates(variables["params"], updates)
    (value, _), _ = graded(stepped, batch)  # compiled already
  named = ifnet_weights.to_state_dict({**variables, "params": gradients})
  norms = {k: np.linalg.norm(named[k]) for k in under(arrays, "gradnorm/")}
  assert largest_relative_error(named, under(arrays, "grad/")) < 1e-5
  assert largest_relative_error(norms, under(arrays, "gradnorm/")) < 1e-5
  # Adam's first step has the sign of a gradient, which rounding decides where it is 0.
  assert relative_error(value, arrays["train/loss_after_adam_step"]) < 1e-4


def test_every_weight_has_its_published_name_and_order(recording):
  method, state, arrays = recording
  template = registry.variable_specs(method, jax.device_get(make_batch(arrays)))
  variables = ifnet_weights.from_state_dict(state, template)
  assert len(traverse_util.flatten_dict(variables)) == len(state)
  again = ifnet_weights.to_state_dict(variables)
  for name, array in state.items():
    np.testing.assert_array_equal(again[name], array)
