"""Voxels around soups against closed forms."""

import numpy as np
import trimesh

from data_prep.watertight import voxel_remesh, winding
from occnet_jax.geometry.solids import Solid

POINTS = np.random.default_rng(0).uniform(-0.55, 0.55, (10_000, 3))


def _arrays(mesh):
  return np.array(mesh.vertices), np.array(mesh.faces, np.int64)


def _enclose(vertices, faces, **options):
  solid = Solid(*voxel_remesh.remesh(vertices, faces, **options))
  mesh = trimesh.Trimesh(*solid, process=False)
  assert mesh.is_watertight and mesh.is_winding_consistent
  return solid, mesh


def test_a_ball_is_found_to_a_part_of_a_cell():
  ball = trimesh.creation.icosphere(4, radius=0.45)
  solid, mesh = _enclose(*_arrays(ball), resolution=32, thickness=0.0)
  np.testing.assert_allclose(mesh.volume, ball.volume, rtol=0.01)
  radius = np.linalg.norm(solid.vertices, axis=1)
  np.testing.assert_allclose(radius, 0.45, atol=0.1 / 32)


def test_holes_everywhere_are_bridged():
  ball = trimesh.creation.icosphere(4, radius=0.45)
  vertices, faces = _arrays(ball)
  kept = np.random.default_rng(0).random(len(faces)) > 0.2
  solid, mesh = _enclose(vertices, faces[kept], resolution=32, thickness=0.0)
  assert mesh.body_count == 1
  radius = np.linalg.norm(POINTS, axis=1)
  clear = np.abs(radius - 0.45) > 1 / 32
  want = (radius < 0.45)[clear]
  np.testing.assert_array_equal(winding.contains(solid, POINTS[clear]), want)


def test_a_sheet_is_thickened_and_a_solid_is_not():
  box = trimesh.creation.box((0.3, 0.3, 0.3)).apply_translation((0, 0, -0.3))
  sheet = np.array([[-0.4, -0.4, 0.3], [0.4, -0.4, 0.3], [0.4, 0.4, 0.3]])
  vertices, faces = _arrays(box)
  vertices = np.concatenate([vertices, sheet])
  faces = np.concatenate([faces, [[8, 9, 10]]])
  _, bare = _enclose(vertices, faces, resolution=32, thickness=0.0)
  np.testing.assert_allclose(bare.volume, 0.3**3, rtol=0.05)
  np.testing.assert_allclose(bare.bounds[1, 2], -0.15, atol=0.01)
  _, both = _enclose(vertices, faces, resolution=32, thickness=0.05)
  above = both.split(only_watertight=False)
  heights = sorted(part.bounds[:, 2].tolist() for part in above)
  np.testing.assert_allclose(heights, [[-0.45, -0.15], [0.25, 0.35]], atol=0.01)


def test_where_nothing_is_inside_nothing_is_returned():
  sheet = np.array([[-0.4, -0.4, 0.0], [0.4, -0.4, 0.0], [0.4, 0.4, 0.0]])
  for faces in ([[0, 1, 2]], [[2, 1, 0]]):
    found = voxel_remesh.remesh(sheet, np.array(faces), resolution=32, thickness=0.0)
    assert len(found[1]) == 0
  mesh = Solid(sheet, np.array([[0, 1, 2]]))
  assert voxel_remesh.sheet_share(mesh) == 1
  ball = Solid(*_arrays(trimesh.creation.icosphere(2, radius=0.4)))
  assert voxel_remesh.sheet_share(ball) == 0
