"""Occupancy grids of a solid (host, numpy). Shape letter: r cells per side."""

import numpy as np
from jaxtyping import Float, UInt8

from data_prep.sampling.inside_test import Contains


def voxel_centres(side: int) -> Float[np.ndarray, "{side}**3 3"]:
  """Centres of the cells of [-0.5, 0.5]^3, with z running fastest.

  Cell (x, y, z) is row (x * side + y) * side + z; the outermost centres lie at
  -0.5 + 0.5 / side and 0.5 - 0.5 / side.
  """
  axis = (np.arange(side) + 0.5) / side - 0.5
  return np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1).reshape(-1, 3)


def voxelize(contains: Contains, *, side: int = 32) -> UInt8[np.ndarray, "bytes"]:
  """The cells whose centre is inside, packed eight to a byte.

  `np.unpackbits(voxels)[:side**3].reshape(side, side, side)` is indexed (x, y, z).
  Cells that the surface only grazes are empty, unlike in Choy et al.'s grids: those
  also mark every cell that the surface passes, which makes thin parts fatter.

  Args:
    contains: inside test of a solid in the unit-cube frame.
    side: r.

  Returns:
    (ceil(side^3 / 8),) bytes, the first cell in the highest bit.
  """
  return np.packbits(contains(voxel_centres(side)))
