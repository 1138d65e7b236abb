import gc
import weakref

import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

from occnet_jax.extract import field as field_module
from occnet_jax.extract.field import HostField, JaxField, as_field, decoder_field

RNG = np.random.default_rng(0)


def points_of(count):
  return RNG.uniform(-0.55, 0.55, size=(count, 3))


def ball(radius, points):
  return radius - jnp.sqrt((points**2).sum(-1))


@pytest.mark.parametrize("count", [0, 1, 63, 64, 65, 200])
def test_any_number_of_points_gets_its_values_and_gradients(count):
  field = as_field(Partial(ball, 0.3), points_per_batch=64)
  points = points_of(count)
  lengths = np.linalg.norm(points, axis=1)
  assert isinstance(field, JaxField)
  np.testing.assert_allclose(field.values(points), 0.3 - lengths, atol=1e-6)
  np.testing.assert_allclose(
    field.gradients(points), -points / lengths[:, None], atol=1e-5
  )


def test_a_numpy_function_gives_what_its_jax_twin_gives():
  def wave(np, points):
    return np.sin(3 * points[:, 0]) * points[:, 1] + np.exp(points[:, 2])

  host = as_field(lambda p: wave(np, p), points_per_batch=50)
  device = as_field(lambda p: wave(jnp, p), points_per_batch=64)
  points = points_of(130)
  assert isinstance(host, HostField) and isinstance(device, JaxField)
  np.testing.assert_allclose(host.values(points), device.values(points), atol=1e-6)
  np.testing.assert_allclose(
    host.gradients(points), device.gradients(points), atol=1e-5
  )


def test_a_function_that_branches_on_its_values_is_called_with_numpy_points():
  def shifted(points):
    assert isinstance(points, np.ndarray) and points.dtype == np.float64
    return points[:, 0] + (1.0 if (points > 0).any() else 0.0)

  field = as_field(shifted, points_per_batch=10)
  np.testing.assert_array_equal(field.values(np.full((25, 3), 0.5)), np.full(25, 1.5))
  assert field.values(np.zeros((0, 3))).shape == (0,)


def test_another_object_and_another_number_of_points_compile_nothing():
  compiled = field_module.shared_jit(field_module._values)
  as_field(Partial(ball, 0.3), 64).values(points_of(10))
  before = compiled._cache_size()
  for radius, count in ((0.1, 10), (0.2, 500), (0.4, 64)):
    as_field(Partial(ball, radius), 64).values(points_of(count))
  assert compiled._cache_size() == before


def test_shapes_of_one_decoder_share_compiled_code():
  def decode(variables, latent, points):
    return latent[:, None] - variables["scale"] * jnp.sqrt((points**2).sum(-1))

  compiled = field_module.shared_jit(field_module._values)
  before = compiled._cache_size()
  points = points_of(5)
  for scale, code in ((1.0, 0.1), (2.0, 0.2), (3.0, 0.3)):
    variables = {"scale": jnp.float32(scale)}
    field = decoder_field(decode, variables, jnp.full((1,), code), 64)
    expected = code - scale * np.linalg.norm(points, axis=1)
    np.testing.assert_allclose(field.values(points), expected, atol=1e-6)
  assert compiled._cache_size() == before + 1


def test_a_plain_function_is_not_remembered_when_what_it_closes_over_changes():
  radius = 0.3

  def function(points):
    return ball(radius, points)

  origin = np.zeros((1, 3))
  np.testing.assert_allclose(as_field(function).values(origin), [0.3])
  radius = 0.4
  np.testing.assert_allclose(as_field(function).values(origin), [0.4])


def test_what_a_plain_function_closes_over_is_freed_with_its_field():
  weights = jnp.ones((3,))
  freed = weakref.ref(weights)
  field = as_field(lambda points: points @ weights, 64)
  field.values(np.zeros((1, 3)))
  field.gradients(np.zeros((1, 3)))
  del field, weights
  gc.collect()
  assert freed() is None


def test_gradients_are_finite_where_they_do_not_exist():
  field = as_field(Partial(ball, 0.3), 64)
  points = np.array([[0.0, 0.0, 0.0], [0.1, 0.0, 0.0]])
  np.testing.assert_allclose(field.gradients(points), [[0, 0, 0], [-1, 0, 0]])


def test_a_field_is_left_as_it_is():
  field = as_field(Partial(ball, 0.3))
  assert as_field(field) is field


def test_integers_are_values_too():
  field = as_field(lambda points: jnp.where(points[:, 0] > 0, 1, -1))
  np.testing.assert_array_equal(field.values(np.array([[0.1, 0, 0]])), [1.0])


@pytest.mark.parametrize(
  "function, message",
  [
    (3, "type int; want a function"),
    (lambda p: p, r"shape \(4096, 3\).*want \(4096,\), one value a point"),
    (lambda p: p[:, :1] ** 2, r"shape \(4096, 1\)"),
    (lambda p: p[:, 0] > 0, r"type bool.*where\(inside, 1.0, -1.0\)"),
    (lambda p: p[:, 0].astype(complex), "type complex"),
    (lambda p: (p[:, 0], p[:, 1]), "type tuple"),
  ],
)
def test_what_is_not_a_field_is_refused_at_once(function, message):
  with pytest.raises(ValueError, match=message):
    as_field(function, points_per_batch=4096)


@pytest.mark.parametrize("xp", [np, jnp])
def test_values_that_are_not_finite_are_refused(xp):
  field = as_field(lambda p: xp.where(xp.asarray(p[:, 0]) > 0, xp.nan, p[:, 1]), 64)
  points = np.array([[-0.1, 0.2, 0.3], [0.25, 0.5, 0.0]])
  message = r"nan at \[0.25, 0.5, 0.0\] and not finite at 1 of 2"
  with pytest.raises(ValueError, match=message):
    field.values(points)


def test_a_numpy_function_of_the_wrong_shape_is_refused():
  field = as_field(lambda p: np.linalg.norm(p))
  with pytest.raises(ValueError, match=r"shape \(\) for 5 points"):
    field.values(points_of(5))


def test_a_function_that_raises_is_named_with_its_reason():
  with pytest.raises(ValueError, match=r"the field raised KeyError .* \(5, 3\): 'x'"):
    as_field(lambda p: {}["x"]).values(points_of(5))


def test_a_batch_size_below_one_is_refused():
  with pytest.raises(ValueError, match="points_per_batch=0"):
    as_field(Partial(ball, 0.3), points_per_batch=0)


def test_fields_of_one_function_are_traced_once_whatever_their_arrays():
  traces = []

  def scaled(factor, points):
    traces.append(factor)
    return factor * points[:, 0]

  for factor in (1.0, 2.0, 3.0):
    field = as_field(Partial(scaled, jnp.float32(factor)), 16)
    np.testing.assert_allclose(field.values(np.ones((5, 3))), factor)
  assert len(traces) == 2  # for the form of what it returns, and to compile it
