import jax.numpy as jnp
import numpy as np
import pytest

from occnet_jax.nn import moments

RNG = np.random.default_rng(0)


def by_hand(points, valid, side):
  """Weighted neighbours of every point, from the definition of the two-way splat."""
  nodes = np.stack(np.meshgrid(*[np.arange(side)] * 3, indexing="ij"), -1)
  nodes = nodes.reshape(-1, 3)
  apart = np.abs(points[:, None] * side - nodes[None])
  apart = np.minimum(apart, side - apart)  # the cube repeats
  shares = np.maximum(1 - apart, 0).prod(-1)  # (n, nodes)
  weights = shares @ (shares * valid[:, None]).T
  results = []
  for point, row in zip(points, weights, strict=True):
    mean = row @ points / row.sum()
    covariance = np.einsum("j,jk,jl->kl", row, points - mean, points - mean)
    covariance /= row.sum()
    inverse = np.linalg.inv(
      covariance / np.trace(covariance) + moments.ROUND * np.eye(3)
    )
    inverse /= np.trace(inverse)
    spread = np.sqrt(np.trace(covariance)) * side
    results.append((inverse, (mean - point) * side, spread, row.sum()))
  return results


def test_moments_are_those_of_the_weighted_neighbours():
  side, n = 5, 40
  points = RNG.uniform(0.2, 0.7, (n, 3))
  valid = np.arange(n) % 4 > 0
  found = moments.measure(
    jnp.asarray(points[None], jnp.float32), jnp.asarray(valid[None]), side
  )
  for k, (inverse, offset, spread, count) in enumerate(by_hand(points, valid, side)):
    xx, yy, zz, xy, xz, yz = found.projector[0, k]
    matrix = np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
    np.testing.assert_allclose(matrix, inverse, atol=2e-4)
    np.testing.assert_allclose(found.offset[0, k], offset, atol=1e-4)
    np.testing.assert_allclose(found.spread[0, k, 0], spread, rtol=1e-3)
    np.testing.assert_allclose(found.count[0, k], count, rtol=1e-5)


@pytest.mark.parametrize("normal", [(0.0, 0.0, 1.0), (0.6, 0.0, 0.8), (1.0, 1.0, 1.0)])
def test_the_projector_of_a_plane_finds_its_normal(normal):
  normal = np.array(normal) / np.linalg.norm(normal)
  points = RNG.uniform(-0.3, 0.3, (4000, 3))
  points -= np.outer(points @ normal, normal)
  inner = (np.abs(points) < 0.15).all(1)
  valid = jnp.ones((1, len(points)), bool)
  unit = jnp.asarray(points[None] + 0.5, jnp.float32)
  found = moments.measure(unit, valid, 16).projector
  vectors = RNG.standard_normal((1, len(points), 3)).astype(np.float32)
  products = np.asarray(moments.multiply(found, jnp.asarray(vectors)))[0, inner]
  heights = vectors[0, inner] @ normal
  # The other directions keep 1 / 27 each: ROUND over ROUND + 1 / 2.
  np.testing.assert_allclose(products @ normal, heights, atol=0.12, rtol=0.1)
  beside = products - np.outer(products @ normal, normal)
  assert np.linalg.norm(beside, axis=1).max() < 0.25


def test_points_that_are_alone_have_a_projector_without_direction():
  """Their variance is rounding, in another direction with every move."""
  places = np.stack(np.meshgrid(*[np.linspace(0.1, 0.9, 8)] * 3, indexing="ij"), -1)
  points = places.reshape(1, -1, 3) + RNG.uniform(-0.02, 0.02, (1, 512, 3))
  valid = jnp.ones((1, 512), bool)
  for moved in (0.0, 1e-6):
    found = moments.measure(jnp.asarray(points + moved, jnp.float32), valid, 64)
    wanted = np.tile([1 / 3, 1 / 3, 1 / 3, 0, 0, 0], (512, 1))
    np.testing.assert_allclose(found.projector[0], wanted, atol=0.15)


def test_symmetric_matrices_multiply_vectors():
  matrix = RNG.standard_normal((3, 3))
  matrix = matrix + matrix.T
  entries = matrix[[0, 1, 2, 0, 0, 1], [0, 1, 2, 1, 2, 2]]
  vector = RNG.standard_normal(3)
  product = moments.multiply(
    jnp.asarray(entries, jnp.float32).reshape(1, 1, 6),
    jnp.asarray(vector, jnp.float32).reshape(1, 1, 3),
  )
  np.testing.assert_allclose(product[0, 0], matrix @ vector, rtol=1e-5, atol=1e-6)
