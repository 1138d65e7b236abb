import numpy as np
import pytest
import trimesh

from occnet_jax.extract.field import as_field
from occnet_jax.extract.pipeline import extract_mesh
from occnet_jax.geometry.grids import cube_surface


def centres(side):
  return (np.indices((side,) * 3).reshape(3, -1).T + 0.5) / side - 0.5


def test_a_grid_is_its_values_at_the_centres_and_linear_between():
  points = centres(8)
  weights = np.array([2.0, -3.0, 0.5])
  field = as_field((points @ weights).reshape(8, 8, 8))
  np.testing.assert_allclose(field.values(points), points @ weights, atol=1e-6)
  inner = 0.8 * points
  np.testing.assert_allclose(field.values(inner), inner @ weights, atol=1e-6)
  np.testing.assert_allclose(field.values(np.full((1, 3), 0.6)), -5.5 * 7 / 16)


def test_cells_become_a_solid_of_about_their_volume():
  occupied = (np.linalg.norm(centres(16), axis=1) < 0.35).reshape((16,) * 3)
  mesh = extract_mesh(occupied, resolution_0=16, upsampling_steps=2)
  assert mesh.is_watertight
  np.testing.assert_allclose(mesh.volume, occupied.mean(), rtol=0.05)


def test_cells_at_the_edge_of_the_cube_are_closed():
  mesh = extract_mesh(np.ones((4, 4, 4), bool), resolution_0=16)
  assert mesh.is_watertight and 0.9 < mesh.volume < 1.0


def test_a_density_has_its_level():
  density = np.exp(-8 * (centres(32) ** 2).sum(1)).reshape((32,) * 3)
  mesh = extract_mesh(density, level=0.5, resolution_0=16, upsampling_steps=2)
  radius = np.sqrt(np.log(2) / 8)
  lengths = np.linalg.norm(mesh.vertices, axis=1)
  np.testing.assert_allclose(lengths, radius, atol=2e-3)


def test_a_solid_is_its_signed_distance():
  ball = trimesh.creation.icosphere(4, radius=0.3)
  points = np.random.default_rng(0).uniform(-0.5, 0.5, size=(200, 3))
  expected = 0.3 - np.linalg.norm(points, axis=1)
  np.testing.assert_allclose(as_field(ball).values(points), expected, atol=1e-3)
  mesh = extract_mesh(ball, resolution_0=8, upsampling_steps=2)
  np.testing.assert_allclose(mesh.volume, ball.volume, rtol=0.01)


def test_a_solid_of_cells_comes_back_with_its_volume():
  occupied = np.zeros((6, 6, 6), bool)
  occupied[1:3, 1:5, 1:5] = occupied[3:5, 2:4, 1:5] = True
  solid = trimesh.Trimesh(*cube_surface(occupied), process=False)
  mesh = extract_mesh(solid, resolution_0=16, upsampling_steps=2)
  np.testing.assert_allclose(mesh.volume, occupied.mean(), rtol=0.02)


@pytest.mark.parametrize(
  "source, message",
  [
    (np.zeros((4, 4)), r"shape \(4, 4\); want \(x, y, z\)"),
    (np.zeros((4, 0, 4)), r"shape \(4, 0, 4\)"),
    (np.full((2, 2, 2), np.nan), "8 of 8 cells are not finite"),
    (trimesh.Trimesh(), "without faces"),
  ],
)
def test_what_is_not_a_source_is_refused(source, message):
  with pytest.raises(ValueError, match=message):
    as_field(source)
