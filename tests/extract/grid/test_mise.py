import itertools

import jax
import numpy as np
import pytest

from occnet_jax.extract.grid import key_sets
from occnet_jax.extract.grid.mise import sample_surface
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
def test_the_points_and_values_are_those_of_a_literal_octree(
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


def test_a_sphere_takes_the_evaluations_of_the_reference():
  def ball(indices):
    return 0.3 - np.linalg.norm(to_coordinates(indices, 128), axis=1)

  samples = sample_surface(ball, 32, 2, 0.0)
  assert samples.rounds == (35_937, 14_498, 56_978)
  assert len(samples.keys) == len(np.unique(samples.keys)) == 107_413


@pytest.mark.parametrize("value", [-1.0, 1.0])
def test_a_field_without_a_surface_is_evaluated_on_the_coarse_grid_alone(value):
  assert sample_array(np.full((17,) * 3, value), 4, 2, 0.0).rounds == (125,)


def test_a_field_that_is_its_level_everywhere_is_evaluated_everywhere():
  samples = sample_array(np.zeros((9,) * 3), 2, 2, 0.0)
  assert len(samples.keys) == 9**3


def test_voxels_that_the_split_rule_names_are_split():
  array = np.full((17,) * 3, -1.0, np.float32)
  array[9:11, 9:11, 9:11] = 1  # between the points 8 and 12 of the coarse grid
  blind = sample_array(array, 4, 2, 0.0)

  def rule(values):
    assert values.shape == (5, 5, 5)
    chosen = np.zeros((4, 4, 4), bool)
    chosen[2, 2, 2] = True
    return chosen

  samples = sample_surface(lambda i: array[tuple(i.T)], 4, 2, 0.0, split_rule=rule)
  assert len(blind.keys) == 125
  assert samples.rounds[:2] == (125, 19) and (samples.values > 0).sum() == 8


def test_memory_is_asked_for_before_it_is_used():
  def ball(indices):
    calls.append(len(indices))
    return 20.5 - np.linalg.norm(indices - 32, axis=1)

  calls, asked = [], []
  samples = sample_surface(ball, 8, 3, 0.0, check_budget=asked.append)
  assert asked[-1] >= 12 * len(samples.keys) and asked == sorted(asked)

  def refuse(needed):
    if needed == asked[-1]:
      raise ValueError("too much")

  calls.clear()
  with pytest.raises(ValueError, match="too much"):
    sample_surface(ball, 8, 3, 0.0, check_budget=refuse)
  assert sum(calls) == sum(samples.rounds[:-1])


def test_tables_and_sorting_sample_the_same(monkeypatch):
  def evaluate(indices):
    x, y, z = indices.T / 10
    return np.sin(x * y) + np.cos(3 * z) - 0.2

  by_tables = sample_surface(evaluate, 5, 3, 0.1)
  monkeypatch.setattr(key_sets, "MAX_TABLE", 0)
  by_sorting = sample_surface(evaluate, 5, 3, 0.1)
  assert 2000 < len(by_tables.keys) < 41**3
  for tabled, sorted_ in zip(by_tables, by_sorting, strict=True):
    jax.tree.map(np.testing.assert_array_equal, tabled, sorted_)
