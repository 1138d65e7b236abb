"""The cells and edges of a grid where a sampled field crosses the level (host).

The grid is wrapped in one layer of outside, as by the reference, so that the surface is
closed even where the object leaves the cube: the lattice has resolution + 3 points a
side, and its point i is the grid's i - 1. A cell is known by its lowest corner, an edge
by its lower end and its axis; keys are those of the lattice.

Only cells that the surface crosses are kept, so memory grows with the surface. What the
octree did not split lies on one side; where it lies inside and on a face of the cube,
that face is the surface.

Shape letters: m cells, e edges, n points, v voxels.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, UInt8

from occnet_jax.extract.grid.mise import (
  CHUNK,
  SIDES,
  STENCIL,
  Keys,
  Samples,
  contains,
  search_sorted,
  sorted_unique,
)
from occnet_jax.geometry.grids import from_keys, grid_indices, to_keys

OUTSIDE = -1e6  # of the layer around the grid; so low that borders stay in place
CELL_BYTES = 500  # at most, measured: of a cell, its edges and triangles, on the way
BITS = 1 << np.arange(8)  # of the corners in a cell's configuration, as SIDES has them
ALONG = (4, 2, 1)  # the corner at the other end of the edge along x, y, z from corner 0
# Which points of the stencil of a voxel of size 2 are the corners of its children.
CHILDREN = to_keys((SIDES[:, None] + SIDES).reshape(-1, 3), 3).reshape(8, 8)


class Crossings(NamedTuple):
  """Where the surface is.

  Attributes:
    resolution: cells a side of the grid.
    cells: (m,) ascending keys of the crossed cells.
    configs: (m,) the corners inside: bit k for the corner SIDES[k].
    first: (m,) how many edges belong to the cells before; a cell owns those of its
      crossed edges that start at its lowest corner.
    edges: (e,) 3 * key + axis of the crossed edges, ascending.
    ends: (e, 2) float32 values at their lower and upper ends, `OUTSIDE` in the layer.
  """

  resolution: int
  cells: Int[np.ndarray, " m"]
  configs: UInt8[np.ndarray, " m"]
  first: Int[np.ndarray, " m"]
  edges: Int[np.ndarray, " e"]
  ends: Float[np.ndarray, "e 2"]


def find_crossings(
  samples: Samples, level: float, reserve: Callable[[int], None] | None = None
) -> Crossings:
  """The cells with corners above the level and at it or below.

  Args:
    samples: as the octree left them.
    level: value at the surface.
    reserve: called with the bytes needed before they are; raises if these are too many.
  """
  if reserve:  # about four of the eight children of a split voxel are crossed
    voxels = len(samples.split[-1]) if samples.split else samples.resolution**3
    reserve(12 * len(samples.keys) + CELL_BYTES * 4 * voxels)
  parts = [*inner_cells(samples, level), border_cells(samples, level, reserve)]
  cells, configs, values = (np.concatenate(part) for part in zip(*parts, strict=True))
  order = np.argsort(cells)
  cells, configs, values = cells[order], configs[order], values[order]
  crossed = (values[:, :1] > level) != (values[:, 1:] > level)
  first = np.cumsum(crossed.sum(1))
  rows, axes = np.nonzero(crossed)
  ends = np.stack([values[rows, 0], values[rows, 1 + axes]], axis=1)
  first = np.concatenate([[0], first[:-1]])[: len(cells)]
  edges = 3 * cells[rows] + axes
  return Crossings(samples.resolution, cells, configs, first, edges, ends)


CellPart = tuple[
  Int[np.ndarray, " m"], UInt8[np.ndarray, " m"], Float[np.ndarray, "m 4"]
]  # keys, configurations, and values at the lowest corner and its three neighbours


def inner_cells(samples: Samples, level: float) -> list[CellPart]:
  """The crossed cells within the grid: their corners are all known."""
  resolution, side = samples.resolution, samples.resolution + 3
  if samples.split:  # all mixed cells are children of the smallest split voxels
    voxels, size, stencil, children = samples.split[-1], 2, STENCIL, CHILDREN
  else:
    voxels, size, stencil = np.arange(resolution**3), 1, SIDES
    children = np.arange(8)[None]
  offsets = to_keys(stencil, resolution + 1)
  parts = []
  for start in range(0, len(voxels), CHUNK // 8):
    corners = size * from_keys(voxels[start : start + CHUNK // 8], resolution // size)
    places = search_sorted(
      samples.keys, to_keys(corners, resolution + 1)[:, None] + offsets
    )
    values = samples.values[places][:, children]
    lowest = corners[:, None] + stencil[children[:, 0]] + 1
    keys = to_keys(lowest.reshape(-1, 3), side)
    parts.append(mixed(keys, values.reshape(-1, 8), level))
  return parts


def border_cells(
  samples: Samples, level: float, reserve: Callable[[int], None] | None
) -> CellPart:
  """The crossed cells of the layer around the grid."""
  resolution, side = samples.resolution, samples.resolution + 3
  keys, values = border_points(samples, level, reserve)
  cells = from_keys(keys[values > level], side)[:, None] - SIDES
  cells = cells.reshape(-1, 3)
  cells = cells[((cells == 0) | (cells == resolution + 1)).any(1)]
  cells = sorted_unique(to_keys(cells, side))
  places = search_sorted(keys, cells[:, None] + to_keys(SIDES, side))
  around = np.float32(OUTSIDE)
  values = np.concatenate([values, [around]]).astype(np.float32)  # -1 finds the last
  return mixed(cells, values[places], level)


def mixed(cells: Keys, values: Float[np.ndarray, "n 8"], level: float) -> CellPart:
  """Those of the cells that have corners on both sides."""
  configs = ((values > level) @ BITS).astype(np.uint8)
  crossed = (configs > 0) & (configs < 255)
  return cells[crossed], configs[crossed], values[crossed][:, [0, *ALONG]]


def border_points(
  samples: Samples, level: float, reserve: Callable[[int], None] | None
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
  filled = []
  for size, corners in border_leaves(samples):
    inner = samples.values[
      search_sorted(samples.keys, to_keys(corners, resolution + 1))
    ]
    corners, inner = corners[inner > level], inner[inner > level]
    for axis in range(3):
      for place in (0, resolution):
        on = corners[:, axis] + size * (place > 0) == place
        filled.append((size, axis, place, corners[on], inner[on]))
  count = sum(len(found) * (size + 1) ** 2 for size, _, _, found, _ in filled)
  if reserve:
    reserve(CELL_BYTES * count)
  known = np.concatenate(keys)  # ascending, as the grid's keys are
  for size, axis, place, corners, inner in filled:
    points = corners[:, None] + np.roll(face_indices(size + 1), axis, axis=1)
    points[:, :, axis] = place
    fresh = to_keys(points.reshape(-1, 3) + 1, side)
    unknown = ~contains(known, fresh)
    keys.append(fresh[unknown])
    values.append(np.repeat(inner, (size + 1) ** 2)[unknown])
  found, first = np.unique(np.concatenate(keys), return_index=True)
  return found, np.concatenate(values)[first]


def border_leaves(samples: Samples) -> list[tuple[int, Int[np.ndarray, "v 3"]]]:
  """Sizes above 1 and lowest corners of the unsplit voxels at the cube's faces."""
  leaves = []
  for depth, split in enumerate(samples.split):
    size = 2 ** (len(samples.split) - depth)
    side = samples.resolution // size
    if depth:
      parents = from_keys(samples.split[depth - 1], side // 2)
      voxels = (2 * parents[:, None] + SIDES).reshape(-1, 3)
    else:
      voxels = grid_indices(side)
    voxels = voxels[((voxels == 0) | (voxels == side - 1)).any(1)]
    leaves.append((size, size * voxels[~contains(split, to_keys(voxels, side))]))
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
