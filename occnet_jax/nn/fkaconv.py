"""Convolutions of point clouds, and a network of them (device, jnp).

FKAConv (Boulch, Puy and Marlet, ACCV 2020) in the form that POCO published (Boulch and
Marlet, CVPR 2022, section 3.1), whose names the modules have. A convolution multiplies
the features of the neighbours of a centre by a matrix that a small network makes of
their positions, so that they count as if they lay at the 16 places of a kernel. The
network of them goes down over five levels of ever fewer centres and up again, as a
U-Net does.

Shape letters: b shapes, n points, m centres, k neighbours, c features.
"""

import itertools
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from occnet_jax.nn.linear import Linear
from occnet_jax.nn.neighbours import find_nearest
from occnet_jax.nn.norm import MOMENTUM, BatchNorm, InstanceNorm, NormSettings
from occnet_jax.nn.pointnet2 import farthest_points, gather_rows
from occnet_jax.nn.pooling import max_over
from occnet_jax.nn.precision import matmul

LEVELS = 5  # of the network; each has a quarter of the points of the one before
NEIGHBOURS = 16  # of a centre, in every convolution


class Pyramid(NamedTuple):
  """The points of every level, and rows of the points that a layer gathers.

  Attributes:
    points: (b, n, 3) for each level.
    within: (b, n, k) for each level, rows of neighbours of its points among themselves.
    down: (b, m, k) for each level but the first, rows of neighbours of its points among
      those of the level before.
    up: (b, n) for each level but the last, rows of the nearest point of the next level.
  """

  points: tuple[Any, ...]
  within: tuple[Any, ...]
  down: tuple[Any, ...]
  up: tuple[Any, ...]


