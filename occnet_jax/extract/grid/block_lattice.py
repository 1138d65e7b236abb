"""A sparse lattice in blocks, whose values are averages, and its surface (host).

Blocks of s^3 points tile space without end; those to which values were added exist.
Where the windows of a scene overlap, each adds its values with a weight. Along an axis,
with s = 4 and arrays of q = 5 points, the last point of one is the first of the next:

  block        |    0      |    1      |
  point         0  1  2  3  4  5  6  7
  array 0       o  o  o  o  o
  array 1                   o  o  o  o  o

Points without a value are outside, so the surface is closed where values end.

Vertices lie at the root of the polynomial through the four values on the line of an
edge; no value is asked for a second time, because the windows are gone by then.

Shape letters: s points a side of a block, q of an array, m cells, e edges, v vertices,
f faces.
"""

import itertools
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32, Int

from occnet_jax.extract.grid import edge_roots
from occnet_jax.extract.grid.active_cells import (
  ALONG,
  OUTSIDE,
  CellPart,
  collect_crossings,
  mixed,
)
from occnet_jax.extract.grid.marching_cubes import (
  Faces,
  Vertices,
  place_vertices,
  triangulate,
)
from occnet_jax.extract.grid.mise import CORNERS
from occnet_jax.geometry.grids import to_keys

POINT_BYTES = 12  # a sum, a weight and their quotient
MAX_SIDE = 2_000_000  # points a side of the box of all blocks, for keys of 64 bits

Block = tuple[int, int, int]


class Surface(NamedTuple):
  """Attributes:
  vertices: (v, 3) in units of the lattice.
  faces: (f, 3), outward.
  """

  vertices: Vertices
  faces: Faces


def box_resolution(blocks: Int[np.ndarray, "n 3"], side: int) -> int:
  """Points along the longest side of the box of blocks, with a layer of blocks below.

  Raises:
    ValueError: blocks too far apart to number the points of their box.
  """
  resolution = int((np.ptp(blocks, axis=0).max() + 2) * side)
  if resolution + 3 > MAX_SIDE:
    raise ValueError(
      f"the scene is {resolution} points of the lattice long; want at most "
      f"{MAX_SIDE - 3}: remove stray points far away, or enlarge cell_size"
    )
  return resolution


class BlockLattice:
  """Weighted sums of values at the points of a lattice.

  Attributes:
    side: s, at least 2.
    blocks: sums and weights (2, s, s, s) of each block that exists.
  """

  def __init__(self, side: int):
    self.side = side
    self.blocks: dict[Block, Float32[np.ndarray, "2 s s s"]] = {}

  def add(
    self,
    block: Block,
    values: Float[np.ndarray, "q q q"],
    weights: Float[np.ndarray, "q q q"],
  ) -> None:
    """Adds values from the first point of a block on, q in s .. 2 s along each axis."""
    both, side = np.stack([weights * values, weights]).astype(np.float32), self.side
    extent = len(values)
    for offset in itertools.product((0, 1), repeat=3):
      if any(offset) and extent == side:
        continue
      source = tuple(slice(o * side, min((o + 1) * side, extent)) for o in offset)
      target = tuple(slice(0, part.stop - part.start) for part in source)
      name = tuple(int(b) + o for b, o in zip(block, offset, strict=True))
      empty = np.zeros((2, side, side, side), np.float32)
      self.blocks.setdefault(name, empty)[(slice(None), *target)] += both[:, *source]

  def averages(self) -> dict[Block, Float32[np.ndarray, "s s s"]]:
    """The values of each block, `OUTSIDE` where nothing was added."""
    with np.errstate(invalid="ignore"):  # 0 / 0 where nothing was added
      return {
        block: np.where(both[1] > 0, both[0] / both[1], np.float32(OUTSIDE))
        for block, both in self.blocks.items()
      }

  def surface(self, level: float) -> Surface:
    """The closed surface where the averages cross the level.

    Raises:
      ValueError: blocks too far apart to number the points of their box.
    """
    blocks = np.array(list(self.blocks)).reshape(-1, 3)
    resolution = box_resolution(blocks, self.side)
    # A cell belongs to the block of its lowest corner; the block of another of its
    # corners may be the only one that exists.
    owners = {tuple(map(int, b - c)) for b in blocks for c in CORNERS}
    lowest = (blocks.min(0) - 1) * self.side
    averages = self.averages()
    cells: list[CellPart] = []
    edges, edge_params = [], []
    for block in sorted(owners):
      origin = np.array(block) * self.side - lowest + 1  # 1 for the layer around a grid
      part, own_edges, own_params = _cross(
        _with_neighbours(averages, block, self.side), origin, resolution + 3, level
      )
      cells.append(part)
      edges.append(own_edges)
      edge_params.append(own_params)
    crossings = collect_crossings(cells, resolution, level)
    order = np.argsort(np.concatenate(edges))  # those of `crossings`, which ascend
    vertices = place_vertices(crossings, np.concatenate(edge_params)[order])
    return Surface(vertices + lowest, triangulate(crossings))


