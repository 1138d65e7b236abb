"""Coarse voxels that the surface may cross although all their corners agree.

A thin part between the points of the coarse grid shows in the values around it: they
come near the level. Near is what the field could change by within the voxel, at the
steepest slope between the points of the voxel and its neighbours. This costs no
evaluation. For arrays of NumPy (host) and of JAX (device).

Shape letters: r grid points a side, s = r - 1 voxels a side.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Array, Bool, Float

# The fraction of the reachable change that counts. 0.25 to 1 find all that a start of
# 32 cells finds on 12 shapes, and 1 loses fewest components on the furniture.
REACHABLE_FRACTION = 1.0
HALF_DIAGONAL = 3**0.5 / 2  # from the centre of a voxel to a corner, in voxels

AnyArray = np.ndarray | Array


def near_level(values: Float[AnyArray, "r r r"]) -> Bool[AnyArray, "s s s"]:
  """Whether the least |value| of each voxel's corners is within the reachable change.

  Args:
    values: values on the points of the coarse grid, less the level.
  """
  xp = values.__array_namespace__()  # NumPy, or jax.numpy
  squares = 0
  for axis in range(3):
    # The steepest of the four edges of the voxel along this axis: the largest over the
    # two points along each of the other axes.
    changes = xp.abs(xp.diff(values, axis=axis))
    for other in range(3):
      if other != axis:
        changes = combine_neighbours(xp.maximum, changes, other)
    squares = squares + changes**2
  slopes = xp.sqrt(squares)
  for axis in range(3):  # over the 26 neighbours as well, those that there are
    beside = [(int(axis == other),) * 2 for other in range(3)]
    slopes = xp.pad(slopes, beside, mode="edge")
    for _ in range(2):
      slopes = combine_neighbours(xp.maximum, slopes, axis)
  least = xp.abs(values)
  for axis in range(3):
    least = combine_neighbours(xp.minimum, least, axis)
  return least < REACHABLE_FRACTION * slopes * HALF_DIAGONAL


def combine_neighbours(
  combine: Callable[[AnyArray, AnyArray], AnyArray],
  values: Float[AnyArray, "..."],
  axis: int,
) -> Float[AnyArray, "..."]:
  """Combines each two neighbours along an axis; one entry fewer remains there."""
  xp = values.__array_namespace__()
  values = xp.moveaxis(values, axis, 0)
  return xp.moveaxis(combine(values[1:], values[:-1]), 0, axis)
