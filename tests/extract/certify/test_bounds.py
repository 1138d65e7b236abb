import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from occnet_jax.extract.certify.bounds import bound_boxes
from occnet_jax.extract.point_functions import point_function
from occnet_jax.models import registry

ACTIVATIONS = {
  "relu": jax.nn.relu,
  "leaky": lambda x: jax.nn.leaky_relu(x, 0.2),
  "tanh": jnp.tanh,
  "sine": lambda x: jnp.sin(7 * x),
  "softplus": jax.nn.softplus,
  "gelu": lambda x: jax.nn.gelu(x, approximate=False),
  "swish": jax.nn.swish,
}
RNG = np.random.default_rng(0)


compiled = functools.cache(jax.jit)
of_point = functools.cache(point_function)


def values_within(function, centre, half, count=400):
  """The function at random points of a cube, and at its corners."""
  places = RNG.uniform(-1, 1, (count, 3))
  places[:8] = np.stack(np.meshgrid(*[[-1, 1]] * 3), -1).reshape(8, 3)
  points = np.asarray(centre) + half * places
  return np.asarray(function(points.astype(np.float32)))


def spread(function, centres, half):
  """The range of the values in every cube."""
  evaluate = compiled(function)
  return [np.ptp(values_within(evaluate, centre, half)) for centre in centres]


def bounds_of(function, centres, half):
  bound = compiled(bound_boxes, static_argnums=0)
  return np.stack(
    bound(of_point(function), np.asarray(centres, np.float32), np.float32(half))
  )


def assert_hold(function, centres, half, tolerance=1e-5):
  """The bounds enclose what the function takes; returns them."""
  found = bounds_of(function, centres, half)
  evaluate = compiled(function)
  for centre, low, high in zip(centres, *found, strict=True):
    values = values_within(evaluate, centre, half)
    slack = tolerance * (1 + np.abs(values).max())
    assert low <= values.min() + slack and values.max() <= high + slack
  return found


@functools.cache
def network(seed, activation, layers=3, width=20):
  rng, sizes = np.random.default_rng(seed), [3, *[width] * (layers - 1), 1]
  weights = [
    (3 / np.sqrt(a) * rng.normal(size=(a, b))).astype(np.float32)
    for a, b in itertools.pairwise(sizes)
  ]
  shifts = (0.3 * rng.normal(size=(layers, width))).astype(np.float32)

  def field(points):
    x = points
    for weight, shift in zip(weights[:-1], shifts[:-1], strict=True):
      x = ACTIVATIONS[activation](x @ weight + shift[None])
    return (x @ weights[-1])[:, 0] + shifts[-1, 0]

  return field


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_bounds_enclose_all_values_of_random_networks_over_random_boxes(activation):
  field = network(0, activation)
  for half in (0.003, 0.02, 0.1, 0.5):
    assert_hold(field, RNG.uniform(-0.5, 0.5, (20, 3)), half)


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_bounds_over_small_boxes_are_as_narrow_as_the_values(activation):
  field, centres = network(0, activation), RNG.uniform(-0.5, 0.5, (20, 3))
  low, high = bounds_of(field, centres, 1e-4)
  assert np.median((high - low) / spread(field, centres, 1e-4)) < 1.1


FUNCTIONS = {
  "abs": lambda x, y, z: abs(x - 0.1) + y,
  "cos": lambda x, y, z: jnp.cos(9 * x) * y,
  "sin of many turns": lambda x, y, z: jnp.sin(200 * x) + z,
  "exp": lambda x, y, z: jnp.exp(3 * x - y),
  "expm1, log1p": lambda x, y, z: jnp.expm1(x) + jnp.log1p(y),
  "log": lambda x, y, z: jnp.log(x + 2),
  "sqrt, rsqrt": lambda x, y, z: jnp.sqrt(x + 1) + jax.lax.rsqrt(y + 1.2),
  "pow": lambda x, y, z: (x + 1) ** 1.7 + (z + 2) ** -0.3,
  "powers": lambda x, y, z: x**3 - y**2 + (x + 2) ** -2 + z**4,
  "erf": lambda x, y, z: jax.lax.erf(4 * x),
  "sigmoid": lambda x, y, z: jax.nn.sigmoid(20 * x) - jax.nn.sigmoid(y),
  "arctan": lambda x, y, z: jnp.arctan(5 * x),
  "quotient": lambda x, y, z: x / (2 + y) + 1 / (z - 3) + y / 3,
  "square of itself": lambda x, y, z: x * x - (x - y) * (x - y),
  "min, max": lambda x, y, z: jnp.maximum(jnp.minimum(x, y), z - 0.2),
  "max of one": lambda x, y, z: jnp.maximum(0.1, x) - jnp.minimum(y, 0.2),
  "largest": lambda x, y, z: jnp.stack([x, y, z, -x, y - z], 1).max(1),
  "smallest": lambda x, y, z: jnp.stack([x, y, z], 1).min(1),
  "where": lambda x, y, z: jnp.where((x > 0) & ~(y < 0.1), x, 2 * y - z),
  "or": lambda x, y, z: jnp.where((x >= 0) | (y <= z), 1, -1),
  "counted": lambda x, y, z: (x > 0.1).astype(jnp.float32) + (y != y) + (y == z),
  "clipped": lambda x, y, z: jnp.clip(3 * x, -0.5, 0.5) + jnp.sign(y) * z,
  "length": lambda x, y, z: jnp.sqrt(x**2 + y**2 + z**2) - jnp.hypot(x + 1, y),
  "padded": lambda x, y, z: (
    jnp.pad(x, 1)[1:-1] + jnp.flip(jnp.stack([x, y], 1), 1)[:, 0]
  ),
}


