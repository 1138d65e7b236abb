"""Triangulation of polygons in space (host, numpy).

Shape letters: v vertices, n corners, f triangles.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

_MAX_CONCAVE = 4096  # corners; clipping ears takes the square of them
_FLIPPED = -1e-9  # a triangle turned against its polygon, as a share of the area


def triangulate(
  vertices: Float[np.ndarray, "v 3"],
  corners: Int[np.ndarray, "corners"],
  sizes: Sequence[int] | Int[np.ndarray, "polygons"],
) -> Int[np.ndarray, "f 3"]:
  """Triangles that cover polygons, in the order and with the winding of these.

  A polygon becomes a fan around its first corner where that stays within it, as it
  always does if the polygon is convex. Otherwise its ears are clipped (Meisters 1975).

  Args:
    vertices: positions.
    corners: vertices of all polygons, one polygon after the other.
    sizes: number of corners of each polygon; below three there is no triangle.

  Raises:
    ValueError: a polygon that is not convex has too many corners.
  """
  sizes = np.asarray(sizes, np.int64)
  counts = np.maximum(sizes - 2, 0)  # triangles of each polygon
  first = np.repeat(np.cumsum(sizes) - sizes, counts)  # first corner of its polygon
  start = np.cumsum(counts) - counts  # first triangle of each polygon
  rank = np.arange(len(first)) - np.repeat(start, counts)  # within its polygon
  faces = corners[np.stack([first, first + rank + 1, first + rank + 2], axis=1)]
  if not (counts > 1).any() or not _in_range(corners, len(vertices)):
    return faces
  a, b, c = np.moveaxis(vertices[faces], 1, 0)
  with np.errstate(all="ignore"):  # vertices that are not finite are refused later
    areas = np.cross(b - a, c - a)
    polygon = np.repeat(np.arange(len(sizes)), counts)
    # The areas of a fan add up to the polygon's, whatever its shape.
    normals = np.zeros((len(sizes), 3))
    np.add.at(normals, polygon, areas)
    along = np.einsum("fk,fk->f", areas, normals[polygon])
    limit = _FLIPPED * np.einsum("pk,pk->p", normals, normals)
  for index in np.unique(polygon[along < limit[polygon]]):
    if sizes[index] > _MAX_CONCAVE:
      raise ValueError(
        f"a polygon that is not convex has {sizes[index]} corners, want at most "
        f"{_MAX_CONCAVE}; triangulate it"
      )
    begin = start[index]
    its = corners[first[begin] : first[begin] + sizes[index]]
    ears = _clip_ears(_project(vertices[its], normals[index]))
    faces[begin : begin + counts[index]] = its[ears]
  return faces


def _in_range(corners: Int[np.ndarray, "corners"], count: int) -> bool:
  return len(corners) > 0 and bool(corners.min() >= 0 and corners.max() < count)


def _project(
  points: Float[np.ndarray, "n 3"], normal: Float[np.ndarray, "3"]
) -> Float[np.ndarray, "n 2"]:
  """Coordinates in the plane of a polygon, which is counter-clockwise there."""
  normal = normal / np.linalg.norm(normal)
  right = np.cross(np.eye(3)[np.abs(normal).argmin()], normal)
  right /= np.linalg.norm(right)
  return points @ np.stack([right, np.cross(normal, right)], axis=1)


def _turn(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
  """Twice the signed area of triangles: above 0 if they are counter-clockwise."""
  u, v = b - a, c - a
  return u[..., 0] * v[..., 1] - u[..., 1] * v[..., 0]


def _clip_ears(points: Float[np.ndarray, "n 2"]) -> Int[np.ndarray, "_ 3"]:
  """n - 2 triangles of a counter-clockwise polygon.

  An ear is a convex corner whose triangle holds no other corner of the polygon. There
  always is one in a polygon that does not cross itself; in others the corner that turns
  most is cut off.
  """
  left = list(range(len(points)))
  triangles = []
  while len(left) > 3:
    ring = points[left]
    before, after = np.roll(ring, 1, axis=0), np.roll(ring, -1, axis=0)
    turns = _turn(before, ring, after)
    convex = np.flatnonzero(turns > 0)
    reflex = ring[turns <= 0]
    chosen = next(
      (i for i in convex if _is_empty(before[i], ring[i], after[i], reflex)),
      int(turns.argmax()),
    )
    triangles.append((left[chosen - 1], left[chosen], left[(chosen + 1) % len(left)]))
    del left[chosen]
  return np.array([*triangles, left], np.int64)


def _is_empty(
  a: np.ndarray, b: np.ndarray, c: np.ndarray, points: Float[np.ndarray, "m 2"]
) -> bool:
  """Whether no point is within a triangle or on its border, its corners apart.

  Corners are compared by position: a bridge to a hole has its two vertices twice.
  """
  apart = np.logical_and.reduce([(points != corner).any(1) for corner in (a, b, c)])
  within = (_turn(a, b, points) >= 0) & (_turn(b, c, points) >= 0)
  within &= _turn(c, a, points) >= 0
  return not (within & apart).any()
