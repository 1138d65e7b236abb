"""What the octree may have missed: bounds of the field where it did not look (host).

The octree takes a voxel that it does not split for all inside or all outside, because
the points it knows of it are. Here that is checked by bounds of the field over the
whole voxel (`extract.bounds`); what these do not decide is halved, and again, down to
the finest cells. A part of the surface can only hide in what is left.

Shape letters: b boxes.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from occnet_jax.extract.certify.bounds import bound_boxes
from occnet_jax.extract.field import JaxField, as_field, padded_batches
from occnet_jax.extract.grid.mise import (
  SIDES,
  Samples,
  contains,
  sample_surface,
  search_sorted,
)
from occnet_jax.extract.pipeline import Clock, cells_of, evaluator, margin_of
from occnet_jax.geometry.grids import PADDING, grid_indices, to_coordinates, to_keys

POINTS_PER_BOX = 64  # of the memory that a batch takes
ROUNDING = 1e-4  # of the level and of the bounds' size, by which bounds are widened
WIDER = 1e-5  # of their side, by which boxes are taken larger

Corners = Int[np.ndarray, "b 3"]
Flags = Bool[np.ndarray, " b"]
Boxes = Float[np.ndarray, "b 2 3"]


class Audit(NamedTuple):
  """What is certain of a field in the cube; shares are of its volume and add up to 1.

  Attributes:
    empty, full: shares certified to lie wholly outside and wholly inside.
    looked: share of the finest cells at whose corners the octree knows the field; parts
      that are smaller than such a cell are not searched for.
    open: share of the rest, in which a component of the surface cannot be excluded.
    open_boxes: (b, 2, 3) lowest and highest corners of that, in cube units.
    missed: (b, 2, 3) boxes certified to lie on the other side than the octree takes
      them for: there is a surface, and the mesh does not have it.
    certified: cells a side -> share certified in boxes of that size or larger.
    bounded: how many boxes bounds were computed for.
  """

  empty: float
  full: float
  looked: float
  open: float
  open_boxes: Boxes
  missed: Boxes
  certified: dict[int, float]
  bounded: int


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
  """Where the mesh that `extract_mesh` makes with these arguments may lack a component.

  What is certified holds for every point of a box, not for samples of it, for the field
  as real numbers would give it. Both the field and the bounds are computed in float32,
  which rounds every operation to about 1e-7 of its result; that is allowed for by
  widening bounds by 1e-4 of their size, and not proven. Networks here stay within 1e-6;
  a field that adds up numbers a thousand times larger than its values may not. What the
  field itself rounds to bfloat16 is within the bounds, if float32 sums it up.

  Args:
    field, method, resolution_0, upsampling_steps, level, padding, points_per_batch: as
      of `extract_mesh`; a function that JAX can trace.
    halvings: how often boxes may be halved beyond the cells of the finest grid.

  Raises:
    ValueError: a field that JAX cannot trace, an operation of it for which there are no
      bounds, or settings out of range.
  """
  field = as_field(field, points_per_batch)
  if not isinstance(field, JaxField):
    raise ValueError(
      "bounds need the field's program: want a function that JAX can trace, not one of "
      "NumPy, a voxel grid or a mesh"
    )
  if halvings < 0:
    raise ValueError(f"halvings={halvings}; want 0 or more")
  cells = cells_of(resolution_0, upsampling_steps)
  samples = sample_surface(
    evaluator(field, cells * 2**upsampling_steps, padding, Clock()),
    cells,
    upsampling_steps,
    level,
    margin=margin_of(method, cells),
  )
  decide = functools.partial(certify, field, level=level, padding=padding)
  return descend(decide, samples, cells, level, padding, halvings)


def certify(
  field: JaxField,
  corners: Corners,
  side: int,
  *,
  level: float,
  padding: float = PADDING,
) -> tuple[Flags, Flags]:
  """Which cells of a grid are wholly outside, and which wholly inside.

  Args:
    field: of JAX.
    corners: lowest corners of cells, in cells.
    side: of the grid, in cells.
    level, padding: as of `extract_mesh`.
  """
  centres = to_coordinates(corners + 0.5, side, padding).astype(np.float32)
  half = np.float32((1 + padding) / side / 2 * (1 + WIDER))
  bound = field.bind(bound_boxes)
  size = max(field.points_per_batch // POINTS_PER_BOX, 1)
  found = [np.zeros((2, 0))]
  for batch in padded_batches(centres, size):
    found.append(np.stack(bound(batch, half)).astype(np.float64))
  low, high = np.concatenate(found, axis=1)[:, : len(centres)]
  slack = ROUNDING * (abs(level) + np.abs(low) + np.abs(high))
  return high + slack < level, low - slack > level


def descend(
  decide: Callable[[Corners, int], tuple[Flags, Flags]],
  samples: Samples,
  cells: int,
  level: float,
  padding: float,
  halvings: int,
) -> Audit:
  """Bounds for what the octree did not split, halved while undecided.

  Args:
    decide: lowest corners of cells, of a grid of so many a side -> whether they are
      certainly outside, and inside.
    samples: as the octree left them.
    cells: a side of the coarse grid.
    level, padding, halvings: as of `audit`.
  """
  steps, side = len(samples.split), cells
  corners, claims = grid_indices(cells), np.zeros(cells**3, bool)
  searched = np.zeros(cells**3, bool)  # in a voxel that the octree did not split
  volumes, missed, certified, bounded = np.zeros(3), [np.zeros((0, 2, 3))], {}, 0
  if not steps:
    volumes[2], corners = 1.0, corners[:0]
  for depth in range(steps + 1 + halvings if steps else 0):
    if depth < steps:
      split = contains(samples.split[depth], to_keys(corners, side)) & ~searched
      size = samples.resolution // side
      fresh = ~searched & ~split
      points = to_keys(size * corners[fresh], samples.resolution + 1)
      claims[fresh] = samples.values[search_sorted(samples.keys, points)] > level
      searched |= fresh
    else:
      split = ~searched
    empty, full = np.zeros((2, len(corners)), bool)
    empty[~split], full[~split] = decide(corners[~split], side)
    bounded += int(np.count_nonzero(~split))
    wrong = (empty & claims) | (full & ~claims & searched)
    missed.append(as_boxes(corners[wrong], side, padding))
    volumes += np.array([empty.sum(), full.sum(), 0]) / side**3
    certified[side] = float(volumes[:2].sum())
    rest = ~(empty | full)
    if depth == steps - 1:
      volumes[2] = split.sum() / side**3
      rest &= ~split
    corners, claims, searched = corners[rest], claims[rest], searched[rest]
    if depth < steps + halvings:
      corners = (2 * corners[:, None] + SIDES).reshape(-1, 3)
      claims, searched, side = np.repeat(claims, 8), np.repeat(searched, 8), 2 * side
  return Audit(
    *map(float, volumes),
    open=len(corners) / side**3,
    open_boxes=as_boxes(corners, side, padding),
    missed=np.concatenate(missed),
    certified=certified,
    bounded=bounded,
  )


def as_boxes(corners: Corners, side: int, padding: float) -> Boxes:
  """Lowest and highest corners of cells, in cube units."""
  ends = [to_coordinates(corners + end, side, padding) for end in (0, 1)]
  return np.stack(ends, axis=1)
