"""Multiresolution isosurface extraction (MISE): where a field is looked at (host).

Paper, section 3.3 and Figure 2; `libmise` of the reference, point for point. A coarse
grid of voxels is refined wherever the surface may pass, so that a fine grid is known
near the surface at a small part of the cost of evaluating all of it.

Grid points have integer indices 0 .. R a side, R = resolution_0 * 2^steps. A voxel of
size s is active if the known points of its closed cube lie on both sides of the level;
a point exactly at the level counts for both. An active voxel larger than 1 is split in
eight, which makes the 3^3 points of its corners, edges, faces and centre known. This
goes on until nothing more is active.

The closed cube includes points that smaller neighbours put on its faces and edges. Such
a point wakes a large voxel all of whose own corners agree, without which thin parts are
cut off and the mesh has cracks. Because the union of the closed cubes of eight children
is that of their parent, it is enough to note at voxels of size 2 what was seen where.

Memory: R^3 / 2 bytes for that, and 16 bytes a known point. Shape letters: n points of
one round, t known points, r and s voxels or grid points a side.
"""

import itertools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from occnet_jax.geometry.grids import from_keys, grid_indices, to_keys

STENCIL = grid_indices(3)  # the points of a voxel of size 2
SIDES = grid_indices(2)

Evaluate = Callable[[Int[np.ndarray, "n 3"]], Float[np.ndarray, " n"]]


class Samples(NamedTuple):
  """A field, known at some points of a grid.

  Attributes:
    keys: (t,) ascending keys of the known points in the grid of resolution + 1 points.
    values: (t,) float32.
    resolution: cells a side.
    rounds: how many points each call of the field was asked for.
  """

  keys: Int[np.ndarray, " t"]
  values: Float[np.ndarray, " t"]
  resolution: int
  rounds: tuple[int, ...]


def sample_surface(
  evaluate: Evaluate, resolution_0: int, steps: int, level: float
) -> Samples:
  """Evaluates a field on a coarse grid and, level by level, where its surface passes.

  Args:
    evaluate: indices (n, 3) in 0 .. resolution -> values (n,); called once a round.
    resolution_0: voxels a side of the coarse grid, at least 1.
    steps: how often a voxel can be halved; 0 gives the coarse grid alone.
    level: value at the surface.
  """
  resolution = resolution_0 * 2**steps
  octree = Octree(resolution_0, steps)
  known, known_values = np.zeros(0, np.int64), np.zeros(0, np.float32)
  rounds = []
  keys = to_keys(grid_indices(resolution_0 + 1, 2**steps), resolution + 1)
  while len(keys):
    indices = from_keys(keys, resolution + 1)
    values = evaluate(indices).astype(np.float32)
    rounds.append(len(keys))
    places = np.searchsorted(known, keys)
    known = np.insert(known, places, keys)
    known_values = np.insert(known_values, places, values)
    octree.note(indices, values >= level, values <= level)
    keys = np.setdiff1d(octree.split_active(), known, assume_unique=True)
  return Samples(known, known_values, resolution, tuple(rounds))


class Octree:
  """Which voxels have been split, and which have seen values on either side.

  Attributes:
    split: one array of booleans for each size above 1, the largest voxels first.
    above, below: for voxels of size 2: a point of the closed cube is at the level or
      above it, at the level or below it.
  """

  def __init__(self, resolution_0: int, steps: int):
    self.resolution = resolution_0 * 2**steps
    sides = [resolution_0 * 2**step for step in range(steps)]
    self.split = [np.zeros((side,) * 3, bool) for side in sides]
    side = self.resolution // 2 if steps else 0
    self.above, self.below = np.zeros((2, side, side, side), bool)

  def note(
    self,
    indices: Int[np.ndarray, "n 3"],
    above: Bool[np.ndarray, " n"],
    below: Bool[np.ndarray, " n"],
  ) -> None:
    """Marks the voxels of size 2 in whose closed cubes the points lie."""
    if not self.split:
      return
    side = len(self.above)
    ends = (indices - 1) // 2, indices // 2  # equal inside a voxel, not on its faces
    ends = [np.clip(end, 0, side - 1) * [side * side, side, 1] for end in ends]
    for x, y, z in SIDES:
      keys = ends[x][:, 0] + ends[y][:, 1] + ends[z][:, 2]
      self.above.ravel()[keys[above]] = True
      self.below.ravel()[keys[below]] = True

  def split_active(self) -> Int[np.ndarray, " n"]:
    """Splits the active voxels; the keys of all their points, sorted, once each."""
    keys = [np.zeros(0, np.int64)]
    above, below = self.above, self.below
    size = 2
    for split in reversed(self.split):
      if size > 2:
        above, below = any_child(above), any_child(below)
      active = np.flatnonzero(above & below & ~split)
      split.ravel()[active] = True
      corners = to_keys(from_keys(active, len(split)) * size, self.resolution + 1)
      offsets = to_keys(STENCIL * (size // 2), self.resolution + 1)
      keys.append((corners[:, None] + offsets).ravel())
      size *= 2
    return np.unique(np.concatenate(keys))


def any_child(voxels: Bool[np.ndarray, "r r r"]) -> Bool[np.ndarray, "s s s"]:
  """For every voxel of twice the size: is one of its eight children marked?"""
  pairs = voxels[::2] | voxels[1::2]
  pairs = pairs[:, ::2] | pairs[:, 1::2]
  return pairs[:, :, ::2] | pairs[:, :, 1::2]


def to_dense(samples: Samples) -> Float[np.ndarray, "r r r"]:
  """The field on the whole grid: what is unknown repeats its lower neighbour's value.

  Along x first, then y, then z, as `to_dense` of the reference. No sign is invented:
  neighbouring voxels that were not split agree.
  """
  side = samples.resolution + 1
  dense = np.full((side,) * 3, np.nan, np.float32)
  dense.ravel()[samples.keys] = samples.values
  for axis in range(3):
    slabs = np.moveaxis(dense, axis, 0)
    for lower, slab in itertools.pairwise(slabs):
      np.copyto(slab, lower, where=np.isnan(slab))
  return dense
