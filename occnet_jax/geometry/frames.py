"""The unit-cube frame, and transforms into it and back (host, numpy).

Shape letter: v vertices or points.
"""

import numpy as np
from jaxtyping import Float

Points = Float[np.ndarray, "v 3"]


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


def to_frame(points: Points, loc: Float[np.ndarray, "3"], scale: float) -> Points:
  """Transforms points of the file into the unit cube [-0.5, 0.5]^3."""
  return (points - loc) / scale


def from_frame(points: Points, loc: Float[np.ndarray, "3"], scale: float) -> Points:
  """Transforms points of the unit cube back to the frame of the file."""
  return points * scale + loc
