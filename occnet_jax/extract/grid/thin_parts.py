"""Coarse voxels that the surface may cross although all their corners agree (host).

A thin part between the points of the coarse grid shows in the values around it: they
come near the level. Near is what the field could climb within the voxel, by the
steepest change seen in it and its neighbours. No evaluation is spent on this.

Shape letters: r grid points a side, s = r - 1 voxels a side.
"""

import functools

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage

MARGIN = 1.0  # 0.25 to 1 found all that a start of 32 does, on 12 shapes
HALF_DIAGONAL = np.sqrt(3) / 2


def near_level(
  values: Float[np.ndarray, "r r r"], margin: float = MARGIN
) -> Bool[np.ndarray, "s s s"]:
  """Where the least |value| of the corners is below margin * slope * half-diagonal.

  Args:
    values: on the points of the coarse grid, less the level.
    margin: how much of what the slope allows is feared.
  """
  squares = np.zeros([side - 1 for side in values.shape])
  for axis in range(3):
    steps = np.abs(np.diff(values, axis=axis))
    for other in {0, 1, 2} - {axis}:
      steps = pairs(np.maximum, steps, other)
    squares += steps**2
  slopes = ndimage.maximum_filter(np.sqrt(squares), 3)
  least = functools.reduce(functools.partial(pairs, np.minimum), range(3), abs(values))
  return least < margin * slopes * HALF_DIAGONAL


def pairs(
  combine: np.ufunc, values: Float[np.ndarray, "..."], axis: int
) -> Float[np.ndarray, "..."]:
  """Combines each two neighbours along an axis."""
  values = np.moveaxis(values, axis, 0)
  return np.moveaxis(combine(values[1:], values[:-1]), 0, axis)
