"""Winding numbers and containment, areas and uniform samples of a mesh (host, numpy).

Shape letters: n surface points, t query points, v vertices, f faces.
"""

import igl
import numpy as np
from jaxtyping import Bool, Float, Int

from occnet_jax.geometry import triangles

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
  """Total area of the faces, in square units of the vertices.

  Raises:
    ValueError: the mesh is not sound (see `check`).
  """
  check(vertices, faces)
  return float(triangles.unit_normals_and_areas(vertices, faces)[1].sum())


def winding_number(
  vertices: Float[np.ndarray, "v 3"],
  faces: Int[np.ndarray, "f 3"],
  points: Float[np.ndarray, "t 3"],
) -> Float[np.ndarray, " t"]:
  """Generalised winding number (Barill et al. 2018, by libigl, to about 0.01).

  Vertices and points must be finite and indices in range; libigl does not check.
  """
  if not len(faces) or not len(points):  # libigl reads outside of empty arrays
    return np.zeros(len(points))
  return igl.fast_winding_number(
    np.ascontiguousarray(vertices, np.float64),
    np.ascontiguousarray(faces, np.int64),
    np.ascontiguousarray(points, np.float64),
  )


def contains(
  vertices: Float[np.ndarray, "v 3"],
  faces: Int[np.ndarray, "f 3"],
  points: Float[np.ndarray, "t 3"],
) -> Bool[np.ndarray, " t"]:
  """Whether points are inside: their winding number is above INSIDE.

  Overlapping and nested closed parts count as solid, and small gaps are bridged. The
  sign matters: a mesh whose faces point inward contains nothing. A point that is not
  finite is outside.

  Raises:
    ValueError: vertices are not finite, or faces name vertices that are not there.
  """
  check(vertices, faces)
  inside = np.zeros(len(points), bool)
  if not len(faces):
    return inside
  lower, upper = vertices.min(0), vertices.max(0)
  boxed = np.flatnonzero(((points >= lower) & (points <= upper)).all(1))
  inside[boxed] = winding_number(vertices, faces, points[boxed]) > INSIDE
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
  sampler = triangles.AreaSampler(vertices, faces)
  if not sampler.area > 0:
    raise ValueError(
      f"{len(faces)} faces have area {sampler.area:g}, want more than 0 to sample "
      "them; treat the mesh as empty"
    )
  points, face = sampler.draw(count, rng)
  return points, sampler.normals[face]
