"""A small network on balls, and comparisons of trees."""

import jax
import numpy as np
import optax

from configs.models import onet
from occnet_jax.models import registry
from occnet_jax.train import state as state_lib

MODEL = onet.get_config().to_dict() | {
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


def make_run(optimizer=None, ema=False):
  optimizer = optimizer or optax.sgd(1e-3)  # Adam would hide a factor in the gradient
  method = registry.build(MODEL)
  state = state_lib.create(method, optimizer, make_batch(0), seed=0, ema=ema)
  # Zero layers would leave the encoder without a gradient at first.
  state = state.replace(params=jax.tree.map(lambda a: a + 0.01, state.params))
  return method, optimizer, state


def assert_close(a, b, **tolerance):
  for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
    np.testing.assert_allclose(x, y, **tolerance)
