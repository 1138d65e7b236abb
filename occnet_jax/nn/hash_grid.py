"""Multi-resolution hash encoding of points (device, jnp).

Müller et al., "Instant neural graphics primitives", SIGGRAPH 2022, section 3, with the
positions, sizes and hash of its published code (tiny-cuda-nn).

Shape letters: b shapes, t points, f features of a level, k = f x levels.
"""

import itertools
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt32

PRIMES = (1, 2_654_435_761, 805_459_861)  # of the hash, one an axis (equation 4)
CORNERS = np.array(list(itertools.product((0, 1), repeat=3)), np.uint32)


class Level(NamedTuple):
  """Sizes of one level.

  Attributes:
    scale: position of a point in units of cells is scale * x + 0.5.
    resolution: nodes an axis.
    entries: rows of its table.
  """

  scale: float
  resolution: int
  entries: int

  @property
  def is_hashed(self) -> bool:
    """Whether nodes share rows; otherwise each has a row of its own."""
    return self.resolution**3 > self.entries


def make_levels(
  levels: int, base_resolution: int, growth: float, max_entries: int
) -> list[Level]:
  """The levels from coarse to fine (equations 2 and 3).

  Args:
    levels: number of levels.
    base_resolution: nodes an axis of the coarsest level.
    growth: factor from one level's resolution to the next one's.
    max_entries: largest number of rows of a table.
  """
  made = []
  for number in range(levels):
    scale = base_resolution * growth**number - 1
    resolution = int(np.ceil(scale)) + 1
    rounded = -(-(resolution**3) // 8) * 8
    made.append(Level(scale, resolution, min(rounded, max_entries)))
  return made


def rows_of(nodes: UInt32[Array, "*n 3"], level: Level) -> UInt32[Array, "*n"]:
  """Rows of a level's table that hold the features of nodes."""
  x, y, z = jnp.moveaxis(nodes, -1, 0)
  if level.is_hashed:  # products modulo 2^32
    x, y, z = (
      axis * np.uint32(prime) for axis, prime in zip((x, y, z), PRIMES, strict=True)
    )
    rows = x ^ y ^ z
  else:
    side = np.uint32(level.resolution)
    rows = x + y * side + z * side * side
  # A node beyond the last one of a dense level, which points at x = 1 have, wraps.
  return rows % np.uint32(level.entries)


def interpolate_level(
  table: Float[Array, "rows f"], points: Float[Array, "b t 3"], level: Level
) -> Float[Array, "b t f"]:
  """Features of one level, linear between the eight nodes around a point.

  Args:
    table: rows of the level.
    points: coordinates from 0 to 1.
    level: its sizes.
  """
  positions = points * level.scale + 0.5
  lower = jnp.floor(positions)
  fraction = (positions - lower)[:, :, None]
  nodes = lower.astype(jnp.uint32)[:, :, None] + CORNERS.reshape(1, 1, 8, 3)
  is_upper = CORNERS.reshape(1, 1, 8, 3) == 1
  weights = jnp.where(is_upper, fraction, 1 - fraction).prod(-1)
  features = table.at[rows_of(nodes, level)].get(mode="promise_in_bounds")
  return (weights[..., None] * features).sum(2)


class HashGrid(nn.Module):
  """Features of all levels side by side, from tables that are trained.

  Nodes of a fine level share rows, and nothing resolves the collisions but the training
  of the perceptron behind it. The gradient by a point is constant along a cell's edge,
  so second derivatives vanish.

  Attributes:
    levels: number of levels.
    features: f, features of a row.
    base_resolution: nodes an axis of the coarsest level.
    finest_resolution: nodes an axis of the finest level.
    max_entries: largest number of rows of a level, a power of two.
  """

  levels: int = 16
  features: int = 2
  base_resolution: int = 16
  finest_resolution: int = 2048
  max_entries: int = 2**19

  @nn.compact
  def __call__(self, points: Float[Array, "b t 3"]) -> Float[Array, "b t k"]:
    """Features of points from 0 to 1; those outside have the border's."""
    ratio = self.finest_resolution / self.base_resolution
    growth = ratio ** (1 / max(self.levels - 1, 1))
    levels = make_levels(self.levels, self.base_resolution, growth, self.max_entries)
    points = jnp.clip(points, 0, 1)
    encoded = []
    for number, level in enumerate(levels):
      shape = (level.entries, self.features)
      table = self.param(f"table_{number}", _small, shape)
      encoded.append(interpolate_level(table, points, level))
    return jnp.concatenate(encoded, -1)


def _small(key, shape):
  return jax.random.uniform(key, shape, minval=-1e-4, maxval=1e-4)
