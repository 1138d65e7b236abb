"""PointNet++: features of every point of a cloud (device, jnp).

Qi et al., "PointNet++", NeurIPS 2017, in the form that Peng et al., "Convolutional
Occupancy Networks", ECCV 2020, compare with. On the way down a level picks centres,
gathers neighbours of each and pools their features; on the way up a level interpolates
the features of the centres at the points of the level before.

Shape letters: b shapes, n points, m centres, k neighbours, t queries, c features.
"""

from collections.abc import Sequence
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from occnet_jax.nn.linear import Linear
from occnet_jax.nn.norm import BatchNorm, NormSettings
from occnet_jax.nn.pooling import max_over


class Level(NamedTuple):
  """Sizes of a level on the way down.

  Attributes:
    centres: how many points are picked.
    radius: of the ball around each, in cube units.
    neighbours: how many points of the ball are gathered.
    sizes: features of its layers.
  """

  centres: int
  radius: float
  neighbours: int
  sizes: tuple[int, ...]


LEVELS = (
  Level(512, 0.2, 32, (64, 64, 128)),
  Level(128, 0.4, 64, (128, 128, 256)),
)
TOP = (256, 512, 1024)  # features of the layers over all centres of the last level


class PointNetPlusPlus(nn.Module):
  """Features of every point from its neighbourhoods of three sizes, the last being all.

  "pointnet_plus_plus" in the reference, whose names the modules have.

  Attributes:
    c_dim: features of a point.
    norm: settings that all batch norms share.
  """

  c_dim: int = 32
  norm: NormSettings = NormSettings()

  @nn.compact
  def __call__(
    self, points: Float[Array, "b n 3"], *, train: bool
  ) -> dict[str, Float[Array, "b n _"]]:
    """The points, and their features (b, n, c)."""
    smallest = LEVELS[0].centres
    if points.shape[1] < smallest:
      raise ValueError(
        f"clouds of {points.shape[1]} points; pointnet_plus_plus wants at least "
        f"{smallest}, which it picks as centres; raise config.data.cloud_points"
      )
    clouds, features = [points], [points]
    for i, level in enumerate(LEVELS, start=1):
      centres, pooled = _SetAbstraction(level, self.norm, name=f"sa{i}")(
        clouds[-1], features[-1], train=train
      )
      clouds.append(centres)
      features.append(pooled)
    whole = jnp.concatenate([clouds[-1], features[-1]], -1)
    whole = _SharedMLP(TOP, self.norm, name="sa3")(whole, train=train)
    whole = max_over(whole, 1)[:, None]

    repeated = jnp.broadcast_to(whole, (*features[2].shape[:2], TOP[-1]))
    up = jnp.concatenate([features[2], repeated], -1)
    up = _SharedMLP((256, 256), self.norm, name="fp3")(up, train=train)
    up = interpolate_nearest(clouds[1], clouds[2], up)
    up = jnp.concatenate([features[1], up], -1)
    up = _SharedMLP((256, 128), self.norm, name="fp2")(up, train=train)
    up = interpolate_nearest(clouds[0], clouds[1], up)
    sizes = (128, 128, self.c_dim)
    up = _SharedMLP(sizes, self.norm, name="fp1")(up, train=train)
    return {"points": points, "features": up}


class _SetAbstraction(nn.Module):
  """Centres of a cloud, and the maximum of the features of the points around each."""

  level: Level
  norm: NormSettings

  @nn.compact
  def __call__(
    self, points: Float[Array, "b n 3"], features: Float[Array, "b n c"], *, train: bool
  ) -> tuple[Float[Array, "b m 3"], Float[Array, "b m o"]]:
    level = self.level
    centres = gather_rows(points, farthest_points(points, level.centres))
    near = neighbours_in_ball(points, centres, level.radius, level.neighbours)
    offsets = gather_rows(points, near) - centres[:, :, None]
    parts = jnp.concatenate([offsets, gather_rows(features, near)], -1)
    return centres, max_over(_layers(self, level.sizes, parts, train), 2)


