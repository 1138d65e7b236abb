"""Points of a solid: labelled ones in the padded cube, and its surface (host, numpy).

The solid is in the unit-cube frame. Shape letter: n points.
"""

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from data_prep import solid as solids
from data_prep.solid import Solid

_OFFSET = 1e-5  # off the surface, in cube units, where a sample is tested
_PILOT = 1024  # samples that tell whether a part crosses itself
_PILOT_BURIED = 3  # of them; fewer are samples beside a concave edge
_MOST_BOXES = 64  # parts, beyond which every sample is tested
_MOST_ROUNDS = 100


def uniform_points(
  solid: Solid,
  rng: np.random.Generator,
  *,
  count: int = 100_000,
  padding: float = 0.1,
  dtype: str = "float16",
) -> tuple[Float[np.ndarray, "n 3"], UInt8[np.ndarray, "bytes"]]:
  """Points uniform in the padded cube and their occupancies.

  Points are rounded to `dtype` first and labelled after that: the labels are those of
  the points as stored, which the reference's are not.

  Args:
    solid: in the unit-cube frame.
    rng: draws the points.
    count: n.
    padding: the cube is [-0.5 - padding / 2, 0.5 + padding / 2]^3.
    dtype: "float16" as in the reference, or "float32".

  Returns:
    points (n, 3) and occupancies (ceil(n / 8),), eight to a byte, first in the highest
    bit; `np.unpackbits(occupancies)[:n]` reads them.
  """
  points = ((rng.random((count, 3)) - 0.5) * (1 + padding)).astype(dtype)
  inside = solids.contains(solid, points.astype(np.float64))
  return points, np.packbits(inside)


def surface_points(
  solid: Solid,
  rng: np.random.Generator,
  *,
  count: int = 100_000,
  dtype: str = "float16",
) -> tuple[Float[np.ndarray, "n 3"], Float[np.ndarray, "n 3"]]:
  """Points uniform by area on the surface of the solid, with outward face normals.

  Where closed parts overlap, what lies inside another part is no surface of the solid:
  samples there are drawn again.

  Raises:
    ValueError: no sample is on the surface (every part is buried in another).
  """
  corners = solid.vertices[solid.faces]
  edge_1, edge_2 = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
  normals = np.cross(edge_1, edge_2)
  double_areas = np.linalg.norm(normals, axis=1)
  normals /= np.maximum(double_areas, np.finfo(np.float64).tiny)[:, None]
  cumulative = np.cumsum(double_areas)

  def draw(size: int) -> tuple[Float[np.ndarray, "n 3"], Int[np.ndarray, "n"]]:
    picks = rng.random(size) * cumulative[-1]
    face = np.minimum(np.searchsorted(cumulative, picks, "right"), len(cumulative) - 1)
    u, v = rng.random((2, size, 1))
    u, v = np.where(u + v > 1, 1 - u, u), np.where(u + v > 1, 1 - v, v)
    return corners[face, 0] + u * edge_1[face] + v * edge_2[face], face

  part = solids.components(solid)
  points, faces, missing = [], [], count
  for _ in range(_MOST_ROUNDS):
    fresh, face = draw(missing)
    exposed = _is_exposed(solid, part, fresh, normals[face], face)
    points.append(fresh[exposed])
    faces.append(face[exposed])
    missing -= int(exposed.sum())
    if not missing:
      face = np.concatenate(faces)
      return np.concatenate(points).astype(dtype), normals[face].astype(dtype)
  raise ValueError(
    f"after {_MOST_ROUNDS} rounds {missing} of {count} surface samples still lie inside "
    "the solid, want 0; remove inner parts in a mesh editor"
  )


def _is_exposed(
  solid: Solid,
  part: Int[np.ndarray, "f"],
  points: Float[np.ndarray, "n 3"],
  normals: Float[np.ndarray, "n 3"],
  face: Int[np.ndarray, "n"],
) -> Bool[np.ndarray, "n"]:
  """Whether the solid is on the inner side only of a sample's face.

  A face separates winding number w outside from w + 1 inside, so w = 0 just outside
  tells. Near the surface the query is dear: of separate parts, only samples in another
  part's bounding box are asked, unless a pilot finds that a part crosses itself.
  """
  exposed = np.ones(len(points), bool)
  doubtful = _in_box_of_another(solid, part, points, face)

  def test(index: Int[np.ndarray, "m"]) -> None:
    outside = points[index] + _OFFSET * normals[index]
    exposed[index] = np.abs(solids.winding_number(solid, outside)) < 0.5

  test(np.flatnonzero(doubtful))
  pilot = np.flatnonzero(~doubtful)[:_PILOT]
  test(pilot)
  if np.count_nonzero(~exposed[pilot]) >= _PILOT_BURIED:
    test(np.flatnonzero(~doubtful)[_PILOT:])
  return exposed


def _in_box_of_another(
  solid: Solid,
  part: Int[np.ndarray, "f"],
  points: Float[np.ndarray, "n 3"],
  face: Int[np.ndarray, "n"],
) -> Bool[np.ndarray, "n"]:
  """Whether a sample of one part is in the bounding box of another."""
  parts = part.max() + 1
  if parts == 1:
    return np.zeros(len(points), bool)
  if parts > _MOST_BOXES:
    return np.ones(len(points), bool)
  corners = solid.vertices[solid.faces]
  found = np.zeros(len(points), bool)
  for number in range(parts):
    mine = corners[part == number]
    lower, upper = mine.min((0, 1)) - _OFFSET, mine.max((0, 1)) + _OFFSET
    boxed = ((points >= lower) & (points <= upper)).all(1)
    found |= boxed & (part[face] != number)
  return found
