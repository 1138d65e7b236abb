"""Multiresolution isosurface extraction (MISE) as a compiled program (device).

The rule is that of `grid.mise`, which explains it: a voxel with known points of both
signs in its closed cube is split in eight, until none is left. There the host keeps
sorted keys. Here tables over the finest grid are cheaper, as a device reads all of one
in less time than it takes to sort a few keys, and the rule becomes three passes:

  signs of the voxels of size 2:   or over windows of 3^3 points, 2 apart
  signs of the voxels of size 2s:  or over the 2^3 voxels of size s
  points of the split voxels:      or of the voxels that each point touches

The points that are wanted and not known go to the field as a list, in batches. A list
that is too short takes one more round, with the same points in the end, because signs
only accumulate.

Shape letters: r cells a side, g = r + 1 points a side, k points of a list.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int, Shaped, UInt8

from occnet_jax.extract.device.lists import Count, positions_of
from occnet_jax.extract.grid.mise import ABOVE, BELOW, BOTH
from occnet_jax.geometry.grids import grid_indices

EvaluateList = Callable[[Shaped[Array, "k 3"], Count], Float[Array, " k"]]
SplitRule = Callable[[Float[Array, "r r r"]], Bool[Array, "s s s"]]


class Table(NamedTuple):
  """A field, known at some points of the finest grid.

  Attributes:
    values: (g, g, g) float32, 0 where not known.
    signs: (g, g, g) `ABOVE`, `BELOW` or, at the level, `BOTH`; 0 where not known.
  """

  values: Float[Array, "g g g"]
  signs: UInt8[Array, "g g g"]


def sample_surface(
  evaluate: EvaluateList,
  cells: int,
  steps: int,
  level: Float[Array, ""],
  *,
  split_rule: SplitRule | None,
  size: int,
) -> Table:
  """Evaluates a field on a coarse grid and, level by level, where its surface passes.

  Args:
    evaluate: grid indices (k, 3), and the number of them that count, -> values (k,).
    cells: voxels a side of the coarse grid.
    steps: number of times that a voxel can be halved.
    level: value at the surface.
    split_rule: as of `grid.mise.sample_surface`.
    size: number of points that are evaluated in one round.
  """
  stride = 2**steps
  side = cells * stride + 1
  points = jnp.asarray(grid_indices(cells + 1, stride), jnp.int32)
  coarse = evaluate(points, jnp.int32(len(points))).reshape((cells + 1,) * 3)
  signs = signs_of(coarse, level)
  if not steps:
    return Table(coarse, signs)
  forced = jnp.zeros((cells,) * 3, bool)
  if split_rule is not None:
    forced = split_rule(coarse - level)
  table = Table(spread(coarse, stride), spread(signs, stride))

  def any_wanted(state: tuple[Table, Bool[Array, "g g g"]]) -> Bool[Array, ""]:
    return state[1].any()

  def evaluate_round(state: tuple[Table, Bool[Array, "g g g"]]):
    table, wanted = state
    keys, count = positions_of(wanted, size)
    values = evaluate(unravel(keys, side), count)
    # Padding lies beyond the table, so "drop" leaves it out.
    table = Table(
      set_flat(table.values, keys, values),
      set_flat(table.signs, keys, signs_of(values, level)),
    )
    return table, points_to_evaluate(table.signs, forced, steps)

  wanted = points_to_evaluate(table.signs, forced, steps)
  return lax.while_loop(any_wanted, evaluate_round, (table, wanted))[0]


def signs_of(
  values: Float[Array, "..."], level: Float[Array, ""]
) -> UInt8[Array, "..."]:
  """The sides of the level on which values lie, as bits.

  NaN counts as above, so that no point stays unknown for ever.
  """
  above, below = ~(values < level), values <= level
  return (ABOVE * above + BELOW * below).astype(jnp.uint8)


def points_to_evaluate(
  signs: UInt8[Array, "g g g"], forced: Bool[Array, "s s s"], steps: int
) -> Bool[Array, "g g g"]:
  """The points of the active voxels of every size that are not known.

  Args:
    signs: signs of the points of the finest grid.
    forced: the coarsest voxels that are split whatever their signs.
    steps: number of sizes above 1.
  """
  wanted = jnp.zeros(signs.shape, bool)
  voxels = signs
  for depth in range(1, steps + 1):
    for axis in range(3):
      voxels = merge_windows(voxels, axis) if depth == 1 else merge_pairs(voxels, axis)
    active = voxels == BOTH
    if depth == steps:
      active |= forced
    for axis in range(3):
      active = touched_points(active, axis)  # of half the voxel's size, 3 an axis
    wanted |= spread(active, 2 ** (depth - 1))
  return wanted & (signs == 0)


def merge_windows(signs: UInt8[Array, "..."], axis: int) -> UInt8[Array, "..."]:
  """Or of the three points 2i, 2i + 1, 2i + 2 of closed voxel i along an axis."""
  low = lax.slice_in_dim(signs, 0, -2, 2, axis)
  middle = lax.slice_in_dim(signs, 1, -1, 2, axis)
  return low | middle | lax.slice_in_dim(signs, 2, None, 2, axis)


def merge_pairs(signs: UInt8[Array, "..."], axis: int) -> UInt8[Array, "..."]:
  """Or of the two children 2i and 2i + 1 of voxel i along an axis."""
  lower = lax.slice_in_dim(signs, 0, None, 2, axis)
  return lower | lax.slice_in_dim(signs, 1, None, 2, axis)


def touched_points(voxels: Bool[Array, "..."], axis: int) -> Bool[Array, "..."]:
  """Whether points half a voxel apart along an axis lie in a voxel that is set.

  Point 2i + 1 is the middle of voxel i; point 2i lies between voxels i - 1 and i.
  """
  no = jnp.zeros_like(lax.slice_in_dim(voxels, 0, 1, axis=axis))
  after = jnp.concatenate([voxels, no], axis)
  between = after | jnp.concatenate([no, voxels], axis)
  points = jnp.stack([between, after], axis + 1)  # 2i, 2i + 1
  shape = list(voxels.shape)
  shape[axis] = 2 * (shape[axis] + 1)
  # The last one, the middle of a voxel beyond the grid, goes.
  return lax.slice_in_dim(points.reshape(shape), 0, -1, axis=axis)


def spread(table: Array, stride: int) -> Array:
  """A table of the points `stride` apart in one of the finest grid, 0 elsewhere."""
  # Padding between the entries: stride - 1 zeros.
  return lax.pad(table, jnp.zeros((), table.dtype), [(0, 0, stride - 1)] * 3)


def unravel(keys: Int[Array, " k"], side: int) -> Int[Array, "k 3"]:
  """Indices of the points with these keys in a grid of side^3 points."""
  rows, z = jnp.divmod(keys, side)
  x, y = jnp.divmod(rows, side)
  return jnp.stack([x, y, z], axis=1)


def set_flat(table: Array, keys: Int[Array, " k"], entries: Array) -> Array:
  """A table with entries set at the keys that lie within."""
  return table.ravel().at[keys].set(entries, mode="drop").reshape(table.shape)


def fill_unknown(table: Table, cells: int, steps: int) -> Float[Array, "g g g"]:
  """Values at all points: those of unsplit voxels are on the side of their voxel.

  A point that is not known lies in a voxel whose known points agree. It gets the value
  of the voxel's lowest corner, from the coarsest grid down.
  """
  stride = 2**steps
  filled = table.values[::stride, ::stride, ::stride]
  while stride > 1:
    stride //= 2
    for axis in range(3):  # point i of the finer grid has its corner at i // 2
      filled = jnp.repeat(filled, 2, axis)
      filled = lax.slice_in_dim(filled, 0, -1, axis=axis)
    known = table.signs[::stride, ::stride, ::stride] > 0
    filled = jnp.where(known, table.values[::stride, ::stride, ::stride], filled)
  return filled