def _cross(
  values: Float32[np.ndarray, "_ _ _"],
  origin: Int[np.ndarray, "3"],
  key_side: int,
  level: float,
) -> tuple[CellPart, Int[np.ndarray, " e"], Float[np.ndarray, " e"]]:
  """The crossed cells of a block, the edges that they own, and the roots on these.

  Args:
    values: of the block's points and those around, by `_with_neighbours`.
    origin: index of the block's first point in the box of all blocks.
    key_side: points a side of that box.
    level: value at the surface.
  """
  above, side = values > level, len(values) - 3
  count = np.zeros((side,) * 3, np.uint8)
  for corner in CORNERS:  # + 1: `values` begins a point before the block
    count += above[tuple(slice(1 + c, 1 + c + side) for c in corner)]
  cells = np.argwhere((count > 0) & (count < 8))
  rows = cells + 1
  corners = values[tuple(np.moveaxis(rows[:, None] + CORNERS, -1, 0))]
  keys = to_keys(cells + origin, key_side)
  crossed = (corners[:, :1] > level) != (corners[:, ALONG] > level)
  cell, axis = np.nonzero(crossed)
  steps = np.eye(3, dtype=int)[axis]

  def along(step: int) -> Float[np.ndarray, " e"]:
    return values[tuple((rows[cell] + step * steps).T)].astype(np.float64)

  params = _roots(*(along(step) for step in (-1, 0, 1, 2)), level)
  return mixed(keys, corners, level), 3 * keys[cell] + axis, params


def _with_neighbours(
  averages: dict[Block, Float32[np.ndarray, "s s s"]], block: Block, side: int
) -> Float32[np.ndarray, "_ _ _"]:
  """The points of a block, one more before and two after along each axis."""
  around = np.full((side + 3,) * 3, OUTSIDE, np.float32)
  # Slices of a neighbour's points and of `around`, by the neighbour's direction.
  pairs = {
    -1: (slice(side - 1, side), slice(0, 1)),
    0: (slice(0, side), slice(1, side + 1)),
    1: (slice(0, 2), slice(side + 1, side + 3)),
  }
  for direction in itertools.product(pairs, repeat=3):
    name = tuple(b + d for b, d in zip(block, direction, strict=True))
    if name in averages:
      source, target = zip(*(pairs[d] for d in direction), strict=True)
      around[target] = averages[name][source]
  return around


def _roots(
  before: Float[np.ndarray, " e"],
  low: Float[np.ndarray, " e"],
  high: Float[np.ndarray, " e"],
  after: Float[np.ndarray, " e"],
  level: float,
) -> Float[np.ndarray, " e"]:
  """Parameters of the vertices on edges, from values one step before to one after."""
  before, after = (np.where(v > OUTSIDE, v - level, np.nan) for v in (before, after))
  ends = np.stack([low, high], axis=1)
  within = (ends > OUTSIDE).all(1)
  # Where values end the surface is at the last point inside.
  params = (low < high).astype(np.float64)
  params[within] = edge_roots.polynomial_roots(
    before[within], ends[within] - level, after[within]
  )
  return np.clip(params, edge_roots.END_MARGIN, 1 - edge_roots.END_MARGIN)
