"""Initial values, drawn array by array, are those of the whole program."""

import functools

import jax
import numpy as np
import pytest

from configs import base
from occnet_jax import config as config_lib
from occnet_jax.data.example_batch import example_batch
from occnet_jax.models import registry
from occnet_jax.train import initial_values
from tests.helpers.compilations import count_compilations


def make(name, **fields):
  config = base.get_config(name) if name else base.get_config()
  config.data.update(points=16, cloud_points=32)
  config.model.update(fields)
  settings = config_lib.parse(config.to_dict())
  return registry.build(settings.model), example_batch(settings.data, 2)


@pytest.mark.parametrize(
  ("name", "fields"),
  [
    ("", {"encoder_hidden_size": 8, "c_dim": 8, "hidden_size": 8, "z_dim": 4}),
    ("convonet", {"c_dim": 8, "unet_filters": 8, "unet_depth": 2}),
    ("scan", {"c_dim": 8, "unet3d_filters": 8, "unet3d_levels": 2}),
  ],
)
def test_values_shapes_and_types_are_those_of_one_program(name, fields):
  method, batch = make(name, **fields)
  key = jax.random.PRNGKey(3)
  drawn = initial_values.draw(method, key, batch)
  whole = jax.jit(method.init)(key, batch)
  close = functools.partial(np.testing.assert_allclose, rtol=1e-6)
  jax.tree.map(close, drawn, whole)
  assert jax.tree.map(jax.typeof, drawn) == jax.tree.map(jax.typeof, whole)
  other = initial_values.draw(method, jax.random.PRNGKey(4), batch)
  kernels = zip(jax.tree.leaves(drawn), jax.tree.leaves(other), strict=True)
  assert any((a != b).any() for a, b in kernels)


def test_draws_of_the_same_form_are_compiled_once():
  """A wider code changes a few arrays; all others need no program of their own."""
  method, batch = make("", encoder_hidden_size=8, c_dim=8, hidden_size=8)
  key = jax.random.PRNGKey(0)
  initial_values.draw(method, key, batch)
  with count_compilations() as again:
    initial_values.draw(method, key, batch)
  wider, batch = make("", encoder_hidden_size=8, c_dim=9, hidden_size=8)
  with count_compilations() as wide:
    arrays = jax.tree.leaves(initial_values.draw(wider, key, batch))
  assert not again and 0 < len(wide) < len(arrays) / 4
