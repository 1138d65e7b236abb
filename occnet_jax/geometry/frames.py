"""The unit-cube frame, and transforms into it and back (host, numpy).

Shape letter: v vertices or points.
"""

import numpy as np
from jaxtyping import Float

Points = Float[np.ndarray, "v 3"]
ROBUST_CELLS = 16  # along the longest side of a box, to find points that are alone
ROBUST_ROUNDS = 4
ALONE = 1 / 25  # share of the median number of points around one; rods have 1 / 10


def unit_cube_frame(
  vertices: Points,
) -> tuple[Float[np.ndarray, "3"], float]:
  """Centre of the bounding box and its largest extent.

  `(vertices - loc) / scale` lies in the unit cube [-0.5, 0.5]^3 and touches it.

  Raises:
    ValueError: there are no vertices, or all coincide, or their extent overflows.
  """
  if not len(vertices):
    raise ValueError("0 vertices; want a mesh that has some")
  lower, upper = vertices.min(0), vertices.max(0)
  with np.errstate(over="ignore"):  # huge coordinates: refused below
    scale = float((upper - lower).max())
  if not (np.isfinite(scale) and scale > 0):
    raise ValueError(f"the largest extent is {scale}; want a finite one above 0")
  return (lower + upper) / 2, scale


def cloud_frame(points: Points) -> tuple[Float[np.ndarray, "3"], float]:
  """Centre of the bounding box and its largest extent.

  For a dense, clean cloud this is the frame of the shape itself; noise makes the box a
  little larger, missing parts make it smaller.

  Raises:
    ValueError: there are no points, or all coincide, or their extent overflows.
  """
  return unit_cube_frame(points)


def robust_frame(points: Points) -> tuple[Float[np.ndarray, "3"], float]:
  """Centre and largest extent of the box of the points that are not alone.

  A point counts as alone if the cube of 3^3 cells around it, of 16 cells along the
  longest side of the box, has less than a 25th of the points that such a cube has in
  the median. Far outliers change the cells, so it is done until the box stays.

  Raises:
    ValueError: as `cloud_frame`.
  """
  for _ in range(ROBUST_ROUNDS):
    loc, scale = cloud_frame(points)
    kept = points[~_alone(points, loc, scale)]
    if len(kept) == len(points) or not len(kept):
      break
    points = kept
  return cloud_frame(points)


def _alone(points: Points, loc: np.ndarray, scale: float) -> np.ndarray:
  cells = ((to_frame(points, loc, scale) + 0.5) * ROBUST_CELLS).astype(np.int64)
  cells = np.clip(cells, 0, ROBUST_CELLS - 1) + 1  # a border of empty cells
  side = ROBUST_CELLS + 2
  flat = (cells * [side**2, side, 1]).sum(1)
  counts = np.bincount(flat, minlength=side**3).reshape((side,) * 3)
  for axis in range(3):
    counts = counts + np.roll(counts, 1, axis) + np.roll(counts, -1, axis)
  around = counts.reshape(-1)[flat]
  return around < ALONE * np.median(around)


def to_frame(points: Points, loc: Float[np.ndarray, "3"], scale: float) -> Points:
  """Transforms points of the file into the unit cube [-0.5, 0.5]^3."""
  return (points - loc) / scale


def from_frame(points: Points, loc: Float[np.ndarray, "3"], scale: float) -> Points:
  """Transforms points of the unit cube back to the frame of the file."""
  return points * scale + loc
