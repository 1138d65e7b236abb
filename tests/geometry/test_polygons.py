"""Triangulated polygons against their area by the shoelace formula."""

import numpy as np
import pytest

from occnet_jax.geometry import polygons


def _area(points):
  """Signed, by the shoelace formula."""
  x, y = np.transpose(points)
  return (x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2


def _cover(points, turn=None):
  """Signed areas in the plane of the triangles of one polygon."""
  vertices = np.column_stack([points, np.zeros(len(points))])
  if turn is not None:
    vertices = vertices @ turn.T
  faces = polygons.triangulate(vertices, np.arange(len(points)), [len(points)])
  assert len(faces) == len(points) - 2
  return np.array([_area(np.asarray(points)[face]) for face in faces])


def _star(points, inner):
  angle = np.arange(2 * points) * np.pi / points
  radius = np.where(np.arange(2 * points) % 2, inner, 1.0)
  return np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1)


SHAPES = {
  "dart": [(0, 0), (2, 1), (0, 2), (1, 1)],
  "star": _star(7, 0.2),
  "comb": [(0, 0), (7, 0), (7, 3), (5, 1), (4, 3), (3, 1), (2, 3), (1, 1), (0, 3)],
  "midpoints": [(0, 0), (1, 0), (2, 0), (2, 1), (1, 1), (1, 2), (0, 2), (0, 1)],
  # A square with a square hole, which a bridge joins to the border.
  "bridge": [
    *[(0, 0), (3, 0), (3, 3), (0, 3), (0, 0)],
    *[(1, 1), (1, 2), (2, 2), (2, 1), (1, 1)],
  ],
}


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("reverse", [False, True])
def test_the_triangles_of_a_concave_polygon_cover_it_once(name, reverse):
  shape = np.array(SHAPES[name], float)[:: -1 if reverse else 1]
  turn = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
  for start in range(len(shape)):
    areas = _cover(np.roll(shape, start, axis=0), turn)
    # All of one sign: they do not overlap, so their sum is what they cover.
    assert (areas * np.sign(_area(shape)) > -1e-9).all()
    np.testing.assert_allclose(areas.sum(), _area(shape))


def test_a_random_simple_polygon_is_covered_once():
  rng = np.random.default_rng(1)
  for count in range(4, 40):
    angle = np.sort(rng.uniform(0, 2 * np.pi, count))
    radius = rng.uniform(0.1, 1, count)
    shape = np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1)
    if np.diff(angle, append=angle[0] + 2 * np.pi).max() > 3:
      continue  # the centre is outside, and edges may cross
    areas = _cover(shape)
    assert (areas > -1e-12).all()
    np.testing.assert_allclose(areas.sum(), _area(shape))


def test_convex_polygons_stay_fans_around_their_first_corner():
  vertices = np.column_stack([_star(3, 1.0), np.zeros(6)])
  faces = polygons.triangulate(vertices, np.array([2, 3, 4, 5, 0, 1, 0, 1, 4]), [6, 3])
  want = [[2, 3, 4], [2, 4, 5], [2, 5, 0], [2, 0, 1], [0, 1, 4]]
  np.testing.assert_array_equal(faces, want)


def test_polygons_of_fewer_than_three_corners_have_no_triangle():
  faces = polygons.triangulate(np.eye(3), np.array([0, 1, 2, 0, 1, 2]), [2, 0, 1, 3])
  np.testing.assert_array_equal(faces, [[0, 1, 2]])


def test_a_concave_polygon_without_bounds_is_refused():
  with pytest.raises(ValueError, match="10000 corners, want at most 4096"):
    _cover(_star(5000, 0.5))
