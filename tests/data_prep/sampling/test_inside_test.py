"""Labels by regions against one query per point, and against closed forms."""

import numpy as np
import pytest
import trimesh

from data_prep.sampling import inside_test
from data_prep.sources import synthetic
from data_prep.watertight import solid as solids
from data_prep.watertight import winding

POINTS = np.random.default_rng(0).uniform(-0.55, 0.55, (20_000, 3))


def _solid(*parts):
  mesh = trimesh.util.concatenate(parts)
  return solids.close(np.array(mesh.vertices), np.array(mesh.faces, np.int64))


def _box(extent, centre=(0, 0, 0)):
  extent = np.broadcast_to(extent, 3)
  return trimesh.creation.box(extents=extent).apply_translation(centre)


@pytest.mark.parametrize("side", [1, 7, 32])
@pytest.mark.parametrize("category", synthetic.CATEGORIES)
def test_labels_are_those_of_one_query_per_point(category, side):
  solid = solids.close(*synthetic.make_shape(category, 0, 1))
  extent = solid.vertices.max(0) - solid.vertices.min(0)
  points = solid.vertices.mean(0) + POINTS * extent
  np.testing.assert_array_equal(
    inside_test.make_inside_test(solid, side=side)(points),
    winding.contains(solid, points),
  )


def test_a_shell_between_two_boxes_is_found_on_both_sides():
  """Three regions without a triangle: outside, the shell, the cavity."""
  cavity = _box(0.5)
  cavity.invert()
  contains = inside_test.make_inside_test(_solid(_box(1.0), cavity))
  distance = np.abs(POINTS).max(1)
  np.testing.assert_array_equal(contains(POINTS), (distance < 0.5) & (distance > 0.25))


def test_a_sheet_thinner_than_a_cell_is_not_missed():
  sheet = _box((1.0, 0.8, 1e-4), (0.0, 0.0, 0.01))
  points = POINTS.copy()
  points[:, 2] = 0.01 + 1.5e-4 * POINTS[:, 2]
  want = (np.abs(points - (0, 0, 0.01)) < (0.5, 0.4, 0.5e-4)).all(1)
  assert 0.2 < want.mean() < 0.8
  np.testing.assert_array_equal(
    inside_test.make_inside_test(_solid(sheet))(points), want
  )


def test_faces_on_the_planes_between_cells_mark_the_cells_of_both_sides():
  contains = inside_test.make_inside_test(
    _solid(_box(1.0), _box((0.25, 2.0, 0.25))), side=32
  )
  axis = np.arange(-15, 16) / 16 + 1 / 64  # the box's planes are multiples of 1 / 16
  lattice = np.stack(np.meshgrid(axis, axis, axis), -1).reshape(-1, 3)
  size = np.abs(lattice)
  want = (size < 0.5).all(1) | (size < (0.125, 1.0, 0.125)).all(1)
  np.testing.assert_array_equal(contains(lattice), want)


def test_a_solid_smaller_than_its_cells_leaves_every_point_to_be_asked():
  contains = inside_test.make_inside_test(_solid(_box(0.5)), side=1)
  np.testing.assert_array_equal(contains(POINTS), (np.abs(POINTS) < 0.25).all(1))


def test_a_point_that_is_not_finite_is_refused():
  with pytest.raises(ValueError, match="not finite"):
    inside_test.make_inside_test(_solid(_box(0.5)))(np.array([[0, np.inf, 0]]))


def test_large_triangles_are_split_without_a_gap():
  """Area is kept, and no piece is larger than a cell."""
  rng = np.random.default_rng(0)
  triangles = rng.uniform(0, 30, (200, 3, 3))

  def area(corners):
    a, b = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    return np.linalg.norm(np.cross(a, b), axis=1).sum() / 2

  pieces = np.concatenate(list(inside_test._split(triangles)))
  assert np.ptp(pieces, axis=1).max() <= 1
  np.testing.assert_allclose(area(pieces), area(triangles))
