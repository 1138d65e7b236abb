"""Volumes on their own grid: truths are ellipsoids, boxes and balls in closed form."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from occnet_jax import extract_mesh
from occnet_jax.extract.field_adapters import SolidSource
from occnet_jax.extract.mesh.checks import count_open_edges
from occnet_jax.geometry.volumes import Volume

CENTRE, RADII = np.array([12.0, -40.0, 7.0]), np.array([9.0, 6.0, 14.0])


def ellipsoid(shape=(60, 90, 45), spacing=(0.7, 0.37, 1.1), mirror=1.0):
  """A volume of 1 - |x|^2 of the ellipsoid's own metric, on a rotated grid."""
  turn = Rotation.from_euler("xyz", [20, -35, 50], degrees=True).as_matrix()
  affine = np.eye(4)
  affine[:3, :3] = turn @ np.diag([mirror, 1, 1]) * np.array(spacing)
  affine[:3, 3] = CENTRE - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
  indices = np.moveaxis(np.indices(shape), 0, -1)
  points = indices @ affine[:3, :3].T + affine[:3, 3]
  return Volume(1 - (((points - CENTRE) / RADII) ** 2).sum(-1), affine)


def is_closed(mesh):
  return not count_open_edges(np.asarray(mesh.faces)) and mesh.is_volume


@pytest.mark.parametrize("mirror", [1.0, -1.0])
def test_an_ellipsoid_on_a_rotated_grid_is_where_it_is_in_millimetres(mirror):
  mesh = extract_mesh(ellipsoid(mirror=mirror))
  assert is_closed(mesh)
  np.testing.assert_allclose(mesh.volume, 4 / 3 * np.pi * RADII.prod(), rtol=0.01)
  np.testing.assert_allclose(mesh.center_mass, CENTRE, atol=0.02)
  np.testing.assert_allclose(np.abs(mesh.vertices - CENTRE).max(0), RADII, atol=0.05)
  radii = np.linalg.norm((mesh.vertices - CENTRE) / RADII, axis=1)
  np.testing.assert_allclose(radii, 1, atol=0.01)


def test_normals_of_a_volume_are_those_of_the_ellipsoid_also_on_uneven_voxels():
  mesh = extract_mesh(ellipsoid())
  truth = (mesh.vertices - CENTRE) / RADII**2
  truth /= np.linalg.norm(truth, axis=1, keepdims=True)
  assert (mesh.vertex_normals * truth).sum(1).min() > 0.995


def test_a_linear_volume_is_cut_exactly_and_closed_at_its_borders():
  values = np.broadcast_to(np.arange(5.0)[:, None, None], (5, 4, 3))
  mesh = extract_mesh(values, spacing=(2, 3, 0.5), origin=(10, 20, 30), level=1.25)
  assert is_closed(mesh)
  # Voxels span from half a spacing before the first centre to as much behind the last.
  np.testing.assert_allclose(mesh.bounds[0], [10 + 2 * 1.25, 20 - 1.5, 30 - 0.25])
  np.testing.assert_allclose(mesh.bounds[1], [10 + 2 * 4.5, 20 + 3 * 3.5, 31.25])
  # Marching cubes cuts edges and corners of the box by half a voxel.
  assert 0.7 < mesh.volume / np.ptp(mesh.bounds, axis=0).prod() < 1
  front = mesh.vertices[:, 0] == mesh.bounds[1, 0]
  np.testing.assert_allclose(mesh.vertex_normals[front], [[1, 0, 0]] * front.sum())


@pytest.mark.parametrize("shape", [(1, 1, 1), (7, 1, 3), (2, 9, 4)])
def test_a_box_of_any_shape_that_is_full_is_closed(shape):
  mesh = extract_mesh(np.ones(shape, bool), spacing=1.0)
  assert is_closed(mesh) and mesh.volume > 0
  np.testing.assert_allclose(mesh.bounds, [[-0.5] * 3, np.array(shape) - 0.5])


def test_random_volumes_are_closed_and_separate_their_voxels():
  rng = np.random.default_rng(0)
  values = rng.integers(0, 3, (9, 5, 7)).astype(np.int16)  # many exactly at the level
  mesh = extract_mesh(values, spacing=(1, 2, 3), level=1)
  assert not count_open_edges(np.asarray(mesh.faces))
  centres = np.argwhere(np.ones(values.shape)) * [1, 2, 3]

  inside = SolidSource(mesh)(centres.astype(float)) > 0
  np.testing.assert_array_equal(inside, values.ravel() > 1)


