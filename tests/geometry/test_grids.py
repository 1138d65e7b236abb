import numpy as np
import trimesh

from occnet_jax.geometry import grids


def test_the_corners_of_the_grid_are_the_corners_of_the_padded_cube():
  corners = np.array([[0, 0, 0], [128, 128, 128], [64, 0, 128]])
  expected = [[-0.55, -0.55, -0.55], [0.55, 0.55, 0.55], [0.0, -0.55, 0.55]]
  np.testing.assert_allclose(grids.to_coordinates(corners, 128), expected, atol=1e-15)


def test_padding_zero_gives_the_unit_cube():
  points = grids.to_coordinates(np.array([[0, 1, 2]]), 2, padding=0.0)
  np.testing.assert_array_equal(points, [[-0.5, 0.0, 0.5]])


def test_indices_survive_the_way_to_coordinates_and_back():
  indices = grids.grid_indices(13)
  points = grids.to_coordinates(indices, 12, padding=0.3)
  np.testing.assert_array_equal(grids.to_indices(points, 12, padding=0.3), indices)


def test_a_point_outside_the_cube_gets_an_index_outside_the_grid():
  indices = grids.to_indices(np.array([[-0.6, 0.0, 0.6]]), 128)
  assert indices[0, 0] < 0 and indices[0, 1] == 64 and indices[0, 2] > 128


def test_grid_indices_are_ordered_as_a_raveled_array_indexed_x_y_z():
  volume = np.arange(4**3).reshape(4, 4, 4)
  indices = grids.grid_indices(4)
  np.testing.assert_array_equal(volume[tuple(indices.T)], np.arange(64))
  np.testing.assert_array_equal(grids.to_keys(indices, 4), np.arange(64))


def test_a_stride_spreads_the_points():
  np.testing.assert_array_equal(grids.grid_indices(3, 4), 4 * grids.grid_indices(3))


def test_keys_do_not_collide_on_grids_whose_points_exceed_32_bits():
  side = 2**20 + 1
  indices = np.random.default_rng(0).integers(0, side, size=(1000, 3))
  indices = np.concatenate([indices, [[side - 1] * 3, [0, 0, 0]]])
  keys = grids.to_keys(indices, side)
  assert keys.min() == 0 and keys.max() == side**3 - 1
  np.testing.assert_array_equal(grids.from_keys(keys, side), indices)


def test_the_surface_of_cells_is_closed_outward_and_has_their_volume_and_area():
  occupied = np.zeros((4, 4, 4), bool)
  occupied[1:3, 0:4, 2] = True
  occupied[0, 0, 0] = True
  mesh = trimesh.Trimesh(*grids.cube_surface(occupied), process=False)
  assert mesh.is_watertight
  np.testing.assert_allclose(mesh.volume, occupied.sum() / 4**3)
  np.testing.assert_allclose(mesh.area, (28 + 6) / 4**2)
  np.testing.assert_allclose(mesh.bounds, [[-0.5, -0.5, -0.5], [0.25, 0.5, 0.25]])


def test_no_cell_has_no_surface():
  vertices, faces = grids.cube_surface(np.zeros((3, 3, 3), bool))
  assert vertices.shape == (0, 3) and faces.shape == (0, 3)
