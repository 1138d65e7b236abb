import numpy as np
import pytest
import trimesh

from occnet_jax.extract.mesh.checks import count_open_edges, signed_volume
from occnet_jax.extract.mesh.simplify import simplify


@pytest.fixture(scope="module")
def sphere():
  mesh = trimesh.creation.icosphere(subdivisions=4, radius=0.3)
  return np.array(mesh.vertices), np.array(mesh.faces)


def test_a_sphere_of_few_faces_is_closed_and_keeps_its_volume(sphere):
  vertices, faces = simplify(*sphere, 500)
  assert len(faces) == 500 and count_open_edges(faces) == 0
  np.testing.assert_allclose(signed_volume(vertices, faces), 0.113, rtol=0.02)
  assert len(np.unique(faces)) == len(vertices)  # no vertex is left over


def test_the_fewest_faces_are_a_tetrahedron(sphere):
  vertices, faces = simplify(*sphere, 4)
  assert len(faces) == 4 and count_open_edges(faces) == 0
  assert signed_volume(vertices, faces) > 0


def test_no_body_vanishes(sphere):
  vertices, faces = sphere
  both = np.concatenate([vertices, vertices + 2])
  _, few = simplify(both, np.concatenate([faces, faces + len(vertices)]), 5)
  assert len(few) == 8 and count_open_edges(few) == 0


@pytest.mark.parametrize("face_count", [5120, 10_000])
def test_a_mesh_with_no_more_faces_than_wanted_is_left_alone(sphere, face_count):
  vertices, faces = simplify(*sphere, face_count)
  assert vertices is sphere[0] and faces is sphere[1]


def test_an_empty_mesh_stays_empty():
  vertices, faces = simplify(np.zeros((0, 3)), np.zeros((0, 3), np.int64), 100)
  assert len(vertices) == 0 and len(faces) == 0


def test_too_few_faces_and_broken_vertices_are_refused(sphere):
  vertices, faces = sphere
  with pytest.raises(ValueError, match="simplify to 3 faces; want at least 4"):
    simplify(vertices, faces, 3)
  broken = vertices.copy()
  broken[7] = np.nan
  with pytest.raises(ValueError, match="1 of 2562 vertices are not finite"):
    simplify(broken, faces, 100)
