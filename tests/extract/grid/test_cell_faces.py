import numpy as np
import pytest
import trimesh

from occnet_jax.extract.grid.cell_faces import cell_faces
from tests.helpers import ROOT


def test_one_cell_is_its_cube():
  inside = np.zeros((4, 4, 4), bool)
  inside[1, 2, 3] = True
  vertices, faces = cell_faces(inside)
  mesh = trimesh.Trimesh(vertices, faces, process=False)
  assert len(vertices) == 8 and len(faces) == 12 and mesh.is_watertight
  np.testing.assert_allclose(mesh.volume, 1 / 64)
  np.testing.assert_allclose(mesh.bounds, [[-0.25, 0, 0.25], [0, 0.25, 0.5]])


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_the_volume_is_that_of_the_cells_and_no_face_lies_within(share):
  inside = np.random.default_rng(0).random((6, 6, 6)) < share
  vertices, faces = cell_faces(inside)
  corners = vertices[faces]
  volume = np.einsum("fk,fk->f", corners[:, 0], np.cross(corners[:, 1], corners[:, 2]))
  np.testing.assert_allclose(volume.sum() / 6, inside.sum() / 6**3)
  padded = np.pad(inside, 1)
  borders = sum(np.abs(np.diff(padded.astype(int), axis=a)).sum() for a in range(3))
  assert len(faces) == 2 * borders
  assert len(np.unique(vertices, axis=0)) == len(vertices)


def test_no_cell_is_no_face():
  vertices, faces = cell_faces(np.zeros((3, 3, 3), bool))
  assert vertices.shape == (0, 3) and faces.shape == (0, 3)


def test_the_mesh_of_the_reference_has_the_same_surface():
  with np.load(ROOT / "tests" / "parity" / "r2n2_voxel_mesh.npz") as file:
    recorded = dict(file)
  for size in ("", "_32"):
    inside = recorded[f"in/occupied{size}"]
    theirs = recorded[f"out/vertices{size}"][recorded[f"out/faces{size}"]]
    vertices, faces = cell_faces(inside)
    assert len(faces) == len(theirs)
    assert quads(vertices[faces], len(inside)) == quads(theirs, len(inside))


def quads(triangles, side):
  """Centres and outward normals of all squares, in half cells."""
  normals = np.cross(
    triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0]
  )
  normals = np.rint(normals / np.linalg.norm(normals, axis=1, keepdims=True))
  # Both halves of a square have their longest edge, its diagonal, in common.
  edges = np.linalg.norm(triangles - np.roll(triangles, -1, axis=1), axis=2)
  longest = edges.argmax(1)
  rows = np.arange(len(triangles))
  ends = triangles[rows, longest] + triangles[rows, (longest + 1) % 3]
  return sorted(
    map(tuple, np.concatenate([np.rint(ends * side), normals], axis=1).tolist())
  )