class _SharedMLP(nn.Module):
  """Layers of linear map, batch norm and ReLU over points."""

  sizes: Sequence[int]
  norm: NormSettings

  @nn.compact
  def __call__(self, x: Float[Array, "b *n c"], *, train: bool) -> Float[Array, "..."]:
    return _layers(self, self.sizes, x, train)


class _Linears(nn.Module):
  """Linear maps that are named 0, 1, ... as published."""

  @nn.compact
  def __call__(self, x: Float[Array, "..."], i: int, size: int) -> Float[Array, "..."]:
    return Linear(size, name=str(i))(x)


class _Norms(nn.Module):
  """Batch norms that are named 0, 1, ... as published."""

  norm: NormSettings

  @nn.compact
  def __call__(
    self, x: Float[Array, "..."], i: int, *, train: bool
  ) -> Float[Array, "..."]:
    return BatchNorm(self.norm, name=str(i))(x, train=train)


def _layers(
  module: _SetAbstraction | _SharedMLP,
  sizes: Sequence[int],
  x: Float[Array, "..."],
  train: bool,
) -> Float[Array, "..."]:
  """Linear map, batch norm and ReLU, for each size; the modules belong to `module`."""
  linears, norms = _Linears(name="mlp_convs"), _Norms(module.norm, name="mlp_bns")
  for i, size in enumerate(sizes):
    x = nn.relu(norms(linears(x, i, size), i, train=train))
  return x


def farthest_points(points: Float[Array, "b n 3"], count: int) -> Int[Array, "b m"]:
  """Indices of points that cover a cloud: each is the farthest from those before it.

  The first is point 0. (The published code draws it at random, so that its outputs
  differ from call to call.)
  """

  def pick(state, _):
    distances, last = state
    centre = jnp.take_along_axis(points, last[:, None, None], 1)
    distances = jnp.minimum(distances, jnp.square(points - centre).sum(-1))
    return (distances, distances.argmax(-1).astype(last.dtype)), last

  b, n, _ = points.shape
  start = jnp.full((b, n), jnp.inf, points.dtype), jnp.zeros(b, jnp.int32)
  _, picked = lax.scan(pick, start, length=count)
  return picked.T


def neighbours_in_ball(
  points: Float[Array, "b n 3"],
  centres: Float[Array, "b m 3"],
  radius: float,
  count: int,
) -> Int[Array, "b m k"]:
  """Indices of the first `count` points in the ball of each centre.

  The first in the order of the cloud, not the nearest ones: published weights have
  learned from these. The first of all is repeated where there are fewer.
  """
  inside = squared_distances(centres, points) <= radius**2
  # Neighbour j is where the number of points so far in the ball becomes j + 1.
  so_far = jnp.cumsum(inside, -1)
  counts = jnp.arange(1, count + 1)
  search = jnp.vectorize(jnp.searchsorted, signature="(n),(k)->(k)")
  index = search(so_far, counts.reshape(1, 1, -1))
  return jnp.where(index < points.shape[1], index, index[..., :1])


def interpolate_nearest(
  queries: Float[Array, "b t 3"],
  points: Float[Array, "b n 3"],
  features: Float[Array, "b n c"],
) -> Float[Array, "b t c"]:
  """Features of the three nearest points, weighted by 1 / squared distance."""
  negated, index = lax.top_k(-squared_distances(queries, points), 3)
  weights = 1 / (1e-8 - negated)
  weights = weights / weights.sum(-1, keepdims=True)
  return (weights[..., None] * gather_rows(features, index)).sum(2)


def squared_distances(
  queries: Float[Array, "b t 3"], points: Float[Array, "b n 3"]
) -> Float[Array, "b t n"]:
  """|q - p|^2, by coordinates: |q|^2 - 2 q p + |p|^2 cancels between close points."""
  return sum(
    jnp.square(queries[..., k][:, :, None] - points[..., k][:, None]) for k in range(3)
  )


def gather_rows(
  array: Float[Array, "b n c"], index: Int[Array, "b *k"]
) -> Float[Array, "b *k c"]:
  """Rows of each shape's array by their indices."""
  return jax.vmap(lambda a, i: a.at[i].get(mode="promise_in_bounds"))(array, index)
