"""Clouds of which no network could make the mesh of an object (host, numpy).

Shape letter: n points.
"""

import numpy as np
from jaxtyping import Float, Int
from scipy import ndimage

FLAT = 0.002  # least deviation from a plane or line, relative to the largest deviation
CELLS = 8  # along the longest side of the box; few, so that 100 points are one group
SMALL = CELLS // 4  # cells along a side of a group, at most, that lies far from others
LEAST_SHARE = 0.05  # of the points that count as a group


def check_scan(points: Float[np.ndarray, "n 3"], least: int, trained: str) -> None:
  """Raises ValueError for too few points, a flat cloud, or objects far apart.

  Args:
    points: cloud of finite points with an extent, without outliers.
    least: least number of points.
    trained: what the network was trained with, for the message.
  """
  if len(points) < least:
    raise ValueError(
      f"the cloud: {len(points)} points, want at least {least}; the network was "
      f"trained with {trained}: scan the object more densely"
    )
  spread = np.linalg.svd(points - points.mean(0), compute_uv=False)
  if spread[2] < FLAT * spread[0]:
    form = "line" if spread[1] < FLAT * spread[0] else "plane"
    raise ValueError(
      f"the cloud: all {len(points)} points lie on one {form}, which encloses nothing; "
      "want points of several sides of the object"
    )
  groups = _groups(points)
  counts = np.bincount(groups)
  large = np.flatnonzero(counts >= LEAST_SHARE * len(points))
  extents = [_extent(points[groups == group]) for group in large]
  if len(large) > 1 and max(extents) < SMALL / CELLS * _extent(points):
    centres = [points[groups == group].mean(0).round(3).tolist() for group in large]
    shown = ", ".join(str(centre) for centre in centres[:3])
    raise ValueError(
      f"the cloud: {len(large)} groups of points that lie far apart, around {shown}; "
      "want one object: save each group in a file of its own"
    )


def _groups(points: Float[np.ndarray, "n 3"]) -> Int[np.ndarray, "n"]:
  """The number of each point's group, of cells that touch each other."""
  lower = points.min(0)
  cells = ((points - lower) * (CELLS / _extent(points))).astype(np.int64)
  cells = tuple(np.minimum(cells, CELLS - 1).T)
  occupied = np.zeros((CELLS,) * 3, bool)
  occupied[cells] = True
  labels, _ = ndimage.label(occupied, structure=np.ones((3, 3, 3)))
  return labels[cells] - 1


def _extent(points: Float[np.ndarray, "n 3"]) -> float:
  return float(np.ptp(points, axis=0).max())
