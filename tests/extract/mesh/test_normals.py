import jax.numpy as jnp
import numpy as np
import trimesh

from occnet_jax.extract.field import as_field
from occnet_jax.extract.mesh.normals import face_normals_at_vertices, field_normals

RNG = np.random.default_rng(0)


def sphere():
  mesh = trimesh.creation.icosphere(3, 0.3)
  return np.array(mesh.vertices), np.array(mesh.faces, np.int64)


def test_the_normals_of_a_ball_point_away_from_its_centre():
  vertices, faces = sphere()
  field = as_field(lambda p: 5 * (0.3 - jnp.sqrt((p**2).sum(-1))))
  np.testing.assert_allclose(
    field_normals(field, vertices, faces), vertices / 0.3, atol=1e-6
  )


def test_a_numpy_field_gives_the_same_normals():
  vertices, faces = sphere()
  field = as_field(lambda p: 0.3 - np.linalg.norm(p, axis=1))
  np.testing.assert_allclose(
    field_normals(field, vertices, faces), vertices / 0.3, atol=1e-6
  )


def test_normals_do_not_depend_on_the_mesh_where_the_field_has_a_gradient():
  vertices, faces = sphere()
  field = as_field(lambda p: -p[:, 0] - p[:, 1])
  normals = field_normals(field, vertices, faces)
  np.testing.assert_allclose(normals, np.tile([[0.5**0.5, 0.5**0.5, 0]], (642, 1)))


def test_where_the_gradient_vanishes_the_faces_give_the_normal():
  vertices, faces = sphere()
  # Flat in one half, as saturated occupancies are, and a plane in the other.
  field = as_field(lambda p: jnp.where(p[:, 0] > 0, 1.0, -p[:, 2]))
  normals = field_normals(field, vertices, faces)
  flat = vertices[:, 0] > 0
  np.testing.assert_allclose(normals[flat], vertices[flat] / 0.3, atol=0.02)
  np.testing.assert_allclose(normals[~flat], np.tile([[0.0, 0, 1]], ((~flat).sum(), 1)))
  np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1, rtol=1e-6)


def test_tiny_gradients_keep_their_direction():
  vertices, faces = sphere()
  field = as_field(lambda p: -1e-12 * p[:, 2])
  np.testing.assert_allclose(
    field_normals(field, vertices, faces), np.tile([[0.0, 0, 1]], (642, 1))
  )


def test_larger_faces_weigh_more_at_a_vertex():
  # A unit square in the plane z = 0, and a triangle of area 1/8 in the plane y = 0.
  vertices = np.array([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 0.25]])
  faces = np.array([[0, 1, 2], [0, 2, 3], [0, 4, 1]])
  expected = np.array([0, 0.125, 1]) / np.hypot(0.125, 1)
  np.testing.assert_allclose(
    face_normals_at_vertices(vertices, faces)[0], expected, rtol=1e-12
  )


def test_a_vertex_without_area_around_it_has_a_unit_normal_all_the_same():
  vertices = RNG.normal(size=(4, 3))
  normals = face_normals_at_vertices(vertices, np.array([[0, 0, 1]]))
  np.testing.assert_array_equal(normals, np.tile([[0.0, 0, 1]], (4, 1)))
