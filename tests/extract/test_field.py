import gc
import weakref

import igl
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
  given = []

  def shifted(points):
    given.append(points)
    return points[:, 0] + (1.0 if (points > 0).any() else 0.0)

  field = as_field(shifted, points_per_batch=10)
  given.clear()
  np.testing.assert_array_equal(field.values(np.full((25, 3), 0.5)), np.full(25, 1.5))
  assert [(type(p), p.dtype, len(p)) for p in given] == [
    (np.ndarray, np.float64, count) for count in (10, 10, 5)
  ]
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
    (lambda p: p, r"shape \(5, 3\).*want \(5,\), one value a point"),
    (lambda p: p[:, :1] ** 2, r"shape \(5, 1\)"),
    (lambda p: p[:, 0] > 0, r"type bool.*where\(inside, 1.0, -1.0\)"),
    (lambda p: p[0] > 0, r"type bool.*where\(inside, 1.0, -1.0\)"),
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
  with pytest.raises(ValueError, match=r"shape \(\) for points of shape \(5, 3\)"):
    field.values(points_of(5))


def test_an_error_of_a_numpy_function_is_named_and_chained():
  def broken(points):
    return np.asarray(points)[:, 0] + {}["x"]

  with pytest.raises(ValueError, match=r"raised KeyError .* \(5, 3\): 'x'") as caught:
    as_field(broken).values(points_of(5))
  assert isinstance(caught.value.__cause__, KeyError)


@pytest.mark.parametrize(
  ("function", "error"),
  [
    (lambda p: p @ jnp.ones(4), TypeError),
    (lambda p: jnp.sin(p[:, 0]) + {}["x"], KeyError),
    (lambda p: (p + jnp.zeros((7, 2)))[:, 0], (TypeError, ValueError)),
    (lambda p: p.lenght(-1), AttributeError),
    (Partial(lambda w, p: p @ w, np.ones(4, np.float32)), TypeError),
  ],
)
def test_a_bug_in_a_jax_function_is_not_taken_for_numpy_code(function, error):
  with pytest.raises(ValueError, match="while JAX traced it for points of") as caught:
    as_field(function)
  assert isinstance(caught.value.__cause__, error)
  assert type(caught.value.__cause__).__name__ in str(caught.value)


def written_in_place(points):
  shifted = points.copy()
  shifted[:, 0] += 1
  return shifted[:, 0]


def masked(points):
  return np.where(points[:, 0] > points[points[:, 0] < 9][:, 1], 1.0, -1.0)


@pytest.mark.parametrize(
  "function",
  [
    lambda p: np.linalg.norm(p, axis=1),
    lambda p: p[:, 0] if p.flags.writeable else p[:, 1],
    lambda p: p[:, 0] * float(p[0, 0]),
    lambda p: igl.signed_distance(p, np.eye(3), np.array([[0, 1, 2]]), 0)[0],
    lambda p: p.T[[0, 2]].sum(0),
    written_in_place,
    masked,
  ],
)
def test_code_that_needs_numpy_arrays_is_called_with_them(function):
  field = as_field(function)
  points = points_of(5)
  assert isinstance(field, HostField) and field.cause is not None
  np.testing.assert_allclose(field.values(points), function(points), rtol=1e-6)


@pytest.mark.parametrize(
  "single, batched",
  [
    (lambda p: 0.3 - jnp.linalg.norm(p), lambda p: 0.3 - jnp.linalg.norm(p, axis=1)),
    (lambda p: p[0] * p[1] - p[2], lambda p: p[:, 0] * p[:, 1] - p[:, 2]),
    (lambda p: jnp.where(p[0] > 0, 1, -1), lambda p: jnp.where(p[:, 0] > 0, 1, -1)),
    (Partial(lambda c, p: p @ c @ p, jnp.eye(3)), lambda p: (p**2).sum(-1)),
  ],
)
def test_a_function_of_one_point_is_a_field_too(single, batched):
  one, many = as_field(single, 64), as_field(batched, 64)
  points = points_of(100)
  assert isinstance(one, JaxField)
  np.testing.assert_allclose(one.values(points), many.values(points), atol=1e-6)
  np.testing.assert_allclose(one.gradients(points), many.gradients(points), atol=1e-5)


def test_a_batch_may_be_squeezed():
  field = as_field(lambda points: (points @ jnp.ones((3, 1))).squeeze(), 64)
  points = points_of(65)
  np.testing.assert_allclose(field.values(points), points.sum(1), atol=1e-6)
  np.testing.assert_allclose(field.gradients(points), np.ones((65, 3)))


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
