"""Distances between surfaces, and parts of a mesh that are outliers (host, numpy).

Shape letters: v vertices, f faces, g groups of faces, n points.
"""

import igl
import numpy as np
from jaxtyping import Bool, Float, Int

from occnet_jax.geometry import triangles
from occnet_jax.geometry.triangles import unit_normals_and_areas

_FAR = 1.0  # distance from the bulk, in its extents, from which a part is an outlier
_BULK = 0.01  # share of the area that may lie beyond the bulk on either side


def stratified_samples(
  vertices: Float[np.ndarray, "v 3"],
  faces: Int[np.ndarray, "f 3"],
  count: int,
  group: Int[np.ndarray, "f"] | None = None,
) -> tuple[Float[np.ndarray, "n 3"], Int[np.ndarray, "n"]]:
  """Points spread evenly by area, the same every time, and the face of each.

  Args:
    vertices, faces: the mesh.
    count: number of points in each group; n if there is one group.
    group: group of each face, from 0; the points of group i begin at row i * count.
  """
  group = np.zeros(len(faces), np.int64) if group is None else group
  areas = unit_normals_and_areas(vertices, faces)[1]
  # Faces are laid end to end, group after group; a point sits in the middle of each of
  # `count` equal intervals of its group.
  order = np.argsort(group, kind="stable")
  totals = np.bincount(group, areas)
  starts = np.cumsum(totals) - totals
  steps = (np.arange(count) + 0.5) / count
  targets = (starts[:, None] + totals[:, None] * steps).ravel()
  face = order[triangles.locate(np.cumsum(areas[order]), targets, side="left")]
  rng = np.random.default_rng(0)
  return triangles.points_on_faces(vertices, faces[face], rng), face


def point_to_mesh_distance(
  points: Float[np.ndarray, "n 3"],
  vertices: Float[np.ndarray, "v 3"],
  faces: Int[np.ndarray, "f 3"],
) -> Float[np.ndarray, "n"]:
  """Distance from each point to the nearest face of a mesh."""
  return np.sqrt(igl.point_mesh_squared_distance(points, vertices, faces)[0])


def outlier_faces(
  vertices: Float[np.ndarray, "v 3"],
  faces: Int[np.ndarray, "f 3"],
  part: Int[np.ndarray, "f"],
) -> Bool[np.ndarray, "f"]:
  """Faces of parts that lie wholly beyond the bulk of the mesh by more than its extent.

  The bulk is the box that leaves out one hundredth of the area on each side.

  Args:
    vertices, faces: the mesh.
    part: index of the connected part of each face, from 0.
  """
  areas = unit_normals_and_areas(vertices, faces)[1]
  corners = vertices[faces]
  centres = corners.mean(1)
  bulk = []
  for axis in range(3):
    order = np.argsort(centres[:, axis])
    share = np.cumsum(areas[order])
    ends = np.searchsorted(share, np.array([_BULK, 1 - _BULK]) * share[-1])
    bulk.append(centres[order[np.minimum(ends, len(order) - 1)], axis])
  lower, upper = np.transpose(bulk)
  reach = _FAR * (upper - lower).max()
  lowest = np.full((part.max() + 1, 3), np.inf)
  highest = -lowest
  np.minimum.at(lowest, part, corners.min(1))
  np.maximum.at(highest, part, corners.max(1))
  far = ((lowest > upper + reach) | (highest < lower - reach)).any(1)
  return far[part]