@functools.cache
def operation(name):
  """The same function for boxes of any size, so that it is compiled once."""
  return lambda points: FUNCTIONS[name](*points.T)


@pytest.mark.parametrize("half", [0.01, 0.2])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_bounds_enclose_all_values_of_every_operation(name, half):
  field = operation(name)
  centres = RNG.uniform(-0.4, 0.4, (20, 3))
  low, high = assert_hold(field, centres, half)
  assert np.isfinite(low).all() and np.isfinite(high).all()


def test_bounds_of_linear_fields_are_their_corners():
  slopes = np.array([1.0, -2.0, 0.5], np.float32)

  def field(points):
    return (2 * points) @ slopes - points[:, 0] / 4 + 3

  centres = RNG.uniform(-0.5, 0.5, (9, 3))
  total = 2 * slopes - (0.25, 0, 0)
  middle, reach = centres @ total + 3, 0.1 * np.abs(total).sum()
  found = bounds_of(field, centres, 0.1)
  np.testing.assert_allclose(found, [middle - reach, middle + reach], atol=1e-5)


def test_bounds_enclose_values_whose_operands_are_rounded_to_half_the_bits():
  weights = [RNG.normal(size=shape).astype(np.float32) for shape in ((3, 32), (32, 1))]

  def product(x, w):
    operands = x.astype(jnp.bfloat16), jnp.asarray(w, jnp.bfloat16)
    return jnp.matmul(*operands, preferred_element_type=jnp.float32)

  def field(points):
    return product(jax.nn.relu(product(points, weights[0])), weights[1])[:, 0]

  centres = RNG.uniform(-0.5, 0.5, (20, 3))
  low, high = assert_hold(field, centres, 1e-3, tolerance=0)
  assert (high - low).max() < 0.5


def test_bounds_of_a_square_are_its_chord_and_the_parallel_below():
  low, high = bounds_of(lambda p: p[:, 0] ** 2, [[0.3, 0, 0]], 0.2)
  np.testing.assert_allclose([low[0], high[0]], [0.01 - 0.04, 0.25], atol=1e-6)


def test_a_field_that_ignores_its_points_is_its_own_bound():
  found = bounds_of(lambda p: jnp.full(len(p), 0.25), np.zeros((2, 3)), 0.1)
  np.testing.assert_array_equal(found, 0.25)


@pytest.mark.parametrize(
  "function", [lambda x: 1 / x, jnp.log, lambda x: (x - 9) ** 0.5, lambda x: x**-2]
)
def test_where_a_function_is_not_finite_nothing_is_known(function):
  low, high = bounds_of(lambda p: function(p[:, 0]), np.zeros((1, 3)), 0.1)
  assert not low > -1e6 and not high < 1e6


@pytest.mark.parametrize(
  ("function", "words"),
  [
    (lambda p: jnp.sort(p, axis=1)[:, 0], "'sort'"),
    (lambda p: (p @ p.T)[0], "'dot_general'"),
    (lambda p: (9 * p[:, 0]).astype(jnp.int32), "'convert_element_type' to int32"),
    (lambda p: (2 + p[:, 0]) ** p[:, 1], "'pow'"),
  ],
)
def test_an_operation_without_a_rule_is_named(function, words):
  with pytest.raises(ValueError, match=words):
    bounds_of(function, np.zeros((1, 3)), 0.1)


def draw(path, spec):
  """A random array of a network: kernels as large as those of a started one.

  Drawn by NumPy: the program that starts a network takes seconds to compile.
  """
  module, leaf = (part.key for part in path[-2:])
  noise = RNG.normal(size=spec.shape)
  if leaf == "kernel":
    noise *= 0.1 + spec.shape[0] ** -0.5 * (module != "conv_gamma")
  else:
    noise *= 0.1
  around_one = leaf in ("var", "scale") or (module, leaf) == ("conv_gamma", "bias")
  return (noise + around_one).astype(spec.dtype)


def decoder_of(decoder, octaves, leaky):
  """A small network with weights away from zero, as a field of one shape."""
  from configs import base

  config = base.get_config().to_dict()["model"]
  config |= {"encoder_hidden_size": 16, "c_dim": 8, "hidden_size": 32}
  method = registry.build(
    config | {"decoder": decoder, "fourier_octaves": octaves, "decoder_leaky": leaky}
  )
  inputs = RNG.uniform(-0.5, 0.5, (1, 40, 3)).astype(np.float32)
  points = np.zeros((1, 1, 3), np.float32)
  batch = {"points": points, "inputs": inputs, "occupancies": points[..., 0]}
  specs = registry.variable_specs(method, batch)
  variables = jax.device_put(jax.tree_util.tree_map_with_path(draw, specs))
  latent = jax.jit(method.encode)(variables, inputs)
  return lambda points: method.decode(variables, latent, points[None])[0]


@pytest.mark.parametrize(
  ("decoder", "octaves", "leaky"),
  [
    ("cbatchnorm", 0, False),
    ("cbatchnorm", 5, True),
    ("batchnorm", 5, False),
    ("simple", 0, True),
  ],
)
def test_bounds_enclose_all_values_of_the_decoders(decoder, octaves, leaky):
  field, centres = decoder_of(decoder, octaves, leaky), RNG.uniform(-0.5, 0.5, (4, 3))
  low, high = assert_hold(field, centres, 0.02)
  assert np.isfinite([low, high]).all()
  assert np.median((high - low) / spread(field, centres, 0.02)) > 1
  low, high = assert_hold(field, centres, 1e-3)
  assert np.median((high - low) / spread(field, centres, 1e-3)) < 2
