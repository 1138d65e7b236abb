"""Sampling, neighbourhoods and interpolation of PointNet++ against brute force."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.distance import cdist

from occnet_jax.nn import pointnet2
from occnet_jax.nn.local_decoder import LocalPointDecoder


def make_clouds(b=2, n=60):
  return np.random.default_rng(0).uniform(-0.5, 0.5, (b, n, 3)).astype(np.float32)


def test_each_picked_point_is_the_farthest_from_those_before():
  clouds = make_clouds()
  picked = np.asarray(pointnet2.farthest_points(jnp.asarray(clouds), 10))
  for cloud, indices in zip(clouds, picked, strict=True):
    distances = cdist(cloud, cloud)
    assert indices[0] == 0
    for i in range(1, 10):
      assert indices[i] == distances[indices[:i]].min(0).argmax()


def test_neighbours_are_the_first_of_the_ball_and_the_first_again():
  clouds = make_clouds()
  centres = clouds[:, :7]
  near = pointnet2.neighbours_in_ball(jnp.asarray(clouds), jnp.asarray(centres), 0.3, 8)
  for shape in range(2):
    for centre, indices in enumerate(np.asarray(near)[shape]):
      distances = np.linalg.norm(clouds[shape] - centres[shape, centre], axis=1)
      ball = np.flatnonzero(distances <= 0.3)
      expected = np.concatenate([ball, np.full(8, ball[0])])[:8]
      np.testing.assert_array_equal(indices, expected)


def test_interpolation_weighs_the_three_nearest_by_squared_distance():
  clouds = make_clouds()
  queries = clouds[:, ::-1][:, :9] * 0.9
  features = np.random.default_rng(1).standard_normal((2, 60, 4)).astype(np.float32)
  arrays = (jnp.asarray(a) for a in (queries, clouds, features))
  result = pointnet2.interpolate_nearest(*arrays)
  for shape in range(2):
    squares = cdist(queries[shape], clouds[shape]) ** 2
    for query, own in enumerate(squares):
      nearest = own.argsort()[:3]
      weights = 1 / (own[nearest] + 1e-8)
      expected = weights @ features[shape][nearest] / weights.sum()
      np.testing.assert_allclose(result[shape, query], expected, rtol=1e-3, atol=1e-4)


def test_a_cloud_needs_as_many_points_as_there_are_centres():
  net = pointnet2.PointNetPlusPlus()
  with pytest.raises(ValueError, match=r"clouds of 300 points; .* at least 512"):
    jax.jit(net.init, static_argnames="train")(
      jax.random.key(0), jnp.zeros((1, 300, 3)), train=True
    )


def test_a_logit_far_from_all_points_is_finite_and_so_is_its_slope():
  clouds = jnp.asarray(make_clouds(1))
  latent = {"points": clouds, "features": jnp.ones((1, 60, 4))}
  queries = jnp.array([[[40.0, 0.0, 0.0], [0.1, 0.2, 0.3]]]).at[0, 1].set(clouds[0, 0])
  net = LocalPointDecoder(8)
  variables = jax.jit(net.init, static_argnames="train")(
    jax.random.key(0), queries, latent, train=False
  )

  def total(queries):
    return net.apply(variables, queries, latent, train=False).sum()

  value, slope = jax.value_and_grad(total)(queries)
  assert np.isfinite(value) and np.isfinite(slope).all()