def make_pyramid(points: Float[Array, "b n 3"]) -> Pyramid:
  """The levels of clouds, each with a quarter of the points of the one before.

  Levels are the first points of one farthest-point order, so that each covers the
  cloud. (The published code draws them at random from a coarse grid, and outputs differ
  from call to call.)
  """
  counts = [max(points.shape[1] // 4**level, 1) for level in range(LEVELS)]
  order = farthest_points(points, counts[1])
  levels = [points, *(gather_rows(points, order[:, :count]) for count in counts[1:])]
  pairs = list(itertools.pairwise(levels))

  def near(queries, among, count=NEIGHBOURS):
    return find_nearest(queries, among, min(count, among.shape[1]))

  return Pyramid(
    tuple(levels),
    within=tuple(near(level, level) for level in levels),
    down=tuple(near(coarse, fine) for fine, coarse in pairs),
    up=tuple(near(fine, coarse, 1)[..., 0] for fine, coarse in pairs),
  )


class FKAConv(nn.Module):
  """Convolution of the features of each centre's neighbours.

  Attributes:
    features: size of the result.
    kernel_size: places of the kernel.
    axis_name: device axis that the running radius is averaged over; None for one.
  """

  features: int
  kernel_size: int = 16
  axis_name: str | None = None

  @nn.compact
  def __call__(
    self,
    x: Float[Array, "b n c"],
    points: Float[Array, "b n 3"],
    centres: Float[Array, "b m 3"],
    rows: Int[Array, "b m k"],
    *,
    train: bool,
  ) -> Float[Array, "b m o"]:
    """Features of the centres, from those x of the points in `rows`."""
    offsets = gather_rows(points, rows) - centres[:, :, None]
    # A neighbour at distance 0 has no slope; and the published code has none at all.
    distances = jnp.sqrt(jnp.square(lax.stop_gradient(offsets)).sum(-1))
    weights = self._weigh(distances)[..., None]
    net = offsets / self._radius(distances, train)
    net = nn.relu(InstanceNorm(name="bn1")(self._layer("fc1")(net)))
    net = self._layer("fc2")(net, max_over(net * weights, 2)[:, :, None])
    net = nn.relu(InstanceNorm(name="bn2")(net))
    net = self._layer("fc3")(net, max_over(net * weights, 2)[:, :, None])
    places = nn.relu(net) * weights  # (b, m, k, places)
    multiply = jax.vmap(jax.vmap(matmul))
    moved = multiply(places.swapaxes(2, 3), gather_rows(x, rows))
    b, m = centres.shape[:2]
    kernel = Linear(self.features, use_bias=False, name="cv")
    return kernel(moved.reshape(b, m, self.kernel_size * x.shape[-1]))

  def _layer(self, name: str) -> Linear:
    return Linear(self.kernel_size, use_bias=False, name=name)

  def _weigh(self, distances: Float[Array, "b m k"]) -> Float[Array, "b m k"]:
    """Weights of the neighbours that fall with distance; their mean is 1."""
    ones = nn.initializers.ones_init()
    alpha, beta = self.param("alpha", ones, ()), self.param("beta", ones, ())
    weights = nn.sigmoid(beta - alpha * distances)
    total = weights.sum(2, keepdims=True) + 1e-6
    return weights / total * distances.shape[2]

  def _radius(self, distances: Float[Array, "b m k"], train: bool) -> Array:
    """The running mean of the distance from a centre to its farthest neighbour.

    The norm behind the layer that it scales takes all but its rounding away; published
    weights were trained with it.
    """
    running = self.variable("batch_stats", "norm_radius", jnp.ones, ())
    if train and not self.is_initializing():
      radius = distances.max(2).mean()
      if self.axis_name is not None:
        radius = lax.pmean(radius, self.axis_name)
      running.value = MOMENTUM * running.value + (1 - MOMENTUM) * radius
    return running.value


class FKAConvNetwork(nn.Module):
  """Features of every point of a cloud, from five levels of ever fewer points.

  The published network has a further branch of layers (cv5, bn5), whose result it
  overwrites; it is left out.

  Attributes:
    c_dim: features of a point.
    hidden: features of a point of the first level; they double at each.
    norm: settings that all batch norms share.
  """

  c_dim: int = 32
  hidden: int = 64
  norm: NormSettings = NormSettings()

  @nn.compact
  def __call__(self, pyramid: Pyramid, *, train: bool) -> Float[Array, "b n c"]:
    points, within, down, up = pyramid
    # A point has no features beside its place.
    x = jnp.ones_like(points[0])
    conv = FKAConv(self.hidden, axis_name=self.norm.axis_name, name="cv0")
    x = conv(x, points[0], points[0], within[0], train=train)
    x = nn.relu(BatchNorm(self.norm, name="bn0")(x, train=train))
    block = _ResidualBlock(self.hidden, self.norm, name="resnetb01")
    levels = [block(x, points[0], points[0], within[0], train=train)]
    for i in range(1, len(points)):
      size, own = self.hidden * 2**i, points[i]
      block = _ResidualBlock(size, self.norm, name=f"resnetb{i}0")
      x = block(levels[-1], points[i - 1], own, down[i - 1], train=train)
      block = _ResidualBlock(size, self.norm, name=f"resnetb{i}1")
      levels.append(block(x, own, own, within[i], train=train))
    x = levels[-1]
    for i in reversed(range(len(points) - 1)):
      joined = gather_rows(x, up[i]), levels[i]
      x = Linear(self.hidden * 2**i, name=f"cv{i}d")(*joined)
      x = nn.relu(BatchNorm(self.norm, name=f"bn{i}d")(x, train=train))
    return Linear(self.c_dim, name="fcout")(x)


class _ResidualBlock(nn.Module):
  """A convolution between two linear maps that halve and restore the features."""

  features: int
  norm: NormSettings

  @nn.compact
  def __call__(
    self,
    x: Float[Array, "b n c"],
    points: Float[Array, "b n 3"],
    centres: Float[Array, "b m 3"],
    rows: Int[Array, "b m k"],
    *,
    train: bool,
  ) -> Float[Array, "b m o"]:
    def normalise(name, array):
      return BatchNorm(self.norm, name=name)(array, train=train)

    half = x.shape[-1] // 2
    net = nn.relu(normalise("bn0", Linear(half, name="cv0")(x)))
    conv = FKAConv(half, axis_name=self.norm.axis_name, name="cv1")
    net = nn.relu(normalise("bn1", conv(net, points, centres, rows, train=train)))
    net = normalise("bn2", Linear(self.features, name="cv2")(net))
    if self.features != x.shape[-1]:
      x = normalise("bn_shortcut", Linear(self.features, name="shortcut")(x))
    if centres.shape[1] != points.shape[1]:
      x = max_over(gather_rows(x, rows), 2)
    return nn.relu(net + x)
