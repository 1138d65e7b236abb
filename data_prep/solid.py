"""From a triangle mesh to trusted inside and outside labels (host, numpy).

A solid is a closed chain of oriented triangles: along every edge as many triangles run
one way as the other. Its winding number is then a whole number off the surface, so
parts may overlap, touch or lie in each other, and inside means at least 1. libigl
computes it; a `Solid` from `close` meets what libigl takes for granted, at least one
face and finite coordinates.

Shape letters: v, w vertices, f, g faces, n points, e entries of a table.
"""

from typing import NamedTuple

import igl
import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import sparse

_WELD = 1e-6  # of the largest extent: vertices closer than this become one


class Solid(NamedTuple):
  """A closed, consistently wound mesh whose faces look outward.

  Attributes:
    vertices: (v, 3) float64, all in use.
    faces: (f, 3) int64, at least four.
  """

  vertices: Float[np.ndarray, "v 3"]
  faces: Int[np.ndarray, "f 3"]


def close(vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"]) -> Solid:
  """Welds, cleans and orients a closed mesh.

  Repeated vertices become one; faces that lose their extent by that, and pairs of the
  same face wound both ways, are dropped. Inconsistent winding is repaired where no
  edge has more than two faces. A part inside out is turned, unless it is a cavity of
  another part.

  Raises:
    ValueError: the mesh is empty, not finite, flat, or not closed.
  """
  if not len(faces) or not np.isfinite(vertices).all():
    raise ValueError(
      f"{len(faces)} faces and {np.count_nonzero(~np.isfinite(vertices))} coordinates "
      "that are not finite; want at least 4 faces and 0"
    )
  vertices, faces = _weld(vertices, faces)
  if open_edges := _count_open_edges(faces):
    faces = igl.bfs_orient(faces)[0].astype(np.int64)
    if _count_open_edges(faces):
      raise ValueError(
        f"{open_edges} open edges, want 0: there is no inside without a closed "
        "surface; fill the holes and join the parts in a mesh editor (Blender: Merge "
        "by Distance, Fill Holes), or leave this shape out"
      )
  if len(faces) < 4:
    raise ValueError(
      f"{len(faces)} faces that enclose something, want at least 4; give the sheet a "
      "thickness"
    )
  solid = _orient(Solid(vertices, faces))
  if _volumes(solid).sum() <= 0:
    raise ValueError("the volume is 0; give the sheet a thickness")
  return solid


def contains(solid: Solid, points: Float[np.ndarray, "n 3"]) -> Bool[np.ndarray, "n"]:
  """Whether points are inside: winding number above one half.

  Raises:
    ValueError: a point is not finite.
  """
  check_finite(points)
  inside = np.zeros(len(points), bool)
  lower, upper = solid.vertices.min(0), solid.vertices.max(0)
  boxed = np.flatnonzero(((points >= lower) & (points <= upper)).all(1))
  inside[boxed] = winding_number(solid, points[boxed]) > 0.5
  return inside


def winding_number(
  solid: Solid, points: Float[np.ndarray, "n 3"]
) -> Float[np.ndarray, "n"]:
  """Generalised winding number (Barill et al. 2018, by libigl, to about 0.01).

  Raises:
    ValueError: a point is not finite.
  """
  check_finite(points)
  if not len(points):
    return np.zeros(0)
  return igl.fast_winding_number(
    np.ascontiguousarray(solid.vertices, np.float64),
    np.ascontiguousarray(solid.faces, np.int64),
    np.ascontiguousarray(points, np.float64),
  )


def check_finite(points: Float[np.ndarray, "n 3"]) -> None:
  """Raises ValueError where libigl would answer anything at all."""
  if not np.isfinite(points).all():
    raise ValueError("some points are not finite; drop them first")


def components(solid: Solid) -> Int[np.ndarray, "f"]:
  """Number of the connected component of each face, from 0."""
  return _components(len(solid.vertices), solid.faces)


def _components(
  vertex_count: int, faces: Int[np.ndarray, "f 3"]
) -> Int[np.ndarray, "f"]:
  tail, head = faces[:, :2].ravel(), faces[:, 1:].ravel()
  graph = sparse.coo_array(
    (np.ones(len(tail), np.int8), (tail, head)), shape=(vertex_count, vertex_count)
  )
  labels = sparse.csgraph.connected_components(graph, directed=False)[1]
  return np.unique(labels[faces[:, 0]], return_inverse=True)[1]


def _weld(
  vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"]
) -> tuple[Float[np.ndarray, "w 3"], Int[np.ndarray, "g 3"]]:
  """Joins vertices in the same place; drops what that leaves without extent.

  None of this opens a closed chain of triangles.
  """
  lower = vertices[faces].min((0, 1))
  extent = float((vertices[faces].max((0, 1)) - lower).max())
  if extent == 0:
    raise ValueError("all vertices lie in one place; want a solid")
  used, corner = np.unique(faces, return_inverse=True)
  grid = np.round((vertices[used] - lower) / (_WELD * extent)).astype(np.int64)
  key = (grid[:, 0] << 42) + (grid[:, 1] << 21) + grid[:, 2]  # 1e6 fits 21 bits
  _, first, welded = np.unique(key, return_index=True, return_inverse=True)
  vertices, faces = vertices[used[first]], welded[corner].reshape(-1, 3)
  faces = faces[(faces != np.roll(faces, 1, axis=1)).all(1)]
  faces = _cancel(faces)
  used, corner = np.unique(faces, return_inverse=True)
  return vertices[used], corner.reshape(-1, 3)


def _cancel(faces: Int[np.ndarray, "f 3"]) -> Int[np.ndarray, "g 3"]:
  """Drops pairs of faces with the same corners and opposite winding."""
  unique, group = np.unique(np.sort(faces, axis=1), axis=0, return_inverse=True)
  if len(unique) == len(faces):
    return faces
  a, b, c = faces.T
  even = ((b > a) ^ (c > a) ^ (c > b)).astype(np.int64)
  kind = 2 * group.ravel() + even
  count = np.bincount(kind, minlength=2 * len(unique))
  order = np.argsort(kind, kind="stable")
  rank = np.empty_like(order)
  rank[order] = np.arange(len(order)) - (np.cumsum(count) - count)[kind[order]]
  return faces[rank >= count[kind ^ 1]]


def _count_open_edges(faces: Int[np.ndarray, "f 3"]) -> int:
  """Edges along which not as many faces run one way as the other."""
  tail, head = faces.ravel(), np.roll(faces, -1, axis=1).ravel()
  key = (np.minimum(tail, head) << 32) + np.maximum(tail, head)
  _, edge = np.unique(key, return_inverse=True)
  return int(np.count_nonzero(np.bincount(edge, np.where(tail < head, 1, -1))))


def _volumes(solid: Solid) -> Float[np.ndarray, "f"]:
  """Signed volume between each face and the centre; their sum is the solid's."""
  a, b, c = (solid.vertices - solid.vertices.mean(0))[solid.faces].transpose(1, 0, 2)
  return np.einsum("fk,fk->f", a, np.cross(b, c)) / 6


def _orient(solid: Solid) -> Solid:
  """Turns the mesh, and then each part, so that faces look outward.

  A part that is still inside out stays so if it lies in what larger parts fill: then it
  is a cavity.
  """
  vertices, faces = solid
  volumes = _volumes(solid)
  if volumes.sum() < 0:
    faces, volumes = faces[:, ::-1], -volumes
  part = components(solid)
  volume = np.bincount(part, volumes)
  if (volume >= 0).all():
    return Solid(vertices, np.ascontiguousarray(faces))
  faces = faces.copy()
  order = np.argsort(-np.abs(volume))
  for position, number in enumerate(order):
    if volume[number] >= 0:
      continue
    mine = part == number
    larger = np.isin(part, order[:position])
    probes = vertices[np.unique(faces[mine])[:64]]
    around = winding_number(Solid(vertices, faces[larger]), probes) if position else 0
    if np.median(around) < 0.5:
      faces[mine] = faces[mine][:, ::-1]
  return Solid(vertices, faces)
