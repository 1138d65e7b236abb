"""Containment and sampling against closed forms and the exact winding number."""

import igl
import numpy as np
import pytest
import trimesh

from occnet_jax.geometry import surface_sampling

pytestmark = pytest.mark.filterwarnings("error")
SAMPLES = 20_000


def box(extents=(1.0, 1.0, 1.0)):
  mesh = trimesh.creation.box(extents)
  return np.array(mesh.vertices), np.array(mesh.faces)


def ball(radius):
  mesh = trimesh.creation.icosphere(3, radius)
  return np.array(mesh.vertices), np.array(mesh.faces)


def test_a_part_within_a_part_is_solid():
  (a, faces), (b, _) = box((1, 1, 1)), box((0.5, 0.5, 0.5))
  union = np.concatenate([a, b]), np.concatenate([faces, faces + len(a)])
  points = np.array([[0.0, 0, 0], [0.4, 0, 0], [0.6, 0, 0]])
  assert surface_sampling.contains(*union, points).tolist() == [True, True, False]


def test_containment_equals_the_exact_winding_number():
  vertices, faces = ball(0.4)
  points = np.random.default_rng(0).uniform(-0.55, 0.55, (5000, 3))
  exact = igl.winding_number(vertices, faces, points) > 0.5
  np.testing.assert_array_equal(
    surface_sampling.contains(vertices, faces, points), exact
  )


def test_sampling_follows_area_and_carries_the_unit_normal_of_the_face():
  vertices, faces = box((1, 0.5, 0.25))
  points, normals = surface_sampling.sample(
    vertices, faces, SAMPLES, np.random.default_rng(0)
  )
  half = np.array([1, 0.5, 0.25]) / 2
  on_side = np.isclose(np.abs(points), half)
  assert on_side.any(axis=1).all()
  np.testing.assert_allclose((points * normals).sum(1), (half * np.abs(normals)).sum(1))
  areas = np.array([0.5 * 0.25, 1 * 0.25, 1 * 0.5])
  share = np.abs(normals).mean(axis=0)
  np.testing.assert_allclose(share, areas / areas.sum(), atol=0.01)
  again, _ = surface_sampling.sample(vertices, faces, SAMPLES, np.random.default_rng(0))
  np.testing.assert_array_equal(points, again)


def test_sampling_fills_a_triangle_evenly():
  triangle = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]]), np.array([[0, 1, 2]])
  points, _ = surface_sampling.sample(*triangle, SAMPLES, np.random.default_rng(0))
  np.testing.assert_allclose(points.mean(axis=0), [1 / 3, 1 / 3, 0], atol=0.01)
  np.testing.assert_allclose(points[:, :2].var(axis=0), 1 / 18, rtol=0.05)
  assert (points >= 0).all()
  assert (points.sum(axis=1) <= 1).all()


def test_the_area_of_a_box_is_that_of_its_six_sides():
  np.testing.assert_allclose(surface_sampling.area(*box((1, 2, 3))), 2 * (2 + 3 + 6))
  assert surface_sampling.area(np.zeros((0, 3)), np.zeros((0, 3), np.int64)) == 0


def test_nothing_is_inside_no_faces():
  nothing = np.zeros((0, 3)), np.zeros((0, 3), np.int64)
  assert surface_sampling.contains(*nothing, np.zeros((2, 3))).tolist() == [
    False,
    False,
  ]
  assert surface_sampling.contains(*box(), np.zeros((0, 3))).shape == (0,)


def test_faults_of_a_mesh_are_named():
  vertices, faces = box()
  vertices[3, 1] = np.nan
  with pytest.raises(ValueError, match="1 of 8 vertices are not finite"):
    surface_sampling.contains(vertices, faces, np.zeros((1, 3)))
  with pytest.raises(ValueError, match="faces name vertices 1 to 8, want 0 to 7"):
    surface_sampling.contains(box()[0], faces + 1, np.zeros((1, 3)))
  with pytest.raises(ValueError, match="0 faces have area 0"):
    surface_sampling.sample(np.eye(3), faces[:0], 5, np.random.default_rng(0))
