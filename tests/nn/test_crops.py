"""Cells and positions in windows of a scene, against loops and closed forms."""

import jax.numpy as jnp
import numpy as np
import pytest

from occnet_jax.nn import crops, grid_features
from occnet_jax.nn.crops import Crop
from occnet_jax.nn.grid_features import Layout

UNIT, SIDE = 0.25, 8
LAYOUT = Layout(("xz", "grid"), SIDE, SIDE, crop=Crop(UNIT))


def make_points(count=60):
  points = np.random.default_rng(0).uniform(-1.3, 1.3, (2, count, 3))
  points[:, 0] = [[1.0, 0.1, 0.1], [-1.0, 0.1, 0.1]]  # upper and lower face
  return jnp.asarray(points, jnp.float32)


@pytest.mark.parametrize("name", ["xz", "grid"])
def test_a_cell_holds_its_points_and_those_outside_are_in_none(name):
  points, axes = make_points(), grid_features.AXES[name]
  features = jnp.asarray(np.random.default_rng(1).standard_normal((2, 60, 3)))
  cells = grid_features.find_cells(points, name, LAYOUT)
  grid = np.asarray(grid_features.scatter_mean(features, cells))
  expected, members = np.zeros(grid.shape), {}
  for shape in range(2):
    for point, feature in zip(points[shape], features[shape], strict=True):
      index = [int(np.floor(float(x) / UNIT)) + 4 for x in point]
      if all(0 <= i < SIDE for i in index):
        cell = (shape, *(index[axis] for axis in reversed(axes)))
        members.setdefault(cell, []).append(np.asarray(feature))
  for cell, own in members.items():
    expected[cell] = np.mean(own, 0)
  assert grid.shape == (2, *[SIDE] * len(axes), 3)
  np.testing.assert_allclose(grid, expected, atol=1e-6)


def test_a_point_on_the_upper_face_is_outside_and_on_the_lower_inside():
  _, inside = crops.find_indices(make_points(), SIDE, Crop(UNIT))
  assert not inside[0, 0] and inside[1, 0]


@pytest.mark.parametrize("pooling", ["max", "mean"])
def test_points_outside_pool_nothing_of_those_inside(pooling):
  points = make_points()
  features = jnp.asarray(np.random.default_rng(2).standard_normal((2, 60, 3)))
  cells = grid_features.find_cells(points, "xz", LAYOUT)
  _, inside = crops.find_indices(points, SIDE, Crop(UNIT))
  changed = jnp.where(inside[..., None], features, 99.0)
  before = grid_features.pool(features, cells, pooling)
  after = grid_features.pool(changed, cells, pooling)
  np.testing.assert_array_equal(before[inside], after[inside])


def test_features_of_cells_lie_on_nodes_or_in_centres():
  """Features that are linear in the cell's index are interpolated exactly."""
  index = jnp.arange(SIDE, dtype=jnp.float32)
  plane = jnp.broadcast_to(index[None, None, :, None], (1, SIDE, SIDE, 1))  # x
  x = jnp.array([-0.8, -0.1, 0.0, 0.3, 0.85])
  points = jnp.stack([x, 0 * x, 0 * x], -1)[None]
  for read_at, expected in (
    ("cells", x / UNIT + 4 - 0.5),
    ("nodes", (x / UNIT + 4) * 7 / 8),
  ):
    crop = Crop(UNIT, read_at=read_at)
    sampled = grid_features.sample(
      {"xz": plane}, points, padding=0.1, mode="bilinear", crop=crop
    )
    np.testing.assert_allclose(sampled[0, :, 0], expected, atol=1e-5)


def test_positions_are_those_within_the_cell():
  points = jnp.array([[[0.3, -0.3, 0.25]]])
  local = crops.encode_positions(points, Crop(UNIT))
  np.testing.assert_allclose(local[0, 0], [0.2, 0.8, 0.0], atol=1e-6)
  np.testing.assert_array_equal(crops.encode_positions(points, Crop(UNIT, "")), points)
  np.testing.assert_array_equal(crops.encode_positions(points, None), points)
  waves = crops.encode_positions(points, Crop(UNIT, "sin_cos"))
  assert waves.shape == (1, 1, 60)
  v = 2 * np.array([0.2, 0.8, 0.0]) - 1
  for octave in (0, 3):
    phase = 2.0**octave * np.pi * v
    expected = [*np.sin(phase), *np.cos(phase)]
    np.testing.assert_allclose(
      waves[0, 0, 6 * octave : 6 * octave + 6], expected, atol=2e-5
    )
