"""Feature grids of several resolutions, of which every prefix is an encoding (jnp).

Takikawa et al., "Neural geometric level of detail", CVPR 2021, section 3, with dense
grids in place of a sparse octree.

Shape letters: b shapes, t points, k features of a point.
"""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from occnet_jax.nn import interpolate


class FeatureGrids(nn.Module):
  """Grids of 2^base + 1, 2^(base + 1) + 1, ... nodes an axis, summed from the coarsest.

  Attributes:
    levels: number of grids.
    base: logarithm of the cells an axis of the coarsest grid.
    features: features of a node.
  """

  levels: int = 5
  base: int = 2
  features: int = 32

  @nn.compact
  def __call__(
    self, points: Float[Array, "b t 3"]
  ) -> tuple[Float[Array, "b t k"], ...]:
    """Encodings of points from 0 to 1: one for each number of grids from 1 upwards.

    Each holds the point, from -1 to 1, and the sum of the grids' features there.
    """
    b, t, _ = points.shape
    rows = points.reshape(1, b * t, 3)  # all shapes have the same grids
    total, encodings = 0.0, []
    for level in range(self.levels):
      cells = 2 ** (self.base + level)
      shape = (1, *[cells + 1] * 3, self.features)
      grid = self.param(f"grid_{level}", nn.initializers.normal(0.01), shape)
      total = total + interpolate.linear(grid, rows * cells)
      encodings.append(jnp.concatenate([2 * rows - 1, total], -1).reshape(b, t, -1))
    return tuple(encodings)
