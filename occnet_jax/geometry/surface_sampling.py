"""Containment in a triangle mesh, and points on its surface (host).

Shape letters: n surface points, t query points, v vertices, f faces.
"""

from typing import NamedTuple

import igl
import numpy as np
from jaxtyping import Bool, Float, Int

INSIDE = 0.5  # winding number above which a point is inside


def check(vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"]) -> None:
  """Raises ValueError unless all vertices are finite and faces name existing ones.

  libigl checks neither: one NaN makes every answer NaN, a wrong index reads whatever
  lies in memory there.
  """
  if bad := np.count_nonzero(~np.isfinite(vertices).all(axis=1)):
    raise ValueError(
      f"{bad} of {len(vertices)} vertices are not finite, want none; look for NaN in "
      "the field or in the refinement that made this mesh"
    )
  if len(faces) and not 0 <= faces.min() <= faces.max() < len(vertices):
    raise ValueError(
      f"faces name vertices {faces.min()} to {faces.max()}, want 0 to "
      f"{len(vertices) - 1}; the file is damaged or counts from 1"
    )


def area(vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"]) -> float:
  """Area of all faces, in square units of the vertices.

  Raises:
    ValueError: the mesh is not sound (see `check`).
  """
  check(vertices, faces)
  return float(_triangles(vertices, faces).areas.sum())


def contains(
  vertices: Float[np.ndarray, "v 3"],
  faces: Int[np.ndarray, "f 3"],
  points: Float[np.ndarray, "t 3"],
) -> Bool[np.ndarray, " t"]:
  """Which points lie inside, by generalised winding number (Barill et al. 2018).

  Overlapping and nested closed parts count as solid, small gaps are bridged. The sign
  matters: a mesh whose faces point inwards contains nothing.

  Raises:
    ValueError: vertices are not finite, or faces name vertices that are not there.
  """
  check(vertices, faces)
  inside = np.zeros(len(points), bool)
  if len(faces) and len(points):  # igl reads outside its arrays when given no faces
    winding = igl.fast_winding_number(
      np.ascontiguousarray(vertices, np.float64),
      np.ascontiguousarray(faces, np.int64),
      np.ascontiguousarray(points, np.float64),
    )
    inside = winding > INSIDE
  return inside


def sample(
  vertices: Float[np.ndarray, "v 3"],
  faces: Int[np.ndarray, "f 3"],
  count: int,
  rng: np.random.Generator,
) -> tuple[Float[np.ndarray, "n 3"], Float[np.ndarray, "n 3"]]:
  """Draws `count` points uniformly by area, each with the unit normal of its face.

  Raises:
    ValueError: no face has an area, or the mesh is not sound (see `check`).
  """
  check(vertices, faces)
  origin, edge_a, edge_b, normals, areas = _triangles(vertices, faces)
  ends = np.cumsum(areas)  # face i owns the stretch of length areas[i] that ends here
  total = ends[-1] if len(ends) else 0.0
  if not total > 0:
    raise ValueError(
      f"{len(faces)} faces have area {total:g}, want more than 0 to sample them; "
      "treat the mesh as empty"
    )
  chosen = np.searchsorted(ends, rng.random(count) * total, side="right")
  u, v = rng.random((2, count, 1))
  outside = u + v > 1  # fold the far half of the parallelogram back onto the triangle
  u, v = np.where(outside, 1 - u, u), np.where(outside, 1 - v, v)
  points = origin[chosen] + u * edge_a[chosen] + v * edge_b[chosen]
  return points, normals[chosen] / (2 * areas[chosen, None])


class _Triangles(NamedTuple):
  origin: np.ndarray  # (f, 3) first corner
  edge_a: np.ndarray  # (f, 3) from there to the second
  edge_b: np.ndarray  # (f, 3) and to the third
  normals: np.ndarray  # (f, 3) of length twice the area
  areas: np.ndarray  # (f,)


def _triangles(vertices, faces) -> _Triangles:
  origin, second, third = np.asarray(vertices, np.float64)[faces.T]
  edge_a, edge_b = second - origin, third - origin
  normals = np.cross(edge_a, edge_b)
  return _Triangles(
    origin, edge_a, edge_b, normals, np.linalg.norm(normals, axis=1) / 2
  )
