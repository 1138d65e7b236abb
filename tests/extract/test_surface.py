import numpy as np
import pytest

from occnet_jax.extract import surface
from occnet_jax.extract.surface import count_open_edges, marching_cubes, signed_volume
from occnet_jax.geometry.grids import grid_indices, to_coordinates

TETRAHEDRON = np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [0, 3, 2]])


def array_of(function, side=49):
  values = function(to_coordinates(grid_indices(side), side - 1))
  return values.reshape((side,) * 3)


def ball(points, radius=0.3, centre=(0.0, 0.0, 0.0)):
  return radius - np.linalg.norm(points - np.array(centre), axis=1)


@pytest.fixture(params=["mcubes", "igl"])
def library(request, monkeypatch):
  if request.param == "igl":
    monkeypatch.setattr(surface, "mcubes", None)
  elif surface.mcubes is None:
    pytest.skip("PyMCubes has no wheel for this Python (3.13 and later)")


@pytest.mark.usefixtures("library")
class TestMarchingCubes:
  def test_a_ball_has_its_radius_volume_and_place(self):
    centre = np.array([0.05, -0.1, 0.15])
    vertices, faces = marching_cubes(array_of(lambda p: ball(p, 0.3, centre)), 0.0)
    lengths = np.linalg.norm(vertices - centre, axis=1)
    np.testing.assert_allclose(lengths, 0.3, atol=3e-4)
    volume = signed_volume(vertices, faces)
    np.testing.assert_allclose(volume, 4 / 3 * np.pi * 0.3**3, rtol=5e-3)
    assert count_open_edges(faces) == 0

  def test_a_plane_lies_where_it_should_to_the_last_digit(self):
    normal, offset = np.array([1.0, 0.25, -0.5]), 0.07
    vertices, faces = marching_cubes(array_of(lambda p: offset - p @ normal), 0.0)
    inner = np.abs(vertices).max(1) < 0.549  # the rest closes the cube's faces
    assert inner.sum() > 1000 and count_open_edges(faces) == 0
    np.testing.assert_allclose(vertices[inner] @ normal, offset, atol=1e-6)

  def test_the_level_moves_the_surface(self):
    vertices, _ = marching_cubes(array_of(ball), 0.1)
    np.testing.assert_allclose(np.linalg.norm(vertices, axis=1), 0.2, atol=5e-4)

  def test_a_field_that_is_inside_everywhere_gives_the_closed_cube(self):
    vertices, faces = marching_cubes(np.full((9, 9, 9), 5.0), 0.0)
    np.testing.assert_allclose(signed_volume(vertices, faces), 1.1**3, rtol=1e-4)
    assert count_open_edges(faces) == 0

  def test_an_object_that_leaves_the_cube_is_closed_at_the_cubes_faces(self):
    def half_ball(p):
      return ball(p, 0.3, (0.55, 0, 0))

    vertices, faces = marching_cubes(array_of(half_ball), 0.0)
    np.testing.assert_allclose(
      signed_volume(vertices, faces), 2 / 3 * np.pi * 0.3**3, rtol=5e-3
    )
    np.testing.assert_allclose(vertices[:, 0].max(), 0.55, atol=1e-5)
    assert count_open_edges(faces) == 0

  def test_noise_and_values_at_the_level_leave_no_edge_open(self):
    rng = np.random.default_rng(0)
    for values in (rng.normal(size=(12,) * 3), rng.integers(-1, 2, size=(12,) * 3)):
      vertices, faces = marching_cubes(values.astype(float), 0.0)
      assert count_open_edges(faces) == 0
      assert signed_volume(vertices, faces) > 0 and np.isfinite(vertices).all()

  def test_the_level_itself_is_outside(self):
    values = np.zeros((5, 5, 5))
    values[2, 2, 2] = 1
    vertices, faces = marching_cubes(values, 0.0, padding=0.0)
    assert len(faces) == 8  # an octahedron whose corners are the six neighbours
    np.testing.assert_allclose(signed_volume(vertices, faces), 4 / 3 / 4**3, rtol=1e-6)

  def test_a_field_that_is_outside_everywhere_gives_an_empty_mesh(self):
    vertices, faces = marching_cubes(np.full((5, 5, 5), -1.0), 0.0)
    assert vertices.shape == (0, 3) and faces.shape == (0, 3)


def test_both_libraries_give_one_surface(monkeypatch):
  if surface.mcubes is None:
    pytest.skip("PyMCubes has no wheel for this Python (3.13 and later)")
  values = np.random.default_rng(0).normal(size=(10,) * 3)
  vertices, faces = marching_cubes(values, 0.1)
  monkeypatch.setattr(surface, "mcubes", None)
  others, other_faces = marching_cubes(values, 0.1)
  assert len(faces) == len(other_faces)
  np.testing.assert_allclose(
    np.unique(vertices.round(6), axis=0), np.unique(others.round(6), axis=0), atol=2e-6
  )


def test_open_edges_are_counted():
  assert count_open_edges(TETRAHEDRON) == 0
  assert count_open_edges(TETRAHEDRON[:3]) == 3  # a hole
  flipped = TETRAHEDRON.copy()
  flipped[0] = flipped[0, ::-1]
  assert count_open_edges(flipped) == 3  # a triangle turned over
  assert count_open_edges(np.concatenate([TETRAHEDRON, TETRAHEDRON[:1]])) == 3
  assert count_open_edges(np.zeros((0, 3), int)) == 0


def test_the_volume_of_a_tetrahedron_is_signed():
  vertices = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]]) + 7
  np.testing.assert_allclose(signed_volume(vertices, TETRAHEDRON), 1 / 6, rtol=1e-12)
  inverted = TETRAHEDRON[:, ::-1]
  np.testing.assert_allclose(signed_volume(vertices, inverted), -1 / 6, rtol=1e-12)
