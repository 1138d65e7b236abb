import itertools

import numpy as np
import pytest

from occnet_jax.extract.grid.active_cells import ALONG, CHILDREN, find_crossings
from occnet_jax.extract.grid.marching_cubes import (
  EDGES,
  cube_table,
  linear_params,
  place_vertices,
  triangulate,
)
from occnet_jax.extract.grid.mise import CORNERS, STENCIL, sample_surface
from occnet_jax.extract.mesh.checks import count_open_edges, signed_volume
from occnet_jax.geometry.grids import grid_indices, to_coordinates
from tests.helpers import dense_cubes

TETRAHEDRON = np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [0, 3, 2]])


def array_of(function, side=33):
  values = function(to_coordinates(grid_indices(side), side - 1))
  return values.reshape((side,) * 3).astype(np.float32)


def surface_of(array, resolution_0, steps, level=0.0):
  samples = sample_surface(lambda i: array[tuple(i.T)], resolution_0, steps, level)
  assert samples.resolution + 1 == len(array)
  crossings = find_crossings(samples, level)
  vertices = place_vertices(crossings, linear_params(crossings, level))
  return to_coordinates(vertices, len(array) - 1), triangulate(crossings)


def ball(radius, *centre):
  return lambda p: radius - np.linalg.norm(p - np.array(centre), axis=1)


@pytest.mark.parametrize("resolution_0, steps", [(8, 2), (4, 3), (16, 1), (32, 0)])
@pytest.mark.parametrize(
  "function",
  [
    ball(0.3, 0.05, 0.1, 0.0),
    ball(0.4, 0.35, 0.3, 0.1),  # leaves the cube by two faces
    lambda p: -ball(0.3, 0.05, 0.1, 0.0)(p),  # the cube, hollow
    lambda p: np.sin(12 * p).prod(1) + 0.01,
    lambda p: 0.2 - np.abs(p[:, 0] - 0.31),  # two of its faces, four of the cube's
    lambda p: np.where(np.abs(p).max(1) < 0.3, 1.0, -1.0),
  ],
)
def test_the_sparse_surface_is_the_dense_one(function, resolution_0, steps):
  array = array_of(function)
  found = surface_of(array, resolution_0, steps)
  assert len(found[1]) > 100
  dense_cubes.same_surface(found, dense_cubes.marching_cubes(array, 0.0), digits=6)


@pytest.mark.parametrize("resolution_0, steps", [(12, 0), (6, 1), (3, 2)])
def test_the_sparse_surface_of_noise_is_the_dense_one(resolution_0, steps):
  rng = np.random.default_rng(resolution_0)
  for array in (rng.normal(size=(13,) * 3), rng.integers(-1, 2, size=(13,) * 3)):
    found = surface_of(array.astype(np.float32), resolution_0, steps, 0.25)
    dense_cubes.same_surface(found, dense_cubes.marching_cubes(array, 0.25))
    assert count_open_edges(found[1]) == 0


def test_what_is_inside_everywhere_is_the_cube_and_outside_everywhere_is_nothing():
  vertices, faces = surface_of(np.full((17,) * 3, 5.0, np.float32), 4, 2)
  assert count_open_edges(faces) == 0
  np.testing.assert_allclose(signed_volume(vertices, faces), 1.1**3, rtol=1e-4)
  vertices, faces = surface_of(np.full((17,) * 3, -5.0, np.float32), 4, 2)
  assert vertices.shape == (0, 3) and faces.shape == (0, 3)


def test_thin_parts_are_followed_across_faces_and_edges_of_coarse_voxels():
  # Voxels of size 4. The corner at the origin wakes [0, 4]^3, whose split finds bars
  # that go on into voxels all of whose own corners are outside.
  across_a_face = np.full((9, 9, 9), -1.0, np.float32)
  across_a_face[2:7, 1:4, 1:4] = 1
  along_an_edge = np.full((9, 9, 9), -1.0, np.float32)
  along_an_edge[1:4, 3:6, 3:6] = 1
  for array in (across_a_face, along_an_edge):
    array[0, 0, 0] = 1
    dense_cubes.same_surface(
      surface_of(array, 2, 2), dense_cubes.marching_cubes(array, 0.0)
    )


def test_the_table_has_every_crossed_edge_in_one_component():
  table, corners = cube_table(), grid_indices(2)
  for config in range(256):
    inside = (config >> np.arange(8)) & 1
    pairs = [
      (a, b)
      for a in range(8)
      for b in range(a)
      if abs(corners[a] - corners[b]).sum() == 1
    ]
    crossed = sum(inside[a] != inside[b] for a, b in pairs)
    assert (table.component[config] >= 0).sum() == crossed
    assert table.component_count[config] == table.component[config].max() + 1
    assert (
      table.triangle_count[config] == crossed - 2 * table.component_count[config]
    )  # as polygons


def test_corners_and_edges_are_numbered_as_the_drawing_of_the_cell_says():
  drawn_corners = {
    0: (0, 0, 0), 1: (0, 0, 1), 2: (0, 1, 0), 3: (0, 1, 1),
    4: (1, 0, 0), 5: (1, 0, 1), 6: (1, 1, 0), 7: (1, 1, 1),
  }  # fmt: skip
  drawn_edges = [
    (0, 4), (1, 5), (2, 6), (3, 7),  # along x
    (0, 2), (1, 3), (4, 6), (5, 7),  # along y
    (0, 1), (2, 3), (4, 5), (6, 7),  # along z
  ]  # fmt: skip
  assert {
    k: tuple(corner) for k, corner in enumerate(CORNERS.tolist())
  } == drawn_corners
  assert [(corner, corner + ALONG[axis]) for corner, axis in EDGES] == drawn_edges
  for lower, (corner, axis) in zip(drawn_edges, EDGES, strict=True):
    step = np.subtract(drawn_corners[lower[1]], drawn_corners[lower[0]])
    assert lower[0] == corner and step.tolist() == np.eye(3)[axis].tolist()


def test_children_have_their_corners_among_the_27_points_of_a_voxel():
  for child, corner in itertools.product(range(8), range(8)):
    point = STENCIL[CHILDREN[child, corner]]
    assert point.tolist() == (CORNERS[child] + CORNERS[corner]).tolist()


def test_a_plane_lies_where_it_should_to_the_last_digit():
  normal, offset = np.array([1.0, 0.25, -0.5]), 0.07
  vertices, faces = surface_of(array_of(lambda p: offset - p @ normal), 8, 2)
  inner = np.abs(vertices).max(1) < 0.549  # the rest closes the cube's faces
  assert inner.sum() > 1000 and count_open_edges(faces) == 0
  np.testing.assert_allclose(vertices[inner] @ normal, offset, atol=1e-6)


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
