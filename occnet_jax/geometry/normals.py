"""Normals of clouds, as files have them, and which side they are on (host, numpy).

Shape letters: n points, k directions, m points of a sample.
"""

import math
import re
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from scipy.spatial import cKDTree

DIRECTIONS, OUTERMOST = 200, 5  # from which a cloud is looked at, and points of each
SAMPLE = 20_000  # points of a larger cloud that are looked at
# Outliers do not count: points whose third neighbour is so many times as far as usual.
ALONE = 4.0
OUTWARD = 0.8  # share of directions above which normals point outwards
# Where the outermost points lie at the rim of what a camera sees, their normals are
# across the direction and say little: least cosine, 60 degrees, of those that count.
ACROSS = 0.5
FITTED, NEIGHBOURS = 5000, 16  # points among which planes are fitted, and of each plane
_NAME = re.compile(r"(?:n|norm|normals?|nor:normal)[\s_.:]*([xyz012])")
_UNIT_LENGTH = 0.02  # error of the lengths of columns that are taken for normals


def is_normal(name: str) -> bool:
  """Whether a column's name in lower case is that of a coordinate of normals."""
  return bool(_NAME.fullmatch(name))


def find_normals(names: Sequence[str]) -> tuple[int, ...]:
  """The places of the normals' x, y and z among names of columns in lower case, such as
  "nx", "normal_x" or "normals:0"; () without all three."""
  found = [_NAME.fullmatch(name) for name in names]
  axes = [match[1] if match else "" for match in found]
  wanted = ("x0", "y1", "z2")
  places = [[i for i, axis in enumerate(axes) if axis and axis in w] for w in wanted]
  return tuple(p[0] for p in places) if all(len(p) == 1 for p in places) else ()


def to_unit(values: np.ndarray) -> Float[np.ndarray, "n 3"] | None:
  """Normals as files store them -> length 1, or 0 where there is none; None for numbers
  of which less than half have a direction."""
  values = np.asarray(values)
  if values.ndim != 2 or values.shape[1] != 3 or values.dtype.kind not in "fiu":
    return None
  values = values.astype(np.float64)
  # By the largest number first, so that no square overflows or vanishes.
  largest = np.abs(values).max(1, keepdims=True, initial=0)
  known = np.isfinite(largest) & (largest > 0)
  if 2 * np.count_nonzero(known) < len(values) or not len(values):
    return None
  values = np.where(known, values, 0) / np.where(known, largest, 1)
  return values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1)


def look_like_normals(table: Float[np.ndarray, "n 3"]) -> bool:
  """Whether numbers without a name have the lengths of normals: 1, or 0 in a few rows
  that have none, and more than one direction."""
  lengths = np.linalg.norm(table, axis=1)
  ones = np.abs(lengths - 1) < _UNIT_LENGTH
  known = 2 * np.count_nonzero(ones) > len(table)
  return bool(known and (ones | (lengths == 0)).all() and np.ptp(table[ones], 0).any())


def outward_share(
  points: Float[np.ndarray, "n 3"], normals: Float[np.ndarray, "n 3"]
) -> float:
  """Share of directions in which the outermost points of a cloud have outward normals.

  Directions that these normals are across do not count. Of a closed surface it is 1, of
  one that is turned inside out 0, and of normals that point to either side about a
  half. Thin walls and hollows do not matter, because the outermost points in a
  direction lie on the outside.

  Args:
    points: a cloud in any frame and unit.
    normals: of length 1; rows of zeros do not count.
  """
  step = -(-len(points) // SAMPLE)
  points, normals = points[::step], normals[::step]
  known = normals.any(1)
  points, normals = points[known], normals[known]
  if not len(points):
    return 0.5
  neighbours = cKDTree(points).query(points, k=min(4, len(points)))[0]
  reach = neighbours.reshape(len(points), -1)[:, -1]
  near = reach <= ALONE * np.median(reach)
  points, normals = points[near], normals[near]
  # A Fibonacci lattice: evenly spread over the sphere.
  number = np.arange(DIRECTIONS) + 0.5
  height = 1 - 2 * number / DIRECTIONS
  around = math.pi * (1 + math.sqrt(5)) * number
  radius = np.sqrt(1 - height**2)
  directions = np.stack([radius * np.cos(around), radius * np.sin(around), height], 1)
  centred = points - points.mean(0)
  count = min(OUTERMOST, len(points))
  cosines = np.empty(DIRECTIONS)
  for i, direction in enumerate(directions):
    outermost = np.argpartition(centred @ direction, len(points) - count)[-count:]
    cosines[i] = np.median(normals[outermost] @ direction)
  clear = cosines[np.abs(cosines) > ACROSS]
  return float((clear > 0).mean()) if len(clear) else 0.5


def estimate(
  points: Float[np.ndarray, "n 3"], camera: Float[np.ndarray, "3"]
) -> Float[np.ndarray, "n 3"]:
  """Normals of the planes through the neighbours of points, towards a camera.

  What a camera sees is the outside of a solid, so they point outwards. The neighbours
  come from a part of a dense cloud, so that they span more than a sensor's noise.

  Args:
    points: what one camera sees.
    camera: its place, in the frame of the points.

  Returns:
    Normals of length 1, or 0 of less than three points.
  """
  if len(points) < 3:
    return np.zeros_like(points)
  part = points[:: -(-len(points) // FITTED)]
  _, rows = cKDTree(part).query(points, k=min(NEIGHBOURS, len(part)))
  around = part[rows] - part[rows].mean(1, keepdims=True)
  covariances = np.einsum("nki,nkj->nij", around, around)
  normals = np.linalg.eigh(covariances)[1][..., 0]  # of the least eigenvalue
  facing = np.einsum("ni,ni->n", normals, camera - points)
  return np.where(facing[:, None] < 0, -normals, normals)


def orient(
  points: Float[np.ndarray, "n 3"],
  normals: Float[np.ndarray, "n 3"],
  *,
  outward: bool = False,
) -> tuple[Float[np.ndarray, "n 3"] | None, str]:
  """Normals that point outwards, if the file's do or are all turned round; else None.

  Args:
    points: a cloud in any frame and unit.
    normals: of length 1, or 0 where there is none.
    outward: whether they are known to point outwards (`Cloud.outward`).

  Returns:
    The normals, and what was done in words.
  """
  if outward:
    return normals, "normals that face the cameras are used"
  share = outward_share(points, normals)
  if share >= OUTWARD:
    return normals, "normals are used"
  if share <= 1 - OUTWARD:
    return -normals, "normals are used, turned round, as they point inwards"
  return None, (
    f"normals are not used: the outermost points of {share:.0%} of directions have "
    f"outward ones; want at least {OUTWARD:.0%}"
  )
