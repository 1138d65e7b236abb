import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from occnet_jax.extract.device.octree import fill_unknown, sample_surface
from tests.extract.grid.test_mise import naive_octree, random_array


@functools.partial(jax.jit, static_argnums=(1, 2, 4))
def sample_array(array, cells, steps, level, size):
  """The device's octree of an array of values."""

  def evaluate(points, count):
    # Places beyond the count hold what should not matter.
    values = array[tuple(jnp.minimum(points, len(array) - 1).T)]
    return jnp.where(jnp.arange(len(points)) < count, values, 1e9)

  return sample_surface(evaluate, cells, steps, level, split_rule=None, size=size)


@pytest.mark.parametrize("size", [7, 5000])
@pytest.mark.parametrize("seed", range(3))
def test_the_points_are_those_of_a_literal_octree(seed, size):
  # Rounded, so that many points are exactly at the level.
  array = np.round(random_array(17, seed, 3.0), 0 if seed else 3)
  table = jax.device_get(sample_array(array.astype(np.float32), 2, 3, 0.0, size))
  known = {tuple(p): array[tuple(p)] for p in np.argwhere(table.signs > 0)}
  assert known.keys() == naive_octree(array, 2, 3, 0.0).keys()
  for point, value in known.items():
    assert table.values[point] == np.float32(value)


def test_points_that_are_not_known_get_the_side_of_their_voxel():
  array = random_array(17, 0, 3.0)
  table = sample_array(array.astype(np.float32), 2, 3, 0.2, 5000)
  fill = jax.jit(fill_unknown, static_argnums=(1, 2))
  filled, known = np.asarray(fill(table, 2, 3)), np.asarray(table.signs) > 0
  assert 0.1 < known.mean() < 0.9
  np.testing.assert_array_equal(filled[known], array.astype(np.float32)[known])
  # A step between neighbours of different sides is between two known points.
  for axis in range(3):
    crossed = np.diff((filled > 0.2).astype(int), axis=axis) != 0
    ends = [np.take(known, range(k, k + 16), axis) for k in (0, 1)]
    assert (ends[0] & ends[1])[crossed].all()


def test_values_that_are_not_numbers_end_the_search():
  table = sample_array(np.full((9, 9, 9), np.nan, np.float32), 2, 2, 0.0, 100)
  assert np.isnan(table.values[0, 0, 0])
