"""Crossed edges and the triangles of marching cubes, by tables over the grid (device).

`grid.active_cells` draws the cell, numbers its corners and edges, and explains the
layer of outside around the grid: its point i is the lattice's i + 1. Vertices and
triangles have the same order as there and in `grid.marching_cubes`.

Shape letters: g points a side of the grid, l = g + 2 of the lattice, c = l - 1 cells a
side, e crossed edges, k crossed cells, f triangles.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from occnet_jax.extract.device.lists import Count, is_entry, positions_of
from occnet_jax.extract.device.octree import unravel
from occnet_jax.extract.grid.active_cells import OUTSIDE
from occnet_jax.extract.grid.marching_cubes import EDGES, cube_table
from occnet_jax.extract.grid.mise import CORNERS


class EdgeList(NamedTuple):
  """The edges that the surface crosses, in ascending order of 3 * key + axis.

  Attributes:
    points: (e, 3) grid indices of the lower ends, -1 in the layer around.
    axes: (e,) their axes.
    ends: (e, 2) values at the lower and upper ends, `OUTSIDE` in the layer.
    count: number of entries.
  """

  points: Int[Array, "e 3"]
  axes: Int[Array, " e"]
  ends: Float[Array, "e 2"]
  count: Count


class TriangleList(NamedTuple):
  """The triangles of marching cubes.

  Attributes:
    corners: (f, 3) numbers of crossed edges; padding is 0.
    count: number of entries.
    cells: number of crossed cells.
  """

  corners: Int[Array, "f 3"]
  count: Count
  cells: Count


def find_edges(
  values: Float[Array, "g g g"], level: Float[Array, ""], size: int
) -> tuple[EdgeList, TriangleList]:
  """Lists the crossed edges, and the triangles between them.

  Args:
    values: values at all points of the grid.
    level: value at the surface.
    size: length of the list of edges and of that of cells; there is room for twice as
      many triangles, as many as a closed surface has.
  """
  lattice = jnp.pad(values, 1, constant_values=OUTSIDE)
  side = len(lattice)
  inside = lattice > level
  # An edge beyond the last point would end where it starts, so it is not crossed.
  crossed = [inside != shift(inside, axis) for axis in range(3)]
  crossed = jnp.stack(crossed, -1)
  keys, count = positions_of(crossed, size)
  # Padding lies beyond the lattice; its last edge stands for it.
  owners, axes = jnp.divmod(jnp.minimum(keys, crossed.size - 1), 3)
  upper = owners + jnp.array([side * side, side, 1])[axes]
  flat = lattice.ravel()
  ends = jnp.stack([flat[owners], flat[upper]], axis=1)
  edges = EdgeList(unravel(owners, side) - 1, axes, ends, count)
  return edges, list_triangles(inside, crossed, size)


def shift(inside: Bool[Array, "l l l"], axis: int) -> Bool[Array, "l l l"]:
  """The table of the next points along an axis; the last ones stand for themselves."""
  last = inside.take(jnp.array([-1]), axis)
  return jnp.concatenate([inside.take(jnp.arange(1, len(inside)), axis), last], axis)


def list_triangles(
  inside: Bool[Array, "l l l"], crossed: Bool[Array, "l l l 3"], size: int
) -> TriangleList:
  """The triangles of all crossed cells, by libigl's table."""
  table, side = cube_table(), len(inside)
  configs = jnp.zeros((side - 1,) * 3, jnp.int32)
  for corner, (x, y, z) in enumerate(CORNERS.tolist()):
    at_corner = inside[x : side - 1 + x, y : side - 1 + y, z : side - 1 + z]
    configs += at_corner.astype(jnp.int32) << corner
  positions, cells = positions_of((configs > 0) & (configs < 255), size)
  lowest = unravel(jnp.minimum(positions, configs.size - 1), side - 1)
  configs = configs.ravel()[jnp.minimum(positions, configs.size - 1)]
  # An edge is owned by its lower end. The number of crossed edges of all points before
  # this one, and of this one's axes before this axis, is the number of the edge.
  number = jnp.cumsum(crossed.ravel(), dtype=jnp.int32) - crossed.ravel()
  corners, axes = np.array(EDGES).T
  strides = np.array([side * side, side, 1])
  keys = (lowest * strides[None]).sum(1)[:, None] + (CORNERS @ strides)[corners][None]
  numbers = number[3 * keys + axes[None]]  # (k, 12); any number where it is not crossed
  triangle_count = jnp.asarray(table.triangle_count)[configs]
  triangle_count = jnp.where(is_entry(size, cells), triangle_count, 0)
  used = jnp.arange(5)[None] < triangle_count[:, None]
  rows, count = positions_of(used, 2 * size)
  cell, slot = jnp.divmod(jnp.minimum(rows, used.size - 1), 5)
  # From a cell's own edge numbers, 0 to 11, to those of all crossed edges.
  local = jnp.asarray(table.triangles)[configs[cell], slot]
  triangles = jnp.where(
    is_entry(2 * size, count)[:, None], numbers[cell[:, None], local], 0
  )
  return TriangleList(triangles, count, cells)
