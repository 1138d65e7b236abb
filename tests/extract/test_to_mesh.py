"""One function makes a mesh of every kind of output."""

import numpy as np
import pytest

from occnet_jax.extract.pipeline import NoSurface
from occnet_jax.extract.to_mesh import to_mesh
from occnet_jax.types import CellTopologies, Field, Grid, Mesh, Method, Points
from tests.helpers.compilations import count_compilations

CORNERS = np.array([[0.0, 0, 0], [0.5, 0, 0], [0, 0.5, 0], [0, 0, 0.5]])
FACES = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])


def make(output, decode):
  return Method(None, None, None, decode, output, None)


def one_cell(variables, latent):
  values = np.full((1, 4, 4, 4), -1.0)
  values[0, 1, 2, 3] = 2.0
  return values


def ball(variables, latent, points):
  return 0.4 - (points**2).sum(-1) ** 0.5


def test_a_field_has_its_surface_at_its_level_or_the_one_that_is_given():
  options = {"resolution_0": 8, "upsampling_steps": 2}
  for level, radius in ((None, 0.3), (0.2, 0.2)):
    mesh = to_mesh(make(Field(0.1), ball), {}, np.zeros(1), level=level, **options)
    np.testing.assert_allclose(np.linalg.norm(mesh.vertices, axis=1), radius, atol=1e-3)


def test_a_grid_becomes_the_cells_at_its_level_or_above():
  for level in (1.5, 2.0):
    mesh = to_mesh(make(Grid(level), one_cell), {}, None)
    np.testing.assert_allclose(mesh.volume, 1 / 64)
    np.testing.assert_allclose(mesh.bounds[0], np.array([1, 2, 3]) / 4 - 0.5)


def test_a_grid_without_a_cell_inside_is_an_error_or_empty():
  grid = make(Grid(1.5), one_cell)
  with pytest.raises(NoSurface, match="all 64 cells are below the level 3"):
    to_mesh(grid, {}, None, level=3.0)
  assert not len(to_mesh(grid, {}, None, level=3.0, on_empty="empty").faces)


def test_points_and_meshes_are_taken_as_they_are():
  points = to_mesh(make(Points(), lambda v, z: CORNERS[None]), {}, None)
  np.testing.assert_array_equal(points.vertices, CORNERS)
  assert not len(points.faces)
  mesh = to_mesh(make(Mesh(), lambda v, z: (CORNERS[None], FACES)), {}, None)
  np.testing.assert_array_equal(mesh.vertices, CORNERS)
  np.testing.assert_allclose(mesh.volume, 0.5**3 / 6)
  no_faces = to_mesh(make(Mesh(), lambda v, z: (CORNERS[None], FACES[:0])), {}, None)
  assert not len(no_faces.faces)


def test_a_closed_mesh_is_turned_outward_and_patches_are_left():
  inward = FACES[:, ::-1]
  turned = to_mesh(make(Mesh(), lambda v, z: (CORNERS[None], inward)), {}, None)
  np.testing.assert_allclose(turned.volume, 0.5**3 / 6)
  patches = make(Mesh(closed=False), lambda v, z: (CORNERS[None], inward))
  mesh = to_mesh(patches, {}, None)
  np.testing.assert_array_equal(mesh.faces, inward)
  assert mesh.metadata["volume"] is False and "volume" not in turned.metadata


CUBE = np.ones((1, 3, 3, 3), np.float32)


@pytest.mark.parametrize(
  ("output", "decode"),
  [
    (Grid(0.5), lambda v, z: 2 * z * CUBE - 1),
    (Points(), lambda v, z: 2 * z * CORNERS[None] + 1),
    (Mesh(), lambda v, z: (2 * z * CORNERS[None] + 1, FACES + z.astype(int))),
    (
      CellTopologies(1.0),
      lambda v, z: (2 * z * CUBE - 1, z * np.tile(CUBE[:, None], (3, 1, 1, 1))),
    ),
  ],
)
def test_a_network_without_points_is_one_program(output, decode):
  """Op by op, each of hundreds of operations would be compiled, and none fused."""
  latent = np.float32(0)
  with count_compilations() as compiled:
    to_mesh(make(output, decode), {}, latent, on_empty="empty")
  assert len(compiled) == 1
