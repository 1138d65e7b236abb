import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial import KDTree

from occnet_jax.nn import neighbours
from occnet_jax.nn.neighbours import (
  AttentionDecoder,
  NeighbourAttention,
  find_nearest,
)

RNG = np.random.default_rng(0)


def draw(*shape):
  return RNG.uniform(-0.5, 0.5, shape).astype(np.float32)


@pytest.mark.parametrize("queries", [1, 7, 20])
def test_the_nearest_points_are_those_of_a_tree(queries, monkeypatch):
  monkeypatch.setattr(neighbours, "CHUNK", 6)  # none, one and three chunks and a rest
  points, q = draw(2, 50, 3), draw(2, queries, 3)
  rows = find_nearest(jnp.asarray(q), jnp.asarray(points), 4)
  for i in range(2):
    np.testing.assert_array_equal(rows[i], KDTree(points[i]).query(q[i], 4)[1])


def test_a_cloud_with_fewer_points_than_neighbours_is_one_sentence():
  with pytest.raises(ValueError, match=r"a cloud of 3 points; .* wants at least 8, wh"):
    find_nearest(jnp.zeros((1, 2, 3)), jnp.zeros((1, 3, 3)), 8)


def attend(count=5):
  points, features, q = map(
    jnp.asarray, (draw(2, 30, 3), draw(2, 30, 6), draw(2, 9, 3))
  )
  net = NeighbourAttention(count, 8)
  variables = jax.jit(net.init)(jax.random.key(0), q, points, features)
  apply = jax.jit(functools.partial(net.apply, variables))
  return apply, variables, (q, points, features)


def test_the_sum_over_neighbours_is_that_of_a_loop():
  apply, variables, (q, points, features) = attend()
  layers = {
    name: (np.asarray(layer["kernel"], float), np.asarray(layer["bias"], float))
    for name, layer in variables["params"].items()
  }

  def linear(name, x):
    kernel, bias = layers[name]
    return x @ kernel + bias

  result = np.asarray(apply(q, points, features))
  q, points = np.asarray(q), np.asarray(points)
  for i in range(2):
    for j in range(9):
      offsets = (q[i, j] - points[i]).astype(float)
      lengths = np.linalg.norm(offsets, axis=1)
      near = np.argsort(lengths)[:5]
      scaled = offsets[near] / np.hypot(0.05, lengths[near])[:, None]
      x = np.concatenate([np.asarray(features[i])[near], scaled], 1)
      x = np.maximum(linear("fc_2", np.maximum(linear("fc_1", x), 0)), 0)
      weights = np.exp(linear("fc_query", x))
      weights /= weights.sum(0)
      expected = (weights * linear("fc_value", x)).sum(0)
      np.testing.assert_allclose(result[i, j], expected, rtol=1e-4, atol=1e-5)


def test_the_order_of_the_input_points_does_not_matter():
  apply, _, (q, points, features) = attend()
  order = RNG.permutation(30)
  shuffled = apply(q, points[:, order], features[:, order])
  np.testing.assert_allclose(shuffled, apply(q, points, features), atol=1e-5)


def test_the_gradient_by_a_query_is_the_slope_and_is_finite_on_a_point():
  apply, _, (q, points, features) = attend()
  slope_at = jax.jit(jax.grad(lambda q: apply(q, points, features).sum()))
  slope = slope_at(q)
  step = 1e-3
  for k in range(3):
    move = step * jnp.eye(3)[k].reshape(1, 1, 3)
    high, low = apply(q + move, points, features), apply(q - move, points, features)
    numeric = (high - low).sum(-1) / (2 * step)
    close = np.isclose(numeric, slope[..., k], rtol=2e-2, atol=2e-2)
    assert close.mean() > 0.7  # the others change neighbours or cross a ReLU's kink
  on_points = slope_at(points[:, :4])
  assert jnp.isfinite(on_points).all()


def test_the_published_decoder_is_that_of_a_loop():
  points, features, q = draw(2, 30, 3), draw(2, 30, 4), draw(2, 6, 3)
  latent = {"points": jnp.asarray(points), "features": jnp.asarray(features)}
  net = AttentionDecoder(count=5, features=4, heads=3)
  variables = jax.jit(net.init)(jax.random.key(0), jnp.asarray(q), latent)
  result = jax.jit(net.apply)(variables, jnp.asarray(q), latent)
  assert result.shape == (2, 6, 2)

  def linear(name, x):
    layer = variables["params"][name]
    return np.asarray(layer["kernel"], float).T @ x + np.asarray(layer["bias"], float)

  for i in range(2):
    for j in range(6):
      near = np.argsort(np.linalg.norm(points[i] - q[i, j], axis=1))[:5]
      queries, values = [], []
      for row in near:
        x = np.concatenate([features[i, row], q[i, j] - points[i, row]]).astype(float)
        for name in ("fc1", "fc2", "fc3"):
          x = np.maximum(linear(name, x), 0)
        queries.append(linear("fc_query", x))
        values.append(linear("fc_value", x))
      weights = np.zeros(5)
      for head in range(3):
        own = np.exp([query[head] for query in queries])
        weights += own / own.sum() / 3
      total = sum(w * value for w, value in zip(weights, values, strict=True))
      np.testing.assert_allclose(
        result[i, j], linear("fc8", total), rtol=1e-4, atol=1e-5
      )
