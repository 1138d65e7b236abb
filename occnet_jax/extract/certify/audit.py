"""Audit of an octree: bounds of the field where it was not evaluated (host).

The octree assumes that an unsplit voxel is entirely inside or outside, because its
known points are. Here that is checked by bounds of the field over the whole voxel
(`certify.bounds`); voxels that these do not decide are halved, and again, down to the
finest cells. A missed part of the surface can only lie in boxes that stay undecided.

Shape letters: b boxes.
"""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from occnet_jax.extract.certify.bounds import bound_boxes
from occnet_jax.extract.extraction import Extraction, coarse_cells
from occnet_jax.extract.field import JaxField, as_field
from occnet_jax.extract.grid.key_sets import KeyIndex
from occnet_jax.extract.grid.mise import (
  CORNERS,
  Samples,
  sample_surface,
)
from occnet_jax.extract.pipeline import choose_split_rule
from occnet_jax.extract.point_batches import padded_batches
from occnet_jax.geometry.grids import PADDING, grid_indices, to_coordinates, to_keys

POINTS_PER_BOX = 64  # a box takes the memory of that many points
ROUNDING = 1e-4  # by which bounds are widened, of the level and of their size
WIDER = 1e-5  # by which boxes are enlarged, of their side

Corners = Int[np.ndarray, "b 3"]
Flags = Bool[np.ndarray, " b"]
Boxes = Float[np.ndarray, "b 2 3"]


class Audit(NamedTuple):
  """Certified parts of the cube; shares are of its volume and add up to 1.

  Attributes:
    empty, full: shares certified to lie wholly outside and wholly inside.
    sampled: share of the finest cells at whose corners the octree evaluated the field;
      parts that are smaller than such a cell are not searched for.
    undecided: share of the rest, where a component of the surface cannot be excluded.
    undecided_boxes: (b, 2, 3) lowest and highest corners of that, in cube units.
    missed_boxes: (b, 2, 3) boxes certified to lie on the other side than the octree
      assumes: they hold a surface that the mesh lacks.
    certified: cells a side -> share certified in boxes of that size or larger.
    boxes_bounded: number of boxes that bounds were computed for.
  """

  empty: float
  full: float
  sampled: float
  undecided: float
  undecided_boxes: Boxes
  missed_boxes: Boxes
  certified: dict[int, float]
  boxes_bounded: int


def audit(
  field: Any,
  *,
  method: str = "mise_roots",
  resolution_0: int = 16,
  upsampling_steps: int = 3,
  level: float = 0.0,
  padding: float = PADDING,
  points_per_batch: int | None = None,
  halvings: int = 0,
) -> Audit:
  """Certifies where `extract_mesh` with these arguments cannot have missed a component.

  Experimental. A certificate holds for every point of a box, not for samples of it, and
  for the field in real numbers. Both the field and the bounds are computed in float32,
  which rounds every operation to about 1e-7 of its result; bounds are widened by 1e-4
  of their size for it, which is not a proof. Networks here stay within 1e-6; a field
  that adds up numbers a thousand times larger than its values may not. Operands that
  the field itself rounds to bfloat16 are within the bounds, if it sums in float32.

  Args:
    field: as in `extract_mesh`; a function that JAX can trace.
    method, resolution_0, upsampling_steps, level, padding, points_per_batch: as in
      `extract_mesh`.
    halvings: number of times that boxes may be halved beyond the finest cells.

  Raises:
    ValueError: a field that JAX cannot trace, an operation of it for which there are no
      bounds, or settings out of range.
  """
  field = as_field(field, points_per_batch)
  if not isinstance(field, JaxField):
    raise ValueError(
      "bounds need the field's program: want a function that JAX can trace, not one of "
      "NumPy, a voxel grid or a mesh; write it with jax.numpy"
    )
  if halvings < 0:
    raise ValueError(f"halvings={halvings}; want 0 or more")
  cells = coarse_cells(resolution_0, upsampling_steps)
  run = Extraction(field, cells, upsampling_steps, level, padding)
  samples = sample_surface(
    run.evaluate,
    cells,
    upsampling_steps,
    level,
    split_rule=choose_split_rule(method, cells),
  )
  return descend(run, samples, halvings)


