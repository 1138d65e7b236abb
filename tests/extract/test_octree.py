import itertools

import numpy as np
import pytest

from occnet_jax.extract.octree import sample_surface, to_dense
from occnet_jax.extract.surface import marching_cubes
from occnet_jax.geometry.grids import from_keys, grid_indices, to_coordinates


def naive_octree(values_at, resolution_0, depth, level):
  """A literal octree, one voxel and one point at a time. {point: value}."""
  size = 2**depth
  resolution = resolution_0 * size
  roots = {i: [] for i in itertools.product(range(resolution_0), repeat=3)}

  def leaf_at(cell):  # (corner, depth) of the leaf that holds a unit cell, and the leaf
    corner, children, s = tuple(x // size for x in cell), None, size
    children, corner = roots[corner], tuple(x * s for x in corner)
    while children:
      s //= 2
      steps = tuple((x - y) // s for x, y in zip(cell, corner, strict=True))
      corner = tuple(y + s * t for y, t in zip(corner, steps, strict=True))
      children = children[0][steps]
    return corner, s, children

  known = {}
  side = range(0, resolution + 1, size)
  unknown = set(itertools.product(side, repeat=3))
  while unknown:
    known |= {point: values_at[point] for point in unknown}
    positive, negative, leaves = set(), set(), {}
    for point, value in known.items():
      for step in itertools.product((-1, 0), repeat=3):
        cell = tuple(x + y for x, y in zip(point, step, strict=True))
        if min(cell) < 0 or max(cell) >= resolution:
          continue
        corner, s, children = leaf_at(cell)
        leaves[corner] = s, children
        if value >= level:
          positive.add(corner)
        if value <= level:
          negative.add(corner)
    unknown = set()
    for corner in positive & negative:
      s, children = leaves[corner]
      if s == 1:
        continue
      children.append({step: [] for step in itertools.product((0, 1), repeat=3)})
      for step in itertools.product((0, 1, 2), repeat=3):
        point = tuple(x + y * (s // 2) for x, y in zip(corner, step, strict=True))
        unknown.add(point)
    unknown -= known.keys()
  return known


def naive_dense(known, resolution):
  """Fills what is unknown from below along x, then y, then z, one point at a time."""
  dense = np.full((resolution + 1,) * 3, np.nan, np.float32)
  for point, value in known.items():
    dense[point] = value
  for axis in range(3):
    for point in itertools.product(range(resolution + 1), repeat=3):
      if np.isnan(dense[point]) and point[axis] > 0:
        below = list(point)
        below[axis] -= 1
        dense[point] = dense[tuple(below)]
  return dense


def sample_array(array, resolution_0, steps, level):
  array = np.asarray(array, np.float32)
  samples = sample_surface(lambda i: array[tuple(i.T)], resolution_0, steps, level)
  assert samples.resolution + 1 == len(array)
  return samples


def random_array(side, seed, frequency):
  """A sum of plane waves."""
  rng = np.random.default_rng(seed)
  points = to_coordinates(grid_indices(side), side - 1)
  waves = rng.normal(size=(3, 6)) * frequency
  values = np.sin(points @ waves + rng.uniform(0, 6, size=6)) @ rng.normal(size=6)
  return values.astype(np.float32).reshape((side,) * 3)


def ball_array(side, radius=0.3):
  points = to_coordinates(grid_indices(side), side - 1)
  return (radius - np.linalg.norm(points, axis=1)).reshape((side,) * 3)


@pytest.mark.parametrize(
  "resolution_0, steps, frequency, level, digits",
  [
    (4, 2, 8, 0.3, None),
    (3, 2, 25, 0.9, None),  # as fine as the grid: hanging points everywhere
    (2, 3, 6, 0.0, 0),  # rounded, so many values are the level itself
    (4, 2, 12, 1.0, 0),
    (2, 3, 12, 2.0, None),
    (5, 1, 15, -0.4, None),
    (4, 3, 4, 2.5, None),
    (3, 0, 8, 0.0, None),
  ],
)
def test_the_points_and_the_dense_array_are_those_of_a_literal_octree(
  resolution_0, steps, frequency, level, digits
):
  resolution = resolution_0 * 2**steps
  array = random_array(resolution + 1, seed=steps + frequency, frequency=frequency)
  if digits is not None:
    array = array.round(digits)
  known = naive_octree(array, resolution_0, steps, level)
  samples = sample_array(array, resolution_0, steps, level)
  found = from_keys(samples.keys, resolution + 1).tolist()
  assert found == [list(point) for point in sorted(known)]
  np.testing.assert_array_equal(samples.values, [known[tuple(p)] for p in found])
  np.testing.assert_array_equal(to_dense(samples), naive_dense(known, resolution))


def test_a_fine_point_on_the_face_of_a_coarse_voxel_wakes_it():
  # Voxels of size 4. The corner at the origin wakes [0, 4]^3, whose split finds the bar
  # at (2, 2, 2) and (4, 2, 2). The bar goes on into [4, 8] x [0, 4]^2, whose own
  # corners are all outside; only the fine point (4, 2, 2) on its face tells.
  array = np.full((9, 9, 9), -1.0, np.float32)
  array[2:7, 1:4, 1:4] = 1
  array[0, 0, 0] = 1
  corners = array[4::4, 0:5:4, 0:5:4]
  assert (corners < 0).all()
  dense = to_dense(sample_array(array, 2, 2, 0.0))
  np.testing.assert_array_equal(dense > 0, array > 0)


def test_a_fine_point_on_the_edge_of_a_coarse_voxel_wakes_it():
  # As above, but the bar runs along the edge y = z = 4 that four voxels share.
  array = np.full((9, 9, 9), -1.0, np.float32)
  array[0, 0, 0] = 1
  array[1:4, 3:6, 3:6] = 1
  assert (array[::4, ::4, ::4] > 0).sum() == 1
  dense = to_dense(sample_array(array, 2, 2, 0.0))
  np.testing.assert_array_equal(dense > 0, array > 0)


def test_a_sphere_takes_the_evaluations_of_the_reference():
  def ball(indices):
    return 0.3 - np.linalg.norm(to_coordinates(indices, 128), axis=1)

  samples = sample_surface(ball, 32, 2, 0.0)
  assert samples.rounds == (35_937, 14_498, 56_978)
  assert len(samples.keys) == len(np.unique(samples.keys)) == 107_413


@pytest.mark.parametrize("resolution_0, steps", [(8, 2), (4, 3), (16, 1), (32, 0)])
def test_the_surface_is_that_of_the_dense_grid_if_the_coarse_grid_sees_it(
  resolution_0, steps
):
  array = ball_array(33)
  dense = to_dense(sample_array(array, resolution_0, steps, 0.0))
  for found, wanted in zip(
    marching_cubes(dense, 0.0), marching_cubes(array, 0.0), strict=True
  ):
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("value", [-1.0, 1.0])
def test_a_field_without_a_surface_is_looked_at_once(value):
  samples = sample_array(np.full((17,) * 3, value), 4, 2, 0.0)
  assert samples.rounds == (125,)
  np.testing.assert_array_equal(to_dense(samples), np.full((17,) * 3, value))


def test_a_field_that_is_its_level_everywhere_is_looked_at_everywhere():
  samples = sample_array(np.zeros((9,) * 3), 2, 2, 0.0)
  assert len(samples.keys) == 9**3