def test_booleans_are_0_and_1_with_the_level_one_half_on_every_way():
  occupied = np.zeros((8, 8, 8), bool)
  occupied[2:6, 2:6, 3:5] = True
  plane = {"resolution_0": 16, "upsampling_steps": 2}
  for level in (None, 0.5):
    for field in (occupied, occupied.astype(float)):
      if level is None and field.dtype != bool:
        continue
      cube = extract_mesh(field, level=level, **plane)
      own = extract_mesh(field, level=level, spacing=1 / 8, origin=-0.5 + 1 / 16)
      for mesh in (cube, own):  # half-way between voxels in and out: their faces
        size = np.array([[-0.25, -0.25, -0.125], [0.25, 0.25, 0.125]])
        np.testing.assert_allclose(mesh.bounds, size, atol=1e-3)


def test_a_box_without_a_spacing_has_its_longest_side_in_the_unit_cube():
  mesh = extract_mesh(np.ones((8, 4, 2), bool), resolution_0=16)
  np.testing.assert_allclose(mesh.extents, [1, 0.5, 0.25], atol=0.01)
  np.testing.assert_allclose(mesh.bounds.sum(0), 0, atol=1e-3)


def test_nan_is_outside():
  values = np.ones((4, 4, 4), np.float32)
  values[2:] = np.nan
  mesh = extract_mesh(values, spacing=1.0, level=0.5)
  assert is_closed(mesh) and np.isfinite(mesh.vertex_normals).all()
  np.testing.assert_allclose(mesh.bounds[:, 0], [-0.5, 1.5])


def test_numbers_of_any_type_and_byte_order_give_one_mesh():
  ball = 9 - np.linalg.norm(np.indices((16, 17, 18)) - 8.2, axis=0).round()
  meshes = [
    extract_mesh(ball.astype(kind), spacing=2.0, level=3.5)
    for kind in ("<i2", ">i2", ">f4", ">f8", "i1", ">i8")
  ]
  for mesh in meshes[1:]:
    np.testing.assert_array_equal(mesh.vertices, meshes[0].vertices)
    np.testing.assert_allclose(mesh.vertex_normals, meshes[0].vertex_normals)


def test_small_parts_smoothing_and_simplification_stand_beside_it():
  volume = ellipsoid()
  volume.values[1, 1, 1] = 5.0  # a crumb
  assert extract_mesh(volume).body_count == 2
  mesh = extract_mesh(volume, least_part=0.01, smooth_steps=5, simplify_faces=500)
  assert mesh.body_count == 1 and len(mesh.faces) == 500 and is_closed(mesh)
  np.testing.assert_allclose(mesh.volume, 4 / 3 * np.pi * RADII.prod(), rtol=0.02)


@pytest.mark.parametrize(
  ("field", "settings", "message"),
  [
    (np.zeros((4, 4)), {"spacing": 1.0}, "want an array"),
    (np.zeros((2, 4, 4, 3)), {"spacing": 1.0}, "want an array"),
    (lambda p: p[:, 0], {"origin": 0.0}, "want an array"),
    (np.zeros((4, 4, 4)), {"spacing": 0.0}, "above 0"),
    (np.zeros((4, 4, 4)), {"spacing": (1.0, 2.0)}, "three of them"),
    (np.zeros((4, 4, 4)), {"origin": np.nan}, "finite"),
    (np.zeros((4, 4, 4)), {"spacing": 1.0, "level": 1.0}, "lie between 0 and 0"),
    (np.zeros((4, 4, 4)), {"spacing": 1.0, "level": -2e6}, "rescale"),
    (np.full((4, 4, 4), np.inf), {"spacing": 1.0}, "64 of 64 voxels are infinite"),
    (np.zeros((4, 4, 4)), {"spacing": 1.0, "method": "dual"}, "method=dual"),
    (np.zeros((4, 4, 4)), {"spacing": 1.0, "refine_steps": 3}, "refine_steps=3"),
    (ellipsoid(), {"spacing": 1.0}, "volume.values"),
    (ellipsoid(), {"max_memory": 1000}, "max_memory"),
  ],
)
def test_what_makes_no_volume_is_a_sentence(field, settings, message):
  with pytest.raises(ValueError, match=message):
    extract_mesh(field, **settings)