def certify(run: Extraction, corners: Corners, side: int) -> tuple[Flags, Flags]:
  """Flags of the cells that are certainly outside, and of those certainly inside.

  Args:
    run: a field of JAX, its level and cube.
    corners: lowest corners of cells, in cells.
    side: cells a side of their grid.
  """
  field, level = run.field, run.level
  centres = to_coordinates(corners + 0.5, side, run.padding).astype(np.float32)
  half = np.float32((1 + run.padding) / side / 2 * (1 + WIDER))
  bound = field.bind(bound_boxes)
  size = max(field.points_per_batch // POINTS_PER_BOX, 1)
  parts = [np.zeros((2, 0))]
  for batch in padded_batches(centres, size):
    parts.append(np.stack(bound(batch, half)).astype(np.float64))
  low, high = np.concatenate(parts, axis=1)[:, : len(centres)]
  slack = ROUNDING * (abs(level) + np.abs(low) + np.abs(high))
  # Bounds of NaN compare as false: they decide nothing.
  return high + slack < level, low - slack > level


def descend(run: Extraction, samples: Samples, halvings: int) -> Audit:
  """Computes bounds for voxels that the octree did not split, halved while undecided.

  Args:
    run: the audited extraction.
    samples: the samples of its octree.
    halvings: number of halvings beyond the finest cells.
  """
  steps, side, padding = run.steps, run.cells, run.padding
  # Of the boxes of this round: the side that the octree assumes, and whether they lie
  # in a voxel that it did not split. The others are its split voxels.
  corners, assumed_inside = grid_indices(side), np.zeros(side**3, bool)
  unsplit = np.zeros(side**3, bool)
  certified, boxes_bounded = {}, 0
  empty_share, full_share, sampled_share = 0.0, 0.0, 0.0
  missed_boxes = [np.zeros((0, 2, 3))]
  if not steps:  # a dense grid: every cell is evaluated at its corners
    sampled_share, corners = 1.0, corners[:0]
  for depth in range(steps + 1 + halvings if steps else 0):
    if depth < steps:
      index = KeyIndex(samples.split[depth], side**3)
      split = index.contains(to_keys(corners, side)) & ~unsplit
      size = samples.resolution // side
      fresh = ~unsplit & ~split
      points = to_keys(size * corners[fresh], samples.resolution + 1)
      values = samples.values[samples.key_index().find(points)]
      assumed_inside[fresh] = values > run.level
      unsplit |= fresh
    else:
      split = ~unsplit
    empty, full = np.zeros((2, len(corners)), bool)
    empty[~split], full[~split] = certify(run, corners[~split], side)
    boxes_bounded += int(np.count_nonzero(~split))
    wrong = (empty & assumed_inside) | (full & ~assumed_inside & unsplit)
    missed_boxes.append(as_boxes(corners[wrong], side, padding))
    empty_share += empty.sum() / side**3
    full_share += full.sum() / side**3
    certified[side] = float(empty_share + full_share)
    rest = ~(empty | full)
    if depth == steps - 1:  # the children of these are finest cells: sampled
      sampled_share = split.sum() / side**3
      rest &= ~split
    corners, assumed_inside, unsplit = (
      corners[rest],
      assumed_inside[rest],
      unsplit[rest],
    )
    if depth < steps + halvings:
      corners = (2 * corners[:, None] + CORNERS).reshape(-1, 3)
      assumed_inside, unsplit = np.repeat(assumed_inside, 8), np.repeat(unsplit, 8)
      side *= 2
  return Audit(
    float(empty_share),
    float(full_share),
    float(sampled_share),
    undecided=len(corners) / side**3,
    undecided_boxes=as_boxes(corners, side, padding),
    missed_boxes=np.concatenate(missed_boxes),
    certified=certified,
    boxes_bounded=boxes_bounded,
  )


def as_boxes(corners: Corners, side: int, padding: float) -> Boxes:
  """Lowest and highest corners of cells, in cube units."""
  ends = [to_coordinates(corners + end, side, padding) for end in (0, 1)]
  return np.stack(ends, axis=1)
