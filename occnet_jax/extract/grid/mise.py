"""Multiresolution isosurface extraction (MISE): which points are evaluated (host).

Paper, section 3.3 and Figure 2; `libmise` of the reference, point for point. A coarse
grid of voxels is refined wherever the surface may pass, so that a fine grid is known
near the surface at a small part of the cost of evaluating all of it.

Grid points have integer indices 0 .. R a side, R = resolution_0 * 2^steps. A voxel of
size s is active if the known points of its closed cube lie on both sides of the level;
a point exactly at the level counts for both. An active voxel larger than 1 is split in
eight, which makes the 3^3 points of its corners, edges, faces and centre known. This
is repeated until no voxel is active.

The closed cube includes points that smaller neighbours put on its faces and edges. Such
a point activates a large voxel all of whose own corners agree; without this rule thin
parts are cut off and the mesh has cracks. Because the union of the closed cubes of
eight children is that of their parent, it is enough to record signs at voxels of size
2.

Everything is kept as ascending integer keys. Above 256 cells a side nothing is an array
over a grid, so memory grows with the surface: `POINT_BYTES` a known point; below,
tables over the grid are faster (`key_sets`). Shape letters: n points of one
round, t known points, v voxels.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped, UInt8

from occnet_jax.extract.grid.key_sets import (
  KeyIndex,
  Keys,
  sorted_unique,
  table_bytes,
  use_table,
)
from occnet_jax.geometry.grids import from_keys, grid_indices, to_keys

CHUNK = 2**17  # points or voxels processed at a time
POINT_BYTES = 80  # at most, measured: 12 that stay, the rest while points are added
ABOVE, BELOW, BOTH = 1, 2, 3  # signs of the known points of a voxel, as bits
STENCIL = grid_indices(3)  # the 27 points of a voxel of size 2, z fastest
CORNERS = grid_indices(2)  # the corners of a voxel, and the children of a split one

Signs = UInt8[np.ndarray, " n"]
Evaluate = Callable[[Shaped[np.ndarray, "n 3"]], Float[np.ndarray, " n"]]
SplitRule = Callable[[Float[np.ndarray, "r r r"]], Bool[np.ndarray, "s s s"]]
CheckBudget = Callable[[int], None]


class Samples(NamedTuple):
  """A field, known at some points of a grid.

  Attributes:
    keys: (t,) ascending keys of the known points in the grid of resolution + 1 points.
    values: (t,) float32.
    resolution: cells a side.
    split: for each voxel size above 1, the largest first, the ascending keys of the
      voxels that were split, in the grid of voxels of that size.
    rounds: number of points evaluated in each round.
  """

  keys: Int[np.ndarray, " t"]
  values: Float[np.ndarray, " t"]
  resolution: int
  split: tuple[Int[np.ndarray, " v"], ...]
  rounds: tuple[int, ...]

  def key_index(self) -> KeyIndex:
    """Positions of the known points by their keys."""
    return KeyIndex(self.keys, (self.resolution + 1) ** 3)


def sample_surface(
  evaluate: Evaluate,
  resolution_0: int,
  steps: int,
  level: float,
  *,
  split_rule: SplitRule | None = None,
  check_budget: CheckBudget | None = None,
) -> Samples:
  """Evaluates a field on a coarse grid and, level by level, where its surface passes.

  Args:
    evaluate: indices (n, 3) in 0 .. resolution -> values (n,), for n up to `CHUNK`.
    resolution_0: voxels a side of the coarse grid, at least 1.
    steps: number of times that a voxel can be halved; 0 gives the coarse grid alone.
    level: value at the surface.
    split_rule: values on the coarse grid, less the level -> the coarse voxels to split
      although all their corners agree.
    check_budget: called with the number of bytes before they are allocated; raises if
      there are too many.
  """
  resolution = resolution_0 * 2**steps
  octree = Octree(resolution_0, steps)
  known, rounds = KnownPoints((resolution + 1) ** 3), []
  tables = table_bytes(known.bound)
  if check_budget:
    check_budget(tables + POINT_BYTES * (resolution_0 + 1) ** 3)
  keys = to_keys(grid_indices(resolution_0 + 1, 2**steps), resolution + 1)
  while len(keys):
    if check_budget:
      check_budget(tables + POINT_BYTES * (len(known.keys) + len(keys)))
    values = np.zeros(len(keys), np.float32)
    for start in range(0, len(keys), CHUNK):
      part = slice(start, start + CHUNK)
      indices = from_keys(keys[part], resolution + 1)
      values[part] = evaluate(indices)
      octree.record_signs(indices, values[part], level)
    if split_rule and not rounds and steps:
      coarse = values.reshape((resolution_0 + 1,) * 3) - np.float32(level)
      octree.force_split(np.flatnonzero(split_rule(coarse)))
    rounds.append(len(keys))
    known.add(keys, values)
    keys = octree.split_active(known)
  return Samples(
    known.keys, known.values, resolution, tuple(octree.split), tuple(rounds)
  )


class KnownPoints:
  """The points that have been evaluated.

  Attributes:
    bound: number of points of the grid.
    keys: their ascending keys in the grid.
    values: their values.
    flags: for each point of the grid whether it is known; None for a large grid.
  """

  def __init__(self, bound: int):
    self.bound = bound
    self.keys, self.values = np.zeros(0, np.int64), np.zeros(0, np.float32)
    # Pages of zeros take no memory before they are written.
    self.flags = np.zeros(bound, bool) if use_table(bound, bound) else None

  def add(self, keys: Keys, values: Float[np.ndarray, " n"]) -> None:
    """Adds points that were not known, by ascending keys."""
    positions = np.searchsorted(self.keys, keys)
    self.keys = np.insert(self.keys, positions, keys)
    self.values = np.insert(self.values, positions, values)
    if self.flags is not None:
      self.flags[keys] = True

  def contains(self, keys: Keys) -> Bool[np.ndarray, " n"]:
    """Whether each point is known."""
    if self.flags is not None:
      return self.flags[keys]
    return KeyIndex(self.keys, self.bound).contains(keys)


class Octree:
  """The voxels that have been split, and the signs of the points known in each.

  Attributes:
    resolution: cells a side of the finest grid.
    split: ascending keys of the split voxels of each size above 1, the largest first.
    signs: of the voxels of size 2 in whose closed cubes points are known, whether one
      of these is at the level or `ABOVE` it, at it or `BELOW` it; as `combine`d
      integers, ascending in each array.
    forced: keys of the coarsest voxels to be split whatever their signs.
  """

  def __init__(self, resolution_0: int, steps: int):
    self.resolution = resolution_0 * 2**steps
    self.split = [np.zeros(0, np.int64) for _ in range(steps)]
    self.signs = []
    self.forced = np.zeros(0, np.int64)

  def force_split(self, keys: Keys) -> None:
    """Forces coarse voxels to split in the next round."""
    self.forced = keys

  def record_signs(
    self, indices: Int[np.ndarray, "n 3"], values: Float[np.ndarray, " n"], level: float
  ) -> None:
    """Adds the signs of points to the closed voxels of size 2 that hold them."""
    if not self.split:
      return
    side = self.resolution // 2
    signs = ABOVE * (values >= level) + BELOW * (values <= level)
    # Along an axis point i lies in the closed voxels (i - 1) // 2 and i // 2. For odd i
    # they are one and the same, and so they are at the cube's two ends, where one of
    # them would lie outside; there `lower` is left out.
    indices = indices.T
    upper = np.minimum(indices // 2, side - 1)
    lower = np.maximum((indices - 1) // 2, 0)
    two = lower < upper
    # Keys are linear in the indices, so each axis adds its part to those of `combine`.
    strides = 4 * np.array([[side * side], [side], [1]])
    parts = np.stack([strides * lower, strides * upper])
    parts[:, 0] += signs
    recorded = []
    for sides in CORNERS:  # lower or upper voxel along each axis: up to eight in all
      voxels = parts[sides[0], 0] + parts[sides[1], 1] + parts[sides[2], 2]
      recorded.append(voxels[two[sides == 0].all(0)])
    self.signs.append(sorted_unique(np.concatenate(recorded), 4 * side**3))

  def split_active(self, known: KnownPoints) -> Keys:
    """Splits the active voxels; the keys of their points that are not known yet."""
    if not self.split:
      return np.zeros(0, np.int64)
    points = []
    bound = 4 * (self.resolution // 2) ** 3
    self.signs = [sorted_unique(np.concatenate(self.signs), bound)]
    keys, signs = merge_signs(self.signs[0])
    for depth in reversed(range(len(self.split))):
      size = 2 ** (len(self.split) - depth)
      side = self.resolution // size
      if size > 2:  # a parent has the signs of its children
        parents = to_keys(from_keys(keys, 2 * side) // 2, side)
        bound = 4 * side**3
        keys, signs = merge_signs(sorted_unique(combine(parents, signs), bound))
      active = keys[signs == BOTH]
      if depth == 0:
        active = sorted_unique(np.concatenate([active, self.forced]), side**3)
      # Signs only accumulate, so a voxel stays active: split those that are not yet.
      fresh = active[~KeyIndex(self.split[depth], side**3).contains(active)]
      self.split[depth] = sorted_unique(
        np.concatenate([self.split[depth], fresh]), side**3
      )
      # Keys are linear in the indices: corner and offset can be added as keys.
      offsets = to_keys(STENCIL * (size // 2), self.resolution + 1)
      for start in range(0, len(fresh), CHUNK // 8):
        corners = from_keys(fresh[start : start + CHUNK // 8], side) * size
        stencils = to_keys(corners, self.resolution + 1)[:, None] + offsets
        stencils = sorted_unique(stencils.ravel(), known.bound)
        points.append(stencils[~known.contains(stencils)])
    return sorted_unique(np.concatenate([np.zeros(0, np.int64), *points]), known.bound)


def combine(keys: Keys, signs: Int[np.ndarray, " n"] | Signs) -> Keys:
  """Keys and signs as one integer each, in the order of the keys when sorted."""
  return keys * 4 + signs


def merge_signs(
  combined: Keys,
) -> tuple[Int[np.ndarray, " v"], UInt8[np.ndarray, " v"]]:
  """Each key of ascending `combine`d integers once, with all its signs."""
  keys, signs = combined >> 2, (combined & 3).astype(np.uint8)
  # Keys are not negative, so the prepended -1 makes the first a new one.
  first = np.flatnonzero(np.diff(keys, prepend=-1))
  if not len(first):
    return keys, signs
  return keys[first], np.bitwise_or.reduceat(signs, first)
