"""A small network on balls, and comparisons of trees."""

import functools

import jax
import numpy as np
import optax

from configs.models import onet
from occnet_jax.models import registry
from occnet_jax.train import state as state_lib

# The encoder and the decoder with conditional norms that have fewest parameters: each
# costs compilation of a step. The paper's are in tests/models and tests/nn.
MODEL = onet.get_config().to_dict() | {
  "encoder": "pointnet_simple",
  "decoder": "cbatchnorm_noresnet",
  "encoder_hidden_size": 8,
  "c_dim": 8,
  "hidden_size": 16,
  "tau": 0.5,
}


def make_batch(seed, b=4, t=32, n=16):
  rng = np.random.default_rng(seed)
  points = rng.uniform(-0.55, 0.55, (b, t, 3)).astype(np.float32)
  radius = rng.uniform(0.2, 0.5, (b, 1)).astype(np.float32)
  directions = rng.standard_normal((b, n, 3)).astype(np.float32)
  directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
  return {
    "points": points,
    "occupancies": (np.linalg.norm(points, axis=-1) < radius).astype(np.float32),
    "inputs": radius[..., None] * directions,
  }


SGD = optax.sgd(1e-3)  # Adam would hide a factor in the gradient


def make_run(optimizer=SGD, ema=False):
  """A method, its optimiser and a fresh state, whose arrays are nobody else's."""
  method, state = _method_and_state(optimizer, ema)
  return method, optimizer, jax.device_put(jax.tree.map(np.copy, state))


@functools.cache
def _method_and_state(optimizer, ema):
  method = registry.build(MODEL)
  state = state_lib.create(method, optimizer, make_batch(0), seed=0, ema=ema)
  state = jax.device_get(state)
  # Zero layers would leave the encoder without a gradient at first.
  params = jax.tree.map(lambda a: a + np.float32(0.01), state.params)
  return method, state.replace(params=params)


def assert_close(a, b, **tolerance):
  for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
    np.testing.assert_allclose(x, y, **tolerance)
