"""Features of points on planes and in grids, against loops and closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from occnet_jax.nn import grid_features
from occnet_jax.nn.grid_features import Layout

LAYOUT = Layout(("xz", "grid"), plane_resolution=8, grid_resolution=4)


def make_points(b=2, n=40):
  points = np.random.default_rng(0).uniform(-0.6, 0.6, (b, n, 3)).astype(np.float32)
  points[:, 0] = points[:, 1]  # two points of one cell at least
  return jnp.asarray(points)


def cell_of(point, name):
  """The cell of a point by the published formulas, in float64; last axis first."""
  margin, side = (1e-3, 4) if name == "grid" else (1e-5, 8)
  axes = {"xz": (0, 2), "xy": (0, 1), "yz": (1, 2), "grid": (0, 1, 2)}[name]
  unit = [float(point[axis]) / (1.1 + margin) + 0.5 for axis in axes]
  unit = [1 - margin if u >= 1 else max(u, 0.0) for u in unit]
  return tuple(int(u * side) for u in reversed(unit))


@pytest.mark.parametrize("name", grid_features.AXES)
def test_a_cell_holds_the_mean_of_its_points_and_no_other_point(name):
  points = make_points()
  features = jnp.asarray(np.random.default_rng(1).standard_normal((2, 40, 3)))
  cells = grid_features.find_cells(points, name, LAYOUT)
  grid = np.asarray(grid_features.scatter_mean(features, cells))
  expected = np.zeros(grid.shape)
  for shape in range(2):
    members = {}
    for point, feature in zip(points[shape], features[shape], strict=True):
      members.setdefault(cell_of(point, name), []).append(np.asarray(feature))
    for cell, own in members.items():
      expected[(shape, *cell)] = np.mean(own, 0)
  np.testing.assert_allclose(grid, expected, atol=1e-6)


@pytest.mark.parametrize("name", grid_features.AXES)
def test_without_padding_coordinates_of_the_unit_cube_stay_as_they_are(name):
  points = jnp.asarray([[[0.1, 0.999995, 0.7], [-0.2, 1.0, 1.5]]])
  axes = list(grid_features.AXES[name])
  expected = np.array([[0.1, 0.999995, 0.7], [0, 1 - 1e-5, 1 - 1e-5]])[:, axes]
  unit = grid_features.normalise(points, name, None)
  np.testing.assert_allclose(unit[0], expected, atol=1e-7)


@pytest.mark.parametrize(("kind", "reduce"), [("max", np.max), ("mean", np.mean)])
def test_a_point_gets_what_its_cell_pools(kind, reduce):
  points = make_points()
  features = jnp.asarray(np.random.default_rng(2).standard_normal((2, 40, 3)))
  cells = grid_features.find_cells(points, "xz", LAYOUT)
  pooled = grid_features.pool(features, cells, kind)
  for shape in range(2):
    own = [cell_of(point, "xz") for point in points[shape]]
    for i in range(40):
      rows = [j for j in range(40) if own[j] == own[i]]
      expected = reduce(np.asarray(features[shape])[rows], 0)
      np.testing.assert_allclose(pooled[shape, i], expected, atol=1e-6)
  gradient = jax.grad(lambda f: grid_features.pool(f, cells, kind).sum())(features)
  # Every pooled entry is one feature, or an average of some: the slopes sum to one.
  np.testing.assert_allclose(gradient.sum((0, 1)), [80, 80, 80], rtol=1e-5)


def test_points_far_outside_are_in_the_outermost_cells():
  far = jnp.array([[[9.0, 0.0, -9.0], [-9.0, 0.0, 9.0], [0.55, 0.0, 0.55]]])
  cells = grid_features.find_cells(far, "xz", LAYOUT)
  np.testing.assert_array_equal(cells.rows, [7, 56, 63])  # x + 8 z


@pytest.mark.parametrize("read_at", ["nodes", "cells"])
def test_a_sample_is_the_sum_of_the_features_at_a_point(read_at):
  """Linear features are interpolated exactly, so the sum has a closed form."""
  layout = LAYOUT._replace(names=tuple(grid_features.AXES))
  points = make_points() * 0.6
  grids, expected = {}, 0.0
  for number, (name, axes) in enumerate(grid_features.AXES.items(), start=1):
    side, margin = layout.side(name), 1e-3 if name == "grid" else 1e-5
    line = np.linspace(0, 1, side)
    line = line if read_at == "nodes" else (np.arange(side) + 0.5) / side
    nodes = np.meshgrid(*[line] * len(axes), indexing="ij")
    weights = number * np.arange(1, len(axes) + 1)
    # Axes of arrays are coordinates in reverse order.
    values = sum(w * u for w, u in zip(weights, reversed(nodes), strict=True))
    grids[name] = jnp.tile(jnp.asarray(values, jnp.float32)[None, ..., None], 2)
    grids[name] = jnp.broadcast_to(grids[name], (2, *grids[name].shape[1:]))
    unit = np.asarray(points)[..., axes] / (1.1 + margin) + 0.5
    expected = expected + unit @ weights
  sampled = grid_features.sample(
    grids, points, padding=0.1, mode="bilinear", read_at=read_at
  )
  np.testing.assert_allclose(sampled[..., 0], expected, rtol=1e-5)
  np.testing.assert_allclose(sampled[..., 1], expected, rtol=1e-5)
