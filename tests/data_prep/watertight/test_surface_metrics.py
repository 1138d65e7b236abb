"""Measures of surfaces against closed forms."""

import numpy as np
import trimesh

from data_prep.watertight import surface_metrics
from occnet_jax.geometry import triangles


def _arrays(*parts):
  mesh = trimesh.util.concatenate(parts)
  return np.array(mesh.vertices), np.array(mesh.faces, np.int64)


def test_normals_have_unit_length_and_none_where_there_is_no_area():
  vertices = np.array([[0.0, 0, 0], [2, 0, 0], [0, 3, 0], [4, 0, 0]])
  normals, areas = triangles.unit_normals_and_areas(
    vertices, np.array([[0, 1, 2], [0, 1, 3]])
  )
  np.testing.assert_allclose(normals, [[0, 0, 1], [0, 0, 0]])
  np.testing.assert_allclose(areas, [3, 0])


def test_samples_are_even_by_area_on_each_group():
  small = trimesh.creation.box((1, 1, 1))
  large = trimesh.creation.icosphere(3, radius=1.0).apply_translation((5, 0, 0))
  vertices, faces = _arrays(small, large)
  group = np.repeat([1, 0], [len(small.faces), len(large.faces)])
  points, face = surface_metrics.stratified_samples(vertices, faces, 3000, group)
  assert points.shape == (6000, 3)
  np.testing.assert_array_equal(group[face], np.repeat([0, 1], 3000))
  ball, box = points[:3000] - (5, 0, 0), points[3000:]
  np.testing.assert_allclose(np.abs(box).max(1), 0.5)
  np.testing.assert_allclose((np.abs(box) == 0.5).mean(0), 1 / 3, atol=0.01)
  np.testing.assert_allclose(np.linalg.norm(ball, axis=1), 1, atol=0.01)
  np.testing.assert_allclose(ball.mean(0), 0, atol=0.02)


def test_a_part_is_far_beyond_the_extent_of_the_bulk():
  """A bulk of extent 1 up to 0.5: far is what begins beyond 1.5."""
  box = trimesh.creation.box((1, 1, 1))
  for axis in range(3):
    for sign in (-1, 1):
      centre = np.zeros(3)
      for place, want in ((1.45, False), (1.6, True)):
        centre[axis] = sign * place
        crumb = trimesh.creation.box((0.02, 0.02, 0.02)).apply_translation(centre)
        part = np.repeat([0, 1], 12)
        # A cube's bulk is measured at the middle of its faces: within a sixth.
        far = surface_metrics.outlier_faces(*_arrays(box, crumb), part)
        assert not far[:12].any() and (far[12:] == want).all()
