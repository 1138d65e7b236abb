"""Coarse voxels that the surface may cross although all their corners agree (host).

A thin part between the points of the coarse grid shows in the values around it: they
come near the level. Near is what the field could change by within the voxel, at the
steepest slope between the points of the voxel and its neighbours. This costs no
evaluation.

Shape letters: r grid points a side, s = r - 1 voxels a side.
"""

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage

# The fraction of the reachable change that counts. 0.25 to 1 find all that a start of
# 32 cells finds on 12 shapes, and 1 loses fewest components on the furniture.
REACHABLE_FRACTION = 1.0
HALF_DIAGONAL = np.sqrt(3) / 2  # from the centre of a voxel to a corner, in voxels


def near_level(values: Float[np.ndarray, "r r r"]) -> Bool[np.ndarray, "s s s"]:
  """Whether the least |value| of each voxel's corners is within the reachable change.

  Args:
    values: values on the points of the coarse grid, less the level.
  """
  squares = np.zeros([side - 1 for side in values.shape])
  for axis in range(3):
    # The steepest of the four edges of the voxel along this axis: the largest over the
    # two points along each of the other axes.
    changes = np.abs(np.diff(values, axis=axis))
    for other in range(3):
      if other != axis:
        changes = combine_neighbours(np.maximum, changes, other)
    squares += changes**2
  slopes = ndimage.maximum_filter(np.sqrt(squares), 3)  # over the 26 neighbours as well
  least = np.abs(values)
  for axis in range(3):
    least = combine_neighbours(np.minimum, least, axis)
  return least < REACHABLE_FRACTION * slopes * HALF_DIAGONAL


def combine_neighbours(
  combine: np.ufunc, values: Float[np.ndarray, "..."], axis: int
) -> Float[np.ndarray, "..."]:
  """Combines each two neighbours along an axis; one entry fewer remains there."""
  values = np.moveaxis(values, axis, 0)
  return np.moveaxis(combine(values[1:], values[:-1]), 0, axis)
