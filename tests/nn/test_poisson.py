"""The Poisson solver against sums by hand, closed forms, and its recordings."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from occnet_jax.nn import periodic, poisson
from tests.helpers import parity_poisson

# One program for each form of arguments: op by op, each operation is compiled.
indicator = jax.jit(
  poisson.indicator, static_argnums=(2, 3), static_argnames="corner_outside"
)
rasterise = jax.jit(poisson.rasterise, static_argnums=2)
read, solve = jax.jit(periodic.read), jax.jit(poisson.solve, static_argnums=1)


@pytest.fixture
def rng():
  return np.random.default_rng(0)


def make_ball(rng, count, radius=0.3):
  """Points on a ball about the middle of the cube, and its outward normals."""
  normals = rng.standard_normal((1, count, 3))
  normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
  return jnp.asarray(0.5 + radius * normals), jnp.asarray(normals)


def solve_by_sums(raster, sigma):
  """Fourier sums, written out, of a raster whose sides are odd."""
  side = len(raster)
  axis = np.arange(side)
  waves = np.exp(-2j * np.pi * np.outer(axis, axis) / side)  # (k, x)
  signed = np.where(axis > side // 2, axis - side, axis)
  field = np.zeros((side,) * 3)
  for i, j, l in itertools.product(axis, repeat=3):
    w = 2 * np.pi * np.array([signed[i], signed[j], signed[l]])
    if not w.any():
      continue
    basis = waves[i][:, None, None] * waves[j][:, None] * waves[l]
    divergence = 1j * w @ (raster * basis[..., None]).sum((0, 1, 2))
    smooth = np.exp(-0.5 * (sigma * np.linalg.norm(w) / np.pi / side) ** 2)
    # -|w|^2 phi = -divergence
    field += (smooth * divergence / (w @ w) * basis.conj()).real / side**3
  return field


@pytest.mark.parametrize("sigma", [0.0, 2.0])
def test_the_solution_is_that_of_sums_over_all_waves(rng, sigma):
  raster = rng.standard_normal((2, 5, 5, 5, 3))
  field = solve(jnp.asarray(raster), sigma)
  expected = np.stack([solve_by_sums(each, sigma) for each in raster])
  np.testing.assert_allclose(field, expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("axis", range(3))
def test_a_wave_of_normals_has_the_wave_that_calculus_gives(axis):
  """N = cos(4 pi x) along x; so phi'' = 4 pi sin(4 pi x), phi = -sin(4 pi x) / 4 pi."""
  x = np.arange(8) / 8
  line = np.moveaxis(np.ones((8, 8, 8)) * x, -1, axis)
  raster = np.zeros((1, 8, 8, 8, 3))
  raster[0, ..., axis] = np.cos(4 * np.pi * line)
  field = solve(jnp.asarray(raster), 1.0)
  gaussian = np.exp(-((2 * np.pi * 2) ** 2) * (1 / np.pi / 8) ** 2 / 2)
  expected = -gaussian * np.sin(4 * np.pi * line) / (4 * np.pi)
  np.testing.assert_allclose(field[0], expected, atol=1e-6)


def test_normals_are_spread_over_the_nodes_of_their_cells(rng):
  points, normals = rng.uniform(-0.5, 1.5, (2, 20, 3)), rng.standard_normal((2, 20, 3))
  points[:, :3, 1] = [0.0, 0.75, 1.0]  # on nodes
  expected = np.zeros((2, 4, 4, 4, 3))
  for shape in range(2):
    for point, normal in zip(points[shape] * 4, normals[shape], strict=True):
      for offset in itertools.product((0, 1), repeat=3):
        node = np.floor(point).astype(int) + offset
        weight = np.prod(1 - np.abs(point - node))
        expected[(shape, *(node % 4))] += weight * normal
  raster = rasterise(jnp.asarray(points), jnp.asarray(normals), 4)
  np.testing.assert_allclose(raster, expected, atol=1e-5)


def test_values_between_nodes_are_trilinear_and_go_round(rng):
  grid, points = rng.standard_normal((2, 4, 4, 4)), rng.uniform(-1, 2, (2, 30, 3))
  values = read(jnp.asarray(grid), jnp.asarray(points))
  for shape in range(2):
    expected = ndimage.map_coordinates(
      grid[shape], 4 * points[shape].T, order=1, mode="grid-wrap"
    )
    np.testing.assert_allclose(values[shape], expected, atol=1e-5)


def test_gradients_are_differences_of_nearby_values(rng):
  with jax.enable_x64(True):
    cells = rng.integers(0, 6, (1, 9, 3)) + rng.uniform(0.1, 0.9, (1, 9, 3))
    args = cells / 6, rng.standard_normal((1, 9, 3)), rng.uniform(0.2, 1, (1, 9))
    functional = jnp.asarray(rng.standard_normal((1, 6, 6, 6)))

    @jax.jit
    def value(points, normals, weights):
      field = indicator(points, normals, 6, 1.0, weights)
      return (functional * field).sum()

    args = tuple(map(jnp.asarray, args))
    gradients = jax.jit(jax.grad(value, argnums=(0, 1, 2)))(*args)
    for i, (arg, gradient) in enumerate(zip(args, gradients, strict=True)):
      for row in rng.choice(arg.size, 6, replace=False):
        step = 1e-6 * np.eye(1, arg.size, row).reshape(arg.shape)
        sides = (value(*args[:i], arg + s, *args[i + 1 :]) for s in (step, -step))
        slope = np.subtract(*sides) / 2e-6
        np.testing.assert_allclose(
          gradient.ravel()[row], slope, rtol=1e-6, atol=1e-6 * np.abs(gradient).max()
        )


def test_the_slope_on_a_node_is_the_one_towards_larger_coordinates(rng):
  grid = jnp.asarray(rng.standard_normal((1, 4, 4, 4)))
  at_node = jnp.asarray([[[0.25, 0.5, 0.75]]])
  slopes = jax.jit(jax.grad(lambda p: read(grid, p).sum()))(at_node)[0, 0]
  here = grid[0, 1, 2, 3]
  above = jnp.stack([grid[0, 2, 2, 3], grid[0, 1, 3, 3], grid[0, 1, 2, 0]])
  np.testing.assert_allclose(slopes, 4 * (above - here), rtol=1e-5)


def test_a_ball_is_where_its_points_are(rng):
  points, normals = make_ball(rng, 4000)
  field = indicator(points, normals, 32, 2.0)
  assert abs(float(field[0, 0, 0, 0]) - 0.5) < 1e-6
  assert abs(float(field[0, 16, 16, 16]) + 0.5) < 0.1
  np.testing.assert_allclose(read(field, points).mean(), 0, atol=1e-5)
  directions, _ = make_ball(rng, 500, 1.0)
  for radius, sign in ((0.3 - 0.5 / 32, -1), (0.3 + 0.5 / 32, 1)):
    values = read(field, 0.5 + radius * (directions - 0.5))
    assert (sign * values > 0).all()


def test_the_length_of_normals_has_no_effect_and_their_side_is_the_sign(rng):
  points, normals = make_ball(rng, 300)
  field = indicator(points, normals, 16, 2.0)
  close = {"rtol": 1e-4, "atol": 1e-5}
  longer = indicator(points, 7 * normals, 16, 2.0)
  np.testing.assert_allclose(longer, field, **close)
  turned = indicator(points, -normals, 16, 2.0)
  np.testing.assert_allclose(turned, -field, **close)
  for side in (normals, -normals):
    same = indicator(points, side, 16, 2.0, corner_outside=True)
    np.testing.assert_allclose(same, field, **close)


def test_points_without_weight_change_nothing(rng):
  points, normals = make_ball(rng, 300)
  padding = jnp.asarray(rng.uniform(0, 1, (1, 50, 3)))
  weights = jnp.concatenate([jnp.ones((1, 300)), jnp.zeros((1, 50))], 1)
  padded = indicator(
    jnp.concatenate([points, padding], 1),
    jnp.concatenate([normals, 5 * padding], 1),
    16,
    2.0,
    weights,
  )
  alone = indicator(points, normals, 16, 2.0)
  np.testing.assert_allclose(padded, alone, atol=1e-5)
  nothing = indicator(points, normals, 16, 2.0, 0 * weights[:, :300])
  np.testing.assert_array_equal(nothing, 0)


@pytest.mark.parametrize("case", parity_poisson.CASES)
def test_the_solver_matches_the_published_code(case):
  limits = parity_poisson.tolerances(case)
  for name, error in parity_poisson.largest_errors(case).items():
    assert error < limits[name], name


@pytest.mark.parametrize("case", parity_poisson.NETWORKS)
def test_the_solver_of_a_network_matches_the_published_code(case):
  assert parity_poisson.error_within_network(case) < 1e-5
