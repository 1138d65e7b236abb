"""Many inside and outside labels of one solid, cheaply (host, numpy).

A winding number changes only where the surface is. So the solid's box is cut into
cells, those that a triangle may meet are marked, and all others that hang together
share one label: one query each. Only points in marked cells, a few in a hundred, are
asked one by one. The labels are those of `chain.contains`.

Shape letters: f triangles, n points.
"""

from collections.abc import Callable, Iterator

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import ndimage

from data_prep.watertight import winding
from occnet_jax.geometry.solids import Solid

Contains = Callable[[np.ndarray], np.ndarray]  # (n, 3) points -> (n,) whether inside

_OUTSIDE, _INSIDE, _MARKED = 0, 1, 2
_MARGIN = 1e-6  # of a cell: rounding must not lose a cell that a triangle touches
_BLOCK = 65_536  # triangles split at a time, to bound the memory


def make_inside_test(solid: Solid, *, side: int = 32) -> Contains:
  """A function of points (n, 3) that says which are inside, as `chain.contains` does.

  It pays from a few thousand points on: 100,000 uniform ones take about a third of the
  time, that of cutting the box included.

  Args:
    solid: what to label.
    side: cells along the longest side of its box.
  """
  lower, upper = solid.vertices.min(0), solid.vertices.max(0)
  cell = (upper - lower).max() / side
  shape = np.floor((upper - lower) / cell).astype(int) + 1
  marked = voxels_touched((solid.vertices[solid.faces] - lower) / cell, shape)
  region, count = ndimage.label(~marked)
  number, first = np.unique(region, return_index=True)
  cells = np.stack(np.unravel_index(first[number > 0], shape), axis=1)
  centres = lower + (cells + 0.5) * cell
  kinds = np.full(count + 1, _MARKED, np.int8)
  kinds[1:] = np.where(winding.contains(solid, centres), _INSIDE, _OUTSIDE)
  grid = kinds[region]

  def contains(points: Float[np.ndarray, "n 3"]) -> Bool[np.ndarray, "n"]:
    winding.check_finite(points)
    inside = np.zeros(len(points), bool)
    boxed = np.flatnonzero(((points >= lower) & (points <= upper)).all(1))
    index = np.floor((points[boxed] - lower) / cell).astype(int).clip(0, shape - 1)
    kind = grid[tuple(index.T)]
    inside[boxed] = kind == _INSIDE
    asked = boxed[kind == _MARKED]
    inside[asked] = winding.winding_number(solid, points[asked]) > 0.5
    return inside

  return contains


def voxels_touched(
  triangles: Float[np.ndarray, "f 3 3"], shape: Int[np.ndarray, "3"]
) -> Bool[np.ndarray, "x y z"]:
  """Which cells of a grid triangles may meet: all that they do, and few others.

  Args:
    triangles: in cells; cell (i, j, k) is [i, i + 1] x [j, j + 1] x [k, k + 1].
    shape: cells along each axis; what is beyond counts for the last.
  """
  met = np.zeros(shape, bool)
  for pieces in _split(triangles):
    # A piece of at most one cell's extent meets at most two cells along an axis.
    ends = (pieces.min(1) - _MARGIN, pieces.max(1) + _MARGIN)
    ends = [np.floor(end).astype(int).clip(0, shape - 1) for end in ends]
    for corner in np.ndindex(2, 2, 2):
      met[tuple(ends[high][:, axis] for axis, high in enumerate(corner))] = True
  return met


def _split(
  triangles: Float[np.ndarray, "f 3 3"],
) -> Iterator[Float[np.ndarray, "_ 3 3"]]:
  """Yields pieces that cover the triangles, each of extent at most 1 along every axis.

  The longest edge is halved until that holds; the last pieces wait least, so that few
  are held at once.
  """
  waiting = [triangles]
  while waiting:
    block = waiting.pop()
    if len(block) > _BLOCK:
      waiting.append(block[_BLOCK:])
      block = block[:_BLOCK]
    edges = np.abs(np.roll(block, -1, axis=1) - block).max(2)  # i: from corner i
    small = edges.max(1) <= 1
    yield block[small]
    block, longest = block[~small], edges[~small].argmax(1)
    if len(block):
      rows = np.arange(len(block))
      a, b, c = (block[rows, (longest + k) % 3] for k in range(3))
      middle = (a + b) / 2
      waiting.append(
        np.concatenate([np.stack([a, middle, c], 1), np.stack([middle, b, c], 1)])
      )
