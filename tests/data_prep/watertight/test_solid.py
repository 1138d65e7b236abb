"""Labels against closed forms and libigl's winding number."""

import igl
import numpy as np
import pytest
import trimesh
from scipy.spatial.transform import Rotation

from data_prep.watertight import solid as solids
from data_prep.watertight import winding
from occnet_jax.geometry.solids import Solid
from tests.helpers.small_data import arrays, box, in_box

POINTS = np.random.default_rng(0).uniform(-0.55, 0.55, (20_000, 3))


def _turned(mesh):
  mesh = mesh.copy()
  mesh.invert()
  return mesh


def test_a_sphere_contains_the_points_within_its_radius():
  solid = solids.close(*arrays(trimesh.creation.icosphere(4, radius=0.5)))
  radius = np.linalg.norm(POINTS, axis=1)
  clear = (radius < 0.495) | (radius > 0.5)  # chords lie inside by 0.0015
  inside = winding.contains(solid, POINTS)
  np.testing.assert_array_equal(inside[clear], (radius < 0.5)[clear])


def test_overlapping_boxes_are_labelled_as_their_union():
  extents, centres = (0.5, 0.4), ((0, 0, 0), (0.2, 0.15, 0.1))
  parts = [box(e, c) for e, c in zip(extents, centres, strict=True)]
  want = in_box(POINTS, 0.5) | in_box(POINTS, 0.4, centres[1])
  solid = solids.close(*arrays(*parts))
  np.testing.assert_array_equal(winding.contains(solid, POINTS), want)
  np.testing.assert_allclose(winding.winding_number(solid, POINTS).max(), 2, atol=0.02)


def test_a_box_in_a_box_fills_and_a_turned_one_is_a_cavity():
  outer, inner = box(0.9), box(0.5)
  nested = solids.close(*arrays(outer, inner))
  np.testing.assert_array_equal(winding.contains(nested, POINTS), in_box(POINTS, 0.9))
  hollow = solids.close(*arrays(outer, _turned(inner)))
  np.testing.assert_array_equal(
    winding.contains(hollow, POINTS), in_box(POINTS, 0.9) & ~in_box(POINTS, 0.5)
  )


@pytest.mark.parametrize("turn_first", [False, True])
def test_an_inside_out_part_is_turned_wherever_it_stands(turn_first):
  left, right = box(0.3, (-0.3, 0, 0)), box(0.4, (0.25, 0, 0))
  parts = (_turned(left), right) if turn_first else (left, _turned(right))
  want = in_box(POINTS, 0.3, (-0.3, 0, 0)) | in_box(POINTS, 0.4, (0.25, 0, 0))
  solid = solids.close(*arrays(*parts))
  np.testing.assert_array_equal(winding.contains(solid, POINTS), want)
  np.testing.assert_allclose(trimesh.Trimesh(*solid).volume, 0.3**3 + 0.4**3)


def test_a_mesh_that_is_wholly_inside_out_keeps_its_cavity():
  vertices, faces = arrays(_turned(box(0.9)), box(0.5))
  solid = solids.close(vertices, faces)
  np.testing.assert_allclose(trimesh.Trimesh(*solid).volume, 0.9**3 - 0.5**3)
  assert not winding.contains(solid, np.zeros((1, 3))).any()


def test_faces_wound_at_random_are_put_right():
  vertices, faces = arrays(trimesh.creation.torus(0.3, 0.1))
  wrong = np.random.default_rng(0).random(len(faces)) < 0.5
  shuffled = faces.copy()
  shuffled[wrong] = shuffled[wrong][:, ::-1]
  np.testing.assert_array_equal(
    winding.contains(solids.close(vertices, shuffled), POINTS),
    winding.contains(solids.close(vertices, faces), POINTS),
  )


def test_repeated_vertices_are_welded_and_degenerate_faces_dropped():
  vertices, faces = arrays(box(0.5))
  soup, single = vertices[faces].reshape(-1, 3), np.arange(36).reshape(-1, 3)
  soup = np.concatenate([soup, [[9.0, 9.0, 9.0]]])  # in no face
  solid = solids.close(soup, np.concatenate([single, [[0, 0, 1], [5, 5, 5]]]))
  assert (len(solid.vertices), len(solid.faces)) == (8, 12)


def test_a_fin_without_thickness_is_dropped():
  vertices, faces = arrays(box(0.5))
  fin = [[0, 1, len(vertices)], [1, 0, len(vertices)]]
  solid = solids.close(
    np.concatenate([vertices, [[0.5, 0.5, 0.5]]]), np.concatenate([faces, fin])
  )
  assert len(solid.faces) == 12


def test_an_open_mesh_is_refused_with_its_number_of_open_edges():
  vertices, faces = arrays(box(0.5))
  with pytest.raises(ValueError, match=r"3 open edges, want 0.*Fill Holes"):
    solids.close(vertices, faces[1:])


@pytest.mark.parametrize(
  ("vertices", "faces"),
  [
    (np.zeros((0, 3)), np.zeros((0, 3), int)),
    (np.full((3, 3), np.nan), np.array([[0, 1, 2]])),
    (np.ones((3, 3)), np.array([[0, 1, 2]])),
    (np.eye(3), np.array([[0, 1, 2], [1, 0, 2]])),
  ],
)
def test_what_encloses_nothing_is_refused(vertices, faces):
  with pytest.raises(ValueError, match="want"):
    solids.close(vertices, faces)


def test_a_point_that_is_not_finite_is_refused():
  solid = solids.close(*arrays(box(0.5)))
  with pytest.raises(ValueError, match="not finite"):
    winding.contains(solid, np.array([[0, 0, np.nan]]))


@pytest.mark.parametrize("seed", range(3))
def test_winding_numbers_agree_with_the_exact_sum_in_any_pose(seed):
  parts = [trimesh.creation.torus(0.3, 0.12), box(0.35), box((0.9, 0.05, 0.1))]
  vertices, faces = solids.close(*arrays(*parts))
  turn = Rotation.random(rng=seed).as_matrix()
  vertices = np.ascontiguousarray(vertices @ turn.T)
  want = igl.winding_number(vertices, faces, POINTS)
  got = winding.winding_number(Solid(vertices, faces), POINTS)
  np.testing.assert_allclose(got, want, atol=0.02)


def test_points_in_line_with_edges_and_corners_are_labelled():
  solid = solids.close(*arrays(box(0.5), box(0.25)))
  axis = np.linspace(-0.5, 0.5, 17)
  lattice = np.stack(np.meshgrid(axis, axis, axis), -1).reshape(-1, 3)
  off = np.abs(np.abs(lattice) - 0.25).min(1) > 1e-9
  inside = winding.contains(solid, lattice)
  np.testing.assert_array_equal(inside[off], in_box(lattice, 0.5)[off])


def test_many_long_thin_parts_are_labelled_as_one_by_one():
  """Rods across the cube, each one easy on its own."""
  rods = [
    box((1.2, 0.02, 0.02)).apply_transform(
      trimesh.transformations.random_rotation_matrix(np.random.default_rng(i).random(3))
    )
    for i in range(60)
  ]
  points = POINTS[:5000]
  want = np.zeros(len(points), bool)
  for rod in rods:
    want |= winding.contains(solids.close(*arrays(rod)), points)
  solid = solids.close(*arrays(*rods))
  np.testing.assert_array_equal(winding.contains(solid, points), want)
