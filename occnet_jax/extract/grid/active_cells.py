"""The cells and edges of a grid where a sampled field crosses the level (host).

The grid is wrapped in one layer of outside, as by the reference, so that the surface is
closed even where the object leaves the cube: the lattice has resolution + 3 points a
side, and its point i is the grid's i - 1. A cell is known by its lowest corner, an edge
by its lower end and its axis; keys are those of the lattice.

A cell, its corners 0-7 and its edges e0-e11, as everywhere in this package:

              3 -------- e3 -------- 7
             /|                     /|
           e5 |                   e7 |              z
           /  e9                  /  e11            |   y
          1 -------- e1 -------- 5   |              |  /
          |   |                  |   |              | /
          |   2 -------- e2 -----|-- 6              0 ------ x
          e8 /                 e10  /
          | e4                   | e6
          |/                     |/
          0 -------- e0 -------- 4

Corner k lies at `CORNERS[k]` = (x, y, z) with k = 4x + 2y + z, so the next corner along
x, y or z is `ALONG` = 4, 2 or 1 further. Edges are numbered by axis, then by their
lower corner (`marching_cubes.EDGES`). The lowest corner is 0, and a cell owns the three
edges that start there: e0, e4 and e8.

Only cells that the surface crosses are kept, so memory grows with the surface. A voxel
that the octree did not split lies on one side; where it lies inside and on a face of
the cube, that face is the surface.

Shape letters: m cells, e edges, n points, v voxels.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, UInt8

from occnet_jax.extract.grid.key_sets import KeyIndex, Keys, sorted_unique, table_bytes
from occnet_jax.extract.grid.mise import (
  CHUNK,
  CORNERS,
  STENCIL,
  CheckBudget,
  Samples,
)
from occnet_jax.geometry.grids import from_keys, grid_indices, to_keys

OUTSIDE = -1e6  # value of the layer around the grid; so low that borders stay in place
CELL_BYTES = 500  # at most, measured: of a cell, its edges and triangles, on the way
BITS = 1 << np.arange(8)  # bit k of a cell's configuration is set if corner k is inside
ALONG = (4, 2, 1)  # from a corner's number to that of the next corner along x, y, z
# CHILDREN[c, k]: the point of the stencil of a voxel of size 2 (3 points a side) that
# is corner k of its child c.
CHILDREN = to_keys((CORNERS[:, None] + CORNERS).reshape(-1, 3), 3).reshape(8, 8)


class Crossings(NamedTuple):
  """The cells and edges that the surface crosses.

  Attributes:
    resolution: cells a side of the grid.
    cells: (m,) ascending keys of the crossed cells.
    configs: (m,) configurations: bit k is set if corner k is inside.
    edge_offset: (m,) position in `edges` of the first edge that a cell owns; it owns
      those of its crossed edges that start at its lowest corner.
    edges: (e,) 3 * key + axis of the crossed edges, ascending.
    ends: (e, 2) float32 values at their lower and upper ends, `OUTSIDE` in the layer.
  """

  resolution: int
  cells: Int[np.ndarray, " m"]
  configs: UInt8[np.ndarray, " m"]
  edge_offset: Int[np.ndarray, " m"]
  edges: Int[np.ndarray, " e"]
  ends: Float[np.ndarray, "e 2"]

  def cell_index(self) -> KeyIndex:
    """Positions of the crossed cells by their keys."""
    return KeyIndex(self.cells, (self.resolution + 3) ** 3)


def find_crossings(
  samples: Samples, level: float, check_budget: CheckBudget | None = None
) -> Crossings:
  """Finds the cells with corners above the level and at it or below.

  Args:
    samples: the samples of the octree.
    level: value at the surface.
    check_budget: called with the number of bytes before they are allocated; raises if
      there are too many.
  """
  if check_budget:  # about four of the eight children of a split voxel are crossed
    voxels = len(samples.split[-1]) if samples.split else samples.resolution**3
    tables = table_bytes((samples.resolution + 3) ** 3)
    check_budget(tables + 12 * len(samples.keys) + CELL_BYTES * 4 * voxels)
  parts = [*inner_cells(samples, level), border_cells(samples, level, check_budget)]
  return collect_crossings(parts, samples.resolution, level)


CellPart = tuple[
  Int[np.ndarray, " m"], UInt8[np.ndarray, " m"], Float[np.ndarray, "m 4"]
]  # keys, configurations, and values at the lowest corner and its three neighbours


def collect_crossings(parts: list[tuple], resolution: int, level: float) -> Crossings:
  """The crossings of all parts of a grid, each a `CellPart`, which share no cell."""
  cells, configs, values = (np.concatenate(part) for part in zip(*parts, strict=True))
  order = np.argsort(cells)
  cells, configs, values = cells[order], configs[order], values[order]
  # Column 0 of the values is corner 0, columns 1 to 3 are its neighbours along x, y, z:
  # the three edges that the cell owns. Every crossed edge is owned by exactly one cell,
  # for its lower end is the lowest corner of one, and that cell is crossed as well.
  crossed = (values[:, :1] > level) != (values[:, 1:] > level)
  # Row by row, nonzero lists the owned edges in the order of the cells. The cumulative
  # sum is the position after a cell's last edge, which is that of the next cell's
  # first.
  edge_end = np.cumsum(crossed.sum(1))
  edge_offset = np.concatenate([[0], edge_end[:-1]])[: len(cells)]
  rows, axes = np.nonzero(crossed)
  ends = np.stack([values[rows, 0], values[rows, 1 + axes]], axis=1)
  # Cells and axes ascend, so these keys do too.
  edges = 3 * cells[rows] + axes
  return Crossings(resolution, cells, configs, edge_offset, edges, ends)


def inner_cells(samples: Samples, level: float) -> list[CellPart]:
  """The crossed cells within the grid: all their corners have been evaluated."""
  resolution, side = samples.resolution, samples.resolution + 3
  if samples.split:  # all crossed cells are children of the smallest split voxels
    voxels, size, stencil, children = samples.split[-1], 2, STENCIL, CHILDREN
  else:  # a dense grid: every cell, which is its own only child
    voxels, size, stencil = np.arange(resolution**3), 1, CORNERS
    children = np.arange(8)[None]
  offsets = to_keys(stencil, resolution + 1)
  index, parts = samples.key_index(), []
  for start in range(0, len(voxels), CHUNK // 8):
    corners = size * from_keys(voxels[start : start + CHUNK // 8], resolution // size)
    # Each of the 27 points is looked up once, and shared by up to eight children.
    positions = index.find(to_keys(corners, resolution + 1)[:, None] + offsets)
    values = samples.values[positions][:, children]
    # + 1: the lattice's index of a point of the grid.
    lowest = corners[:, None] + stencil[children[:, 0]] + 1
    keys = to_keys(lowest.reshape(-1, 3), side)
    parts.append(mixed(keys, values.reshape(-1, 8), level))
  return parts


def border_cells(
  samples: Samples, level: float, check_budget: CheckBudget | None
) -> CellPart:
  """The crossed cells of the layer around the grid."""
  resolution, side = samples.resolution, samples.resolution + 3
  keys, values = border_points(samples, level, check_budget)
  # A point is a corner of the eight cells whose lowest corners are the point less one
  # of `CORNERS`. Those in the layer have a lowest corner in its first or last plane.
  cells = from_keys(keys[values > level], side)[:, None] - CORNERS
  cells = cells.reshape(-1, 3)
  cells = cells[((cells == 0) | (cells == resolution + 1)).any(1)]
  cells = sorted_unique(to_keys(cells, side), side**3)
  positions = KeyIndex(keys, side**3).find(cells[:, None] + to_keys(CORNERS, side))
  outside = np.float32(OUTSIDE)
  # Corners in the layer are not among the keys: their position -1 is the appended
  # value.
  values = np.concatenate([values, [outside]]).astype(np.float32)
  return mixed(cells, values[positions], level)


def mixed(cells: Keys, values: Float[np.ndarray, "n 8"], level: float) -> CellPart:
  """Keeps the cells that have corners on both sides."""
  configs = ((values > level) @ BITS).astype(np.uint8)
  crossed = (configs > 0) & (configs < 255)
  return cells[crossed], configs[crossed], values[crossed][:, [0, *ALONG]]


def border_points(
  samples: Samples, level: float, check_budget: CheckBudget | None
) -> tuple[Keys, Float[np.ndarray, " n"]]:
  """Ascending lattice keys and values of the points on the cube's faces.

  All that are known, and those unknown in voxels inside, with the value of a corner.
  """
  resolution, side = samples.resolution, samples.resolution + 3
  keys, values = [np.zeros(0, np.int64)], [np.zeros(0, np.float32)]
  for start in range(0, len(samples.keys), CHUNK):
    part = slice(start, start + CHUNK)
    points = from_keys(samples.keys[part], resolution + 1)
    border = ((points == 0) | (points == resolution)).any(1)
    keys.append(to_keys(points[border] + 1, side))
    values.append(samples.values[part][border])
  faces = list(inside_faces(samples, level))
  if check_budget:
    count = sum(len(corners) * (size + 1) ** 2 for size, _, _, corners, _ in faces)
    check_budget(CELL_BYTES * count)
  known = KeyIndex(np.concatenate(keys), side**3)  # ascending, as the grid's keys are
  for size, axis, plane, corners, inner in faces:
    # All (size + 1)^2 points of the face. `face_indices` has 0 along x; rolling its
    # columns puts that 0 at the axis of the face.
    points = corners[:, None] + np.roll(face_indices(size + 1), axis, axis=1)
    points[:, :, axis] = plane
    filled = to_keys(points.reshape(-1, 3) + 1, side)
    unknown = ~known.contains(filled)
    keys.append(filled[unknown])
    values.append(np.repeat(inner, (size + 1) ** 2)[unknown])
  # Neighbouring faces share points; the first value stands.
  unique_keys, positions = np.unique(np.concatenate(keys), return_index=True)
  return unique_keys, np.concatenate(values)[positions]


def inside_faces(samples: Samples, level: float):
  """Yields the unsplit voxels inside whose faces lie on the cube's.

  For each voxel size, axis and plane of the cube (index 0 or resolution along the
  axis): (size, axis, plane, lowest corners (v, 3), values at them (v,)).
  """
  index = samples.key_index()
  for size, corners in border_leaves(samples):
    positions = index.find(to_keys(corners, samples.resolution + 1))
    inner = samples.values[positions]
    corners, inner = corners[inner > level], inner[inner > level]
    for axis in range(3):
      for plane in (0, samples.resolution):
        # The upper face of a voxel is `size` above its lowest corner.
        on_plane = corners[:, axis] + size * (plane > 0) == plane
        if on_plane.any():  # else a face of size^2 points would be made for nothing
          yield size, axis, plane, corners[on_plane], inner[on_plane]


def border_leaves(samples: Samples) -> list[tuple[int, Int[np.ndarray, "v 3"]]]:
  """Sizes above 1 and lowest corners of the unsplit voxels at the cube's faces."""
  leaves = []
  for depth, split in enumerate(samples.split):
    size = 2 ** (len(samples.split) - depth)
    side = samples.resolution // size
    if depth:  # the voxels of this size are the children of those split before
      parents = from_keys(samples.split[depth - 1], side // 2)
      voxels = (2 * parents[:, None] + CORNERS).reshape(-1, 3)
    else:
      voxels = grid_indices(side)
    voxels = voxels[((voxels == 0) | (voxels == side - 1)).any(1)]
    unsplit = ~KeyIndex(split, side**3).contains(to_keys(voxels, side))
    leaves.append((size, size * voxels[unsplit]))
  return leaves


def face_indices(side: int) -> Int[np.ndarray, "n 3"]:
  """Indices of side^2 points with 0 as the first."""
  rows, columns = np.divmod(np.arange(side**2), side)
  return np.stack([np.zeros_like(rows), rows, columns], axis=1)


def edge_points(
  crossings: Crossings, edges: Int[np.ndarray, " n"]
) -> tuple[Int[np.ndarray, "n 3"], Int[np.ndarray, " n"]]:
  """Grid indices of the lower ends of edges, -1 in the layer around, and their axes."""
  keys, axes = np.divmod(edges, 3)
  return from_keys(keys, crossings.resolution + 3) - 1, axes
