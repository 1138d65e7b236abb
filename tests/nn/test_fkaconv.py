"""Convolutions of point clouds against loops, and the levels of their network."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial import KDTree

from occnet_jax.nn import fkaconv
from occnet_jax.nn.fkaconv import FKAConv, FKAConvNetwork
from tests.helpers.variables import draw as draw_variables

make_pyramid = jax.jit(fkaconv.make_pyramid)
RNG = np.random.default_rng(0)


def draw(*shape):
  return RNG.uniform(-0.5, 0.5, shape).astype(np.float32)


def sigmoid(x):
  return 1 / (1 + np.exp(-x))


def convolve(leaves, radius, x, points, centres, rows):
  """The convolution of one cloud by loops over centres, neighbours and places."""
  m, k = rows.shape
  offsets = np.array(
    [[points[rows[i, j]] - centres[i] for j in range(k)] for i in range(m)]
  )
  lengths = np.sqrt((offsets**2).sum(-1))
  weights = sigmoid(-leaves["alpha"] * lengths + leaves["beta"])
  for i in range(m):
    weights[i] *= k / weights[i].sum()

  def normalise(name, net):
    scale, bias = leaves[name]["scale"], leaves[name]["bias"]
    for f in range(net.shape[-1]):  # over all centres and neighbours of the cloud
      own = net[..., f]
      net[..., f] = scale[f] * (own - own.mean()) / np.sqrt(own.var() + 1e-5) + bias[f]
    return np.maximum(net, 0)

  def join(net):
    pooled = np.empty_like(net)
    for i in range(m):
      pooled[i] = max_over_neighbours(net[i], weights[i])
    return np.concatenate([net, pooled], -1)

  net = normalise("bn1", offsets / radius @ leaves["fc1"]["kernel"])
  net = normalise("bn2", join(net) @ leaves["fc2"]["kernel"])
  places = np.maximum(join(net) @ leaves["fc3"]["kernel"], 0) * weights[..., None]
  kernel = leaves["cv"]["kernel"]
  result = np.zeros((m, kernel.shape[1]))
  for i in range(m):
    for j in range(k):
      for place in range(places.shape[-1]):
        rows_of_place = kernel[place * x.shape[1] : (place + 1) * x.shape[1]]
        result[i] += places[i, j, place] * (x[rows[i, j]] @ rows_of_place)
  return result


def max_over_neighbours(net, weights):
  return (net * weights[:, None]).max(0)


def make_conv(b=2):
  x, points = draw(b, 30, 3), draw(b, 30, 3)
  centres = points[:, :7]
  rows = np.stack(
    [KDTree(p).query(c, 5)[1] for p, c in zip(points, centres, strict=True)]
  )
  args = tuple(map(jnp.asarray, (x, points, centres, rows.astype(np.int32))))
  net = FKAConv(4, kernel_size=6)
  variables = jax.jit(net.init, static_argnames="train")(
    jax.random.key(0), *args, train=True
  )
  leaves, tree = jax.tree.flatten(variables)
  keys = jax.random.split(jax.random.key(1), len(leaves))
  drawn = [
    a + 0.2 * jax.random.normal(k, a.shape) for a, k in zip(leaves, keys, strict=True)
  ]
  return net, jax.tree.unflatten(tree, drawn), args


def test_a_convolution_is_that_of_loops():
  net, variables, args = make_conv()
  result = jax.jit(functools.partial(net.apply, train=False))(variables, *args)
  leaves = jax.tree.map(lambda a: np.asarray(a, float), variables["params"])
  radius = float(variables["batch_stats"]["norm_radius"])
  for i in range(2):
    own = [np.asarray(a[i], int if a.dtype == jnp.int32 else float) for a in args]
    expected = convolve(leaves, radius, *own)
    np.testing.assert_allclose(result[i], expected, rtol=1e-4, atol=1e-5)


def test_the_running_radius_is_the_mean_distance_of_the_farthest_neighbour():
  net, variables, args = make_conv()
  _, changed = jax.jit(
    functools.partial(net.apply, train=True, mutable=["batch_stats"])
  )(variables, *args)
  _, points, centres, rows = map(np.asarray, args)
  farthest = [
    np.linalg.norm(points[i][rows[i, j]] - centres[i, j], axis=1).max()
    for i in range(2)
    for j in range(7)
  ]
  before = float(variables["batch_stats"]["norm_radius"])
  now = float(changed["batch_stats"]["norm_radius"])
  np.testing.assert_allclose(now, 0.9 * before + 0.1 * np.mean(farthest), rtol=1e-5)


def test_a_convolution_does_not_depend_on_the_place_of_the_cloud_or_its_order():
  net, variables, (x, points, centres, rows) = make_conv()
  apply = jax.jit(functools.partial(net.apply, variables, train=False))
  result = apply(x, points, centres, rows)
  moved = apply(x, points + 3, centres + 3, rows)
  np.testing.assert_allclose(moved, result, atol=1e-4)
  order = RNG.permutation(30)
  places = jnp.asarray(np.argsort(order).astype(np.int32))
  shuffled = (x[:, order], points[:, order], centres, places[rows])
  np.testing.assert_allclose(apply(*shuffled), result, atol=1e-5)


@pytest.mark.parametrize("n", [300, 9])
def test_levels_have_a_quarter_of_the_points_and_their_nearest_ones(n):
  cloud = draw(1, n, 3)
  pyramid = make_pyramid(jnp.asarray(cloud))
  levels = [np.asarray(level[0]) for level in pyramid.points]
  assert [len(level) for level in levels] == [max(n // 4**i, 1) for i in range(5)]
  for coarse in levels[1:]:  # every centre is a point of the cloud, and none is twice
    distances, rows = KDTree(cloud[0]).query(coarse)
    assert not distances.any() and len(set(rows)) == len(coarse)

  def nearest(queries, among, count):
    _, rows = KDTree(among).query(queries, list(range(1, count + 1)))
    return np.sort(rows, -1)

  for i, level in enumerate(levels):
    among = [(pyramid.within[i], level, level)]
    if i:
      among += [(pyramid.down[i - 1], level, levels[i - 1])]
      among += [(pyramid.up[i - 1][..., None], levels[i - 1], level)]
    for rows, queries, points in among:
      expected = nearest(queries, points, rows.shape[-1])
      np.testing.assert_array_equal(np.sort(rows[0], -1), expected)
    assert pyramid.within[i].shape[-1] == min(16, len(level))


def test_a_level_covers_the_cloud_better_than_a_draw():
  cloud = draw(1, 400, 3)
  centres = np.asarray(make_pyramid(jnp.asarray(cloud)).points[2][0])
  drawn = cloud[0, RNG.choice(400, len(centres), replace=False)]
  gaps = [KDTree(points).query(cloud[0])[0].max() for points in (centres, drawn)]
  assert gaps[0] < 0.8 * gaps[1]


def test_a_moved_cloud_has_the_same_features_in_use():
  cloud = draw(1, 80, 3)
  net = FKAConvNetwork(8, hidden=8)
  pyramid = make_pyramid(jnp.asarray(cloud))
  variables = draw_variables(functools.partial(net.init, train=True), pyramid)
  moved = pyramid._replace(points=tuple(p + 0.25 for p in pyramid.points))
  apply = jax.jit(lambda pyramid: net.apply(variables, pyramid, train=False))
  features = apply(pyramid)
  assert features.shape == (1, 80, 8) and float(jnp.std(features)) > 1e-3
  np.testing.assert_allclose(apply(moved), features, atol=1e-4)
