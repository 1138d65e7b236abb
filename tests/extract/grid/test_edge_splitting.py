import jax.numpy as jnp
import numpy as np
import pytest
import trimesh

from occnet_jax.extract.grid.edge_splitting import (
  newton_to_level,
  split_sides,
  subdivide,
)
from occnet_jax.extract.mesh.checks import count_open_edges, signed_volume
from occnet_jax.extract.pipeline import extract_mesh


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_splitting_any_edges_in_their_middle_leaves_the_solid_as_it_is(share):
  rng = np.random.default_rng(int(10 * share))
  solid = trimesh.creation.icosphere(2)
  solid.vertices *= rng.uniform(0.8, 1.2, size=(len(solid.vertices), 1))
  edges = np.unique(np.sort(solid.edges, axis=1), axis=0)
  edges = edges[rng.uniform(size=len(edges)) < share]
  faces = solid.faces.view(np.ndarray)
  rows, split_vertices = split_sides(faces, edges, len(solid.vertices))
  vertices = np.concatenate([solid.vertices, solid.vertices[edges].mean(1)])
  split = np.delete(faces, rows, axis=0)
  split = np.concatenate([split, subdivide(faces[rows], split_vertices)])
  assert len(split) == len(faces) + 2 * len(edges)
  assert count_open_edges(split) == 0
  np.testing.assert_allclose(signed_volume(vertices, split), solid.volume)
  normals = trimesh.Trimesh(vertices, split, process=False).area_faces
  np.testing.assert_allclose(normals.sum(), solid.area)
  assert normals.min() > 0


def test_newtons_step_ends_near_the_level_and_within_reach():
  true = np.array([0.03, -0.1, 0.4, 0.0])

  def along(heights, rows):
    x = true[rows] - heights
    return 5 * x + 8 * x**2

  reach = np.full(4, 0.2)
  heights, count = newton_to_level(along, np.full(4, 0.01), np.full(4, 4.0), reach)
  assert 4 < count <= 8
  np.testing.assert_allclose(heights, [0.03, -0.1, 0.2, 0.0], atol=6e-3)


def wavy(p):
  """Steep and saturated, as a classifier's logits, with bends of a few cells."""
  waves = 0.02 * jnp.sin(25 * p[:, 0]) * jnp.sin(25 * p[:, 1]) * jnp.sin(25 * p[:, 2])
  return 10 * jnp.tanh(30 * (0.3 + waves - jnp.sqrt((p**2).sum(-1))))


def mean_error(mesh):
  points, _ = trimesh.sample.sample_surface(mesh, 4000, seed=0)
  lengths = np.linalg.norm(points, axis=1, keepdims=True)
  low, high = np.full(lengths.shape, 0.25), np.full(lengths.shape, 0.35)
  for _ in range(16):
    middle = (low + high) / 2
    inside = np.asarray(wavy(jnp.asarray(points / lengths * middle)))[:, None] > 0
    low, high = np.where(inside, middle, low), np.where(inside, high, middle)
  return np.abs(low - lengths).mean()


def test_bends_are_followed_at_a_fraction_of_what_a_finer_grid_takes():
  mesh, plain, fine = (
    extract_mesh(wavy, method=method, resolution_0=16, upsampling_steps=steps)
    for method, steps in (("mise_roots", 2), ("mise", 2), ("mise", 3))
  )
  assert mesh.is_watertight and mesh.euler_number == 2
  assert mesh.metadata["evaluations"] < 0.6 * fine.metadata["evaluations"]
  assert mean_error(mesh) < 0.4 * mean_error(plain)


def test_what_is_flat_is_not_split():
  normal = jnp.array([1.0, 0.3, 0.2])
  settings = {"resolution_0": 8, "upsampling_steps": 2}
  mesh = extract_mesh(lambda p: 0.1 - p @ normal, **settings)
  plain = extract_mesh(lambda p: 0.1 - p @ normal, method="mise", **settings)
  assert len(mesh.faces) == len(plain.faces) and mesh.is_watertight
