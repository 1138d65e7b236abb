"""Interpolation against SciPy, closed forms and finite differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from occnet_jax.nn import interpolate

linear = jax.jit(interpolate.linear, static_argnames="border")


@pytest.mark.parametrize("sides", [(5, 7), (4, 6, 3)])
@pytest.mark.parametrize("border", [True, False])
def test_linear_interpolation_equals_scipys(sides, border):
  rng = np.random.default_rng(0)
  grid = rng.standard_normal((2, *sides, 3)).astype(np.float32)
  t = 200
  positions = rng.uniform(-2, 9, (2, t, len(sides))).astype(np.float32)
  positions[:, :9] = np.round(positions[:, :9])  # on nodes, inside and outside
  result = linear(jnp.asarray(grid), jnp.asarray(positions), border=border)
  for shape in range(2):
    for feature in range(3):
      expected = ndimage.map_coordinates(
        grid[shape, ..., feature],
        positions[shape].T,
        order=1,
        mode="nearest" if border else "grid-constant",
      )
      np.testing.assert_allclose(result[shape, :, feature], expected, atol=2e-5)


def test_the_gradient_is_that_of_the_cell():
  rng = np.random.default_rng(1)
  grid = jnp.asarray(rng.standard_normal((1, 4, 4, 4, 1)), jnp.float32)
  positions = jnp.asarray(rng.uniform(0.1, 2.9, (1, 20, 3)), jnp.float32)

  def total(positions):
    return linear(grid, positions).sum()

  gradient = jax.jit(jax.grad(total))(positions)
  step = 1e-2
  for axis in range(3):
    shift = (np.eye(3, dtype=np.float32)[axis] * step).reshape(1, 1, 3)
    values = [linear(grid, positions + s * shift) for s in (1, -1)]
    same_cell = np.floor(positions + shift) == np.floor(positions - shift)
    slope = ((values[0] - values[1]) / (2 * step))[..., 0]
    rows = same_cell.all(-1)
    assert rows.sum() > 10
    np.testing.assert_allclose(gradient[..., axis][rows], slope[rows], atol=1e-3)


def test_the_nearest_node_is_the_even_one_of_two():
  grid = jnp.arange(5.0).reshape(1, 5, 1) + 10 * jnp.arange(4.0).reshape(4, 1, 1)
  positions = jnp.array([[[0.5, 1.5], [1.5, 2.5], [-3.0, 9.0], [2.4, 0.6]]])
  result = interpolate.nearest(grid[None], positions)
  np.testing.assert_array_equal(result[0, :, 0], [2, 22, 4, 21])
