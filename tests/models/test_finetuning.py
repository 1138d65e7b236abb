"""Training of a network further on one cloud, where the best parameters are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import base
from occnet_jax import config as config_lib
from occnet_jax import losses
from occnet_jax.models import finetuning
from occnet_jax.types import Field, Grid, Method, Windows
from tests.helpers.compilations import count_compilations

LEVEL = 0.7


def decode(variables, latent, points):
  """Balls of any radius, inside positive, about a centre that is the latent."""
  distances = jnp.linalg.norm(points - latent[:, None], axis=-1)
  return 40 * (variables["params"]["radius"] - distances) + LEVEL


def encode(variables, inputs):
  return variables["params"]["scale"] * inputs.mean(1)


METHOD = Method(None, None, encode, decode, Field(LEVEL), None)
START = {"params": {"radius": jnp.float32(0.3), "scale": jnp.float32(1)}}


def ball(n, radius):
  directions = np.random.default_rng(0).standard_normal((n, 3))
  return radius * directions / np.linalg.norm(directions, axis=1, keepdims=True)


def tune(cloud, method=METHOD, **settings):
  settings = {"steps": 200, "learning_rate": 3e-3} | settings
  inputs = np.zeros((1, 5, 3), np.float32)
  return finetuning.finetune(method, START, inputs, cloud, **settings)


def test_the_surface_moves_to_the_points_of_the_cloud():
  for radius in (0.2, 0.45):
    tuned = tune(ball(700, radius))
    np.testing.assert_allclose(tuned["params"]["radius"], radius, atol=0.01)
  assert START["params"]["radius"] == jnp.float32(0.3)  # the trained one stays


def test_no_steps_change_nothing():
  tuned = tune(ball(10, 0.4), steps=0)
  jax.tree.map(np.testing.assert_array_equal, tuned, START)


def test_padding_of_the_cloud_is_never_drawn():
  """A cloud of 513 points has as many rows of zeros, at the centre of the ball."""
  tuned = tune(ball(513, 0.45))
  np.testing.assert_allclose(tuned["params"]["radius"], 0.45, atol=0.01)


def test_clouds_of_similar_sizes_share_their_program():
  tune(ball(600, 0.4))
  with count_compilations() as compiled:
    tune(ball(1000, 0.35), seed=3)
  assert not compiled


def test_the_loss_is_least_on_the_surface_and_blind_to_signs():
  on, off = jnp.array([0.0, 0.0]), jnp.array([50.0, -50.0])
  loss = losses.sign_agnostic_cross_entropy
  np.testing.assert_allclose(loss(on, off), 0, atol=1e-6)
  values = jnp.array([0.3, -1.2])
  np.testing.assert_allclose(loss(values, off), loss(-values, -off), rtol=1e-6)
  # Its definition: cross-entropy of sigmoid(|f|) with 1/2, and with 1.
  p = 1 / (1 + np.exp(-np.abs(np.asarray(values, float))))
  expected = (-0.5 * np.log(p * (1 - p))).mean() - np.log(2) - np.log(p).mean()
  np.testing.assert_allclose(loss(values, values), expected, rtol=1e-5)


@pytest.mark.parametrize("rate", [np.inf, np.nan, 1e6, 0.0, -1e-3])
def test_an_absurd_learning_rate_is_one_sentence(rate):
  with pytest.raises(ValueError, match=r"learning_rate is .*; want more than 0 and at"):
    tune(ball(10, 0.4), learning_rate=rate)


def test_a_cloud_that_is_not_finite_or_empty_is_one_sentence():
  cloud = ball(10, 0.4)
  cloud[3, 1] = np.nan
  with pytest.raises(ValueError, match=r"the cloud: 1 of 30 numbers are not finite"):
    tune(cloud)
  with pytest.raises(ValueError, match=r"inputs: 15 of 15 numbers are not finite"):
    inputs = np.full((1, 5, 3), np.inf, np.float32)
    finetuning.finetune(METHOD, START, inputs, ball(10, 0.4), steps=1)
  with pytest.raises(ValueError, match=r"the cloud: 0 points, want at least 1"):
    tune(np.zeros((0, 3)))


def test_a_scene_is_not_trained_on():
  generation = config_lib.parse(base.get_config().to_dict()).generation
  finetuning.check(METHOD, generation._replace(cell_size=0.1))
  finetuning.check(METHOD, generation._replace(finetune_steps=5))
  both = generation._replace(finetune_steps=5, cell_size=0.1)
  with pytest.raises(ValueError, match=r"steps is 5 and cell_size is 0.1, but .*None"):
    finetuning.check(METHOD, both)


@pytest.mark.parametrize(
  "method",
  [
    METHOD._replace(output=Grid(0.0)),
    METHOD._replace(windows=Windows(0.02, 14, 9, 8)),
  ],
)
def test_a_system_without_values_of_a_whole_shape_is_one_sentence(method):
  with pytest.raises(ValueError, match=r"steps is 200, but this system .*; want 0"):
    tune(ball(10, 0.4), method)
  with pytest.raises(ValueError, match=r"steps is -1; want a whole number: 0 for none"):
    tune(ball(10, 0.4), steps=-1)
