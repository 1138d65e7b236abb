import jax.numpy as jnp
import numpy as np
import pytest
import trimesh
from scipy import ndimage

from occnet_jax.extract.grid.active_cells import find_crossings
from occnet_jax.extract.grid.dual_contouring import (
  around_edges,
  dual_contour,
  find_double_joints,
)
from occnet_jax.extract.grid.marching_cubes import (
  cube_table,
  linear_params,
  place_vertices,
)
from occnet_jax.extract.grid.mise import sample_surface
from occnet_jax.extract.mesh.checks import count_open_edges, signed_volume
from occnet_jax.extract.pipeline import extract_mesh


def dual(function, **settings):
  settings = {"resolution_0": 8, "upsampling_steps": 2, **settings}
  return extract_mesh(function, method="dual", **settings)


def box(p):
  return 0.3 - jnp.abs(p).max(-1)


def count_fans(faces):
  """Number of fans of faces around each vertex."""
  corners = np.arange(3 * len(faces)).reshape(-1, 3)
  owner = {}
  parent = np.arange(3 * len(faces))

  def root(i):
    while parent[i] != i:
      i = parent[i]
    return i

  for face, names in zip(faces.tolist(), corners.tolist(), strict=True):
    for i in range(3):
      a, b = face[i], face[(i + 1) % 3]
      for end, name in ((a, names[i]), (b, names[(i + 1) % 3])):
        other = owner.setdefault((min(a, b), max(a, b), end), name)
        parent[root(name)] = root(other)
  roots = np.array([root(i) for i in range(len(parent))])
  return np.bincount(np.unique(np.stack([roots, faces.ravel()], 1), axis=0)[:, 1])


def crossings_of_noise(seed, side=8):
  array = np.random.default_rng(seed).normal(size=(side,) * 3).astype(np.float32)
  samples = sample_surface(lambda i: array[tuple(i.T)], side - 1, 0, 0.0)
  crossings = find_crossings(samples, 0.0)
  return crossings, place_vertices(crossings, linear_params(crossings, 0.0))


@pytest.mark.parametrize("seed", range(12))
def test_noise_gives_a_closed_manifold(seed):
  crossings, points = crossings_of_noise(seed)
  rng = np.random.default_rng(seed)
  normals = rng.normal(size=points.shape)
  normals /= np.linalg.norm(normals, axis=1, keepdims=True)
  vertices, faces = dual_contour(crossings, points, normals)
  assert count_open_edges(faces) == 0 and len(faces) > 500
  assert (count_fans(faces) == 1).all()
  assert vertices.min() >= -1e-4 and vertices.max() <= 7 + 1e-4
  assert signed_volume(*dual_contour(crossings, points, 0 * normals)) > 0


def test_noise_has_double_joints_and_each_is_met_by_two_sides():
  crossings, _ = crossings_of_noise(0)
  pieces = cube_table().component_count[crossings.configs]
  offset = np.cumsum(pieces) - pieces
  quads = around_edges(crossings, crossings.cell_index(), 0, offset)
  joints = find_double_joints(crossings, quads)
  counts = np.bincount(joints[joints >= 0])
  assert len(counts) > 0 and (counts == 2).all()


def test_a_box_keeps_its_edges_and_corners():
  mesh = dual(box)
  assert mesh.is_watertight
  np.testing.assert_allclose(mesh.volume, 0.6**3, rtol=1e-4)
  corners = np.array(np.meshgrid(*[[-0.3, 0.3]] * 3)).reshape(3, -1).T
  gaps = np.linalg.norm(mesh.vertices[:, None] - corners, axis=2).min(0)
  np.testing.assert_allclose(gaps, 0, atol=1e-4)
  cut = extract_mesh(box, method="mise", resolution_0=8, upsampling_steps=2)
  assert abs(cut.volume - 0.6**3) > 20 * abs(mesh.volume - 0.6**3)


def test_a_turned_wedge_keeps_its_edge():
  normals = np.array([[1.0, 0.4, 0.2], [-0.6, 0.9, 0.3]])
  normals /= np.linalg.norm(normals, axis=1, keepdims=True)
  mesh = dual(
    lambda p: jnp.minimum(*[0.1 - p @ jnp.asarray(n, jnp.float32) for n in normals])
  )
  inner = np.abs(mesh.vertices).max(1) < 0.5
  heights = 0.1 - mesh.vertices[inner] @ normals.T
  misses = np.abs(heights.min(1))  # some vertices are kept within their cells
  assert np.quantile(misses, 0.9) < 1e-5 and misses.max() < 0.2 * 1.1 / 32
  assert (np.abs(heights).max(1) < 1e-3).sum() > 20  # on the edge itself


def test_a_ball_is_nearer_than_marching_cubes_of_the_same_grid():
  def ball(p):
    return 0.3 - jnp.sqrt((p**2).sum(-1))

  mesh = dual(ball)
  cubes = extract_mesh(ball, method="mise", resolution_0=8, upsampling_steps=2)
  errors = []
  for found in (mesh, cubes):
    points, _ = trimesh.sample.sample_surface(found, 5000, seed=0)
    errors.append(np.abs(np.linalg.norm(points, axis=1) - 0.3).mean())
  assert errors[0] < 0.6 * errors[1]
  assert mesh.metadata["evaluations"] > cubes.metadata["evaluations"]


def test_what_leaves_the_cube_is_cut_off_flat():
  mesh = dual(lambda p: 0.2 - jnp.hypot(p[:, 0], p[:, 1]))
  assert mesh.is_watertight and np.abs(mesh.vertices).max() <= 0.55
  np.testing.assert_allclose(mesh.volume, np.pi * 0.2**2 * 1.1, rtol=5e-3)


def test_a_field_without_gradients_still_gives_a_closed_mesh():
  rng = np.random.default_rng(0)
  signs = np.sign(rng.normal(size=(6, 6, 6)))

  def steps(points):
    places = np.rint((points / 1.1 + 0.5) * 5).astype(int)
    return signs[tuple(places.clip(0, 5).T)]

  mesh = dual(steps)
  assert mesh.is_watertight and mesh.volume > 0


def test_random_smooth_fields_are_closed_and_keep_their_volume():
  for seed in range(6):
    noise = ndimage.gaussian_filter(
      np.random.default_rng(seed).normal(size=(24,) * 3), 2.5, mode="constant"
    )
    mesh = dual(noise, level=0.01)
    cubes = extract_mesh(noise, level=0.01, resolution_0=8, upsampling_steps=2)
    assert mesh.is_watertight and mesh.volume > 0
    np.testing.assert_allclose(mesh.volume, cubes.volume, rtol=0.05)
