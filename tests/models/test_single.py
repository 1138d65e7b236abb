"""Fields of config.model act on the neural field of one shape."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs.models import single as fields
from occnet_jax import config as config_lib
from occnet_jax.models import registry
from occnet_jax.train import initial_values, optimizers
from occnet_jax.train import state as state_lib
from occnet_jax.train import step as step_lib
from tests.helpers.compilations import compiled
from tests.helpers.variables import draw

RADIUS = 0.35
SMALL = {
  "hidden_size": 32,
  "hidden_layers": 2,
  "fourier_features": 32,
  "fourier_sigma": 1.0,
  "levels": 3,
  "level_features": 4,
  "base_resolution": 3,
  "finest_resolution": 24,
  "hash_log2_entries": 9,
}
OPTIM = config_lib.OptimSettings("adam", 1e-2, 1.0, "constant", 0, 0, 0.0, 0.0, 0.0, 0)


def ball(seed, b=1, t=2048):
  """Points labelled with a ball's occupancies and distances."""
  points = np.random.default_rng(seed).uniform(-0.55, 0.55, (b, t, 3))
  distances = np.linalg.norm(points, axis=-1) - RADIUS
  arrays = {
    "points": points,
    "occupancies": distances < 0,
    "distances": distances,
    "inputs": np.zeros((b, 0)),
  }
  return {name: jnp.asarray(array, jnp.float32) for name, array in arrays.items()}


def make_model(encoding, loss, **changed):
  chosen = {"encoding": encoding, "loss": loss} | changed
  return fields.get_config().to_dict() | SMALL | chosen


def train(model, steps):
  method = registry.build(model)
  optimizer = optimizers.make(OPTIM, steps)
  state = state_lib.create(method, optimizer, ball(0), seed=0, ema=False)
  step = jax.jit(step_lib.make_step(method, optimizer))
  for number in range(steps):
    state, _ = step(state, ball(number), number)
  return method, state.variables


@functools.cache
def fitted(encoding, loss):
  """A method and its variables after some training."""
  return train(make_model(encoding, loss), steps=150)


@pytest.mark.parametrize(
  ("encoding", "loss"),
  [
    ("none", "cross_entropy"),
    ("fourier", "cross_entropy"),
    ("hash", "relative_l1"),
    ("grids", "squared"),
  ],
)
def test_every_encoding_fits_a_ball_at_points_that_it_was_not_trained_on(
  encoding, loss
):
  method, variables = fitted(encoding, loss)
  batch = ball(-1 % 2**32, b=2)
  scores = jax.jit(method.score)(variables, batch)
  assert scores["iou"].shape == scores["loss"].shape == (2,)
  assert (scores["iou"] > 0.9).all()
  latent = method.encode(variables, batch["inputs"])
  values = jax.jit(method.decode)(variables, latent, batch["points"])
  np.testing.assert_array_equal(values[0, :5].shape, (5,))
  inside = np.asarray(values) >= method.output.level
  agreement = (inside == np.asarray(batch["occupancies"], bool)).mean()
  assert agreement > 0.95  # larger inside
  if loss != "cross_entropy":
    errors = np.abs(np.asarray(values) + np.asarray(batch["distances"]))
    assert errors.mean() < 0.02  # minus the distance, in cube units


def test_every_prefix_of_the_grids_decodes_and_errors_fall_with_levels():
  model = make_model("grids", "squared")
  _, variables = fitted("grids", "squared")
  batch, errors, decoded = ball(1 << 20, b=2), [], []
  for used in (1, 2, 3):
    method = compiled(registry.build(model | {"levels_used": used}))
    values = np.asarray(method.decode(variables, None, batch["points"]))
    errors.append(np.square(values + np.asarray(batch["distances"])).mean())
    np.testing.assert_allclose(
      np.mean(method.score(variables, batch)["loss"]), errors[-1], 1e-4
    )
    decoded.append(values)
  assert errors[0] > errors[1] > errors[2]
  decode = jax.jit(registry.build(model).decode)
  finest = decode(variables, None, batch["points"])
  np.testing.assert_array_equal(finest, decoded[-1])


def test_the_loss_of_the_grids_is_the_sum_over_their_levels():
  model, batch = make_model("grids", "squared"), ball(3, b=2)
  method = compiled(registry.build(model))
  _, variables = fitted("grids", "squared")
  scores = [
    compiled(registry.build(model | {"levels_used": used})).score(variables, batch)
    for used in (1, 2, 3)
  ]
  value, _ = method.loss(variables, batch, None, True)
  np.testing.assert_allclose(
    value, sum(np.mean(each["loss"]) for each in scores), rtol=1e-5
  )


@pytest.mark.parametrize("loss", ["cross_entropy", "relative_l1", "squared"])
def test_each_loss_is_its_formula(loss):
  model, batch = make_model("none", loss), ball(4)
  method = compiled(registry.build(model))
  variables = initial_values.draw(method, jax.random.key(0), batch)
  values = np.asarray(method.decode(variables, None, batch["points"]), np.float64)
  inside, true = (
    np.asarray(batch[k], np.float64) for k in ("occupancies", "distances")
  )
  errors = {
    "cross_entropy": np.logaddexp(0, values) - inside * values,
    "relative_l1": np.abs(-values - true) / (np.abs(true) + 0.01),
    "squared": np.square(-values - true),
  }
  value, _ = method.loss(variables, batch, None, True)
  np.testing.assert_allclose(value, errors[loss].mean(), rtol=1e-5)


def test_frequencies_are_not_trained():
  model = make_model("fourier", "cross_entropy")
  method, trained = train(model, steps=3)
  fresh = state_lib.create(
    method, optimizers.make(OPTIM, 3), ball(0), seed=0, ema=False
  ).variables
  jax.tree.map(
    np.testing.assert_array_equal, trained["batch_stats"], fresh["batch_stats"]
  )
  deviation = np.std(jax.tree.leaves(trained["batch_stats"])[0])
  assert deviation == pytest.approx(SMALL["fourier_sigma"], rel=0.25)


@pytest.mark.parametrize(
  ("changed", "message"),
  [
    ({"encoding": "hsah"}, r"model\.encoding is 'hsah'; want one of: fourier, grids"),
    ({"loss": "l3"}, r"model\.loss is 'l3'; want one of: cross_entropy"),
    ({"base_resolution": 6}, r"base_resolution is 6; want a power of two plus 1"),
    ({"base_resolution": 1}, r"base_resolution is 1; want a power of two plus 1"),
    ({"levels_used": 4}, r"levels_used is 4; want at most 3"),
    ({"encoding": "hash", "levels_used": 2}, r"levels_used is 2; want at most 1"),
  ],
)
def test_fields_out_of_range_are_refused(changed, message):
  with pytest.raises(ValueError, match=message):
    registry.build(make_model("grids", "squared") | changed)


@pytest.mark.parametrize("name", ["single", "siren"])
def test_there_are_no_blocks_to_compute_twice(name):
  model = fields.get_config().to_dict() | {"name": name}
  with pytest.raises(ValueError, match=rf"{name} has no blocks; unset it"):
    registry.build(model, remat=True)


def test_a_batch_without_distances_names_the_way_out():
  method, batch = registry.build(make_model("none", "squared")), ball(0)
  variables = draw(method.init, batch)
  del batch["distances"]
  with pytest.raises(ValueError, match=r"config\.data\.targets lacks 'distances'"):
    method.loss(variables, batch, None, True)
