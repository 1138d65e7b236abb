"""From a triangle mesh to trusted inside and outside labels (host, numpy).

A solid is a closed chain of oriented triangles: along every edge as many triangles run
one way as the other. Its generalised winding number is then a whole number off the
surface, so parts may overlap, touch or lie in each other, and inside means at least 1.

Shape letters: v vertices, f faces, n points, c components.
"""

from typing import NamedTuple

import igl
import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import ndimage, sparse

_WELD = 1e-6  # of the largest extent: vertices closer than this become one
_CELLS = 80  # along the largest extent, for labels by the cell
_SPACING = 1.7  # of the marks that find the cells near the surface, in cells
_FEWEST_FOR_CELLS = 5000  # points, below which cells do not pay
_MOST_MARKS = 3_000_000  # points on the surface, beyond which cells do not pay


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
    faces = igl.bfs_orient(faces)[0] if len(faces) else faces
    if _count_open_edges(faces):
      raise ValueError(
        f"{open_edges} open edges, want 0: there is no inside without a closed "
        "surface; fill the holes and join the parts in a mesh editor (Blender: Merge "
        "by Distance, Fill Holes), or leave this shape out"
      )
  if len(faces) < 4:
    raise ValueError(
      f"{len(faces)} faces enclose a volume, want at least 4; give the sheet a thickness"
    )
  solid = _orient(Solid(vertices, faces))
  if _volumes(solid).sum() <= 0:
    raise ValueError("the volume is 0; give the sheet a thickness")
  return solid


def contains(solid: Solid, points: Float[np.ndarray, "n 3"]) -> Bool[np.ndarray, "n"]:
  """Whether points are inside: winding number above one half.

  Large sets go by cells: a cell that the surface stays clear of has one label.
  """
  inside = np.zeros(len(points), bool)
  lower, upper = solid.vertices.min(0), solid.vertices.max(0)
  left = np.flatnonzero(((points >= lower) & (points <= upper)).all(1))
  if len(left) >= _FEWEST_FOR_CELLS and (cells := _label_cells(solid)) is not None:
    labels, origin, size = cells
    index = ((points[left] - origin) / size).astype(np.int64)
    label = labels[index[:, 0], index[:, 1], index[:, 2]]
    inside[left] = label == 1
    left = left[label == 2]
  inside[left] = winding_number(solid, points[left]) > 0.5
  return inside


def winding_number(
  solid: Solid, points: Float[np.ndarray, "n 3"]
) -> Float[np.ndarray, "n"]:
  """Generalised winding number (Barill et al. 2018, fast approximation, about 1e-2).

  Raises:
    ValueError: there are no faces, or a coordinate is not finite.
  """
  # libigl crashes the process on an empty mesh, and one NaN spoils every answer.
  if not len(solid.faces) or not np.isfinite(solid.vertices).all():
    raise ValueError("the solid is empty or not finite; make it by solid.close")
  if not len(points):
    return np.zeros(0)
  if not np.isfinite(points).all():
    raise ValueError("some points are not finite; drop them first")
  return igl.fast_winding_number(
    np.ascontiguousarray(solid.vertices, np.float64),
    np.ascontiguousarray(solid.faces, np.int64),
    np.ascontiguousarray(points, np.float64),
  )


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


def _label_cells(
  solid: Solid,
) -> tuple[Int[np.ndarray, "x y z"], Float[np.ndarray, "3"], float] | None:
  """Labels of the cubic cells that tile the bounding box, two cells wider all round.

  Cells within one cell of the surface are left open; what is connected among the others
  shares a winding number, which one query tells.

  Returns:
    labels (0 outside, 1 inside, 2 open), the corner of cell (0, 0, 0) and the cells'
    side; None where the surface is too large or its triangles are too thin for this.
  """
  lower, upper = solid.vertices.min(0), solid.vertices.max(0)
  size = float((upper - lower).max()) / _CELLS
  origin = lower - 2 * size
  marks = _cover(solid, _SPACING * size)
  if marks is None:
    return None
  near = np.zeros(((upper - lower) / size).astype(np.int64) + 5, np.uint8)
  index = ((marks - origin) / size).astype(np.int64)
  near[index[:, 0], index[:, 1], index[:, 2]] = 1
  # A surface point is within spacing / sqrt(3) < 1 cell of a mark along each axis.
  near = ndimage.maximum_filter(near, size=3)
  region, count = ndimage.label(near == 0)
  flat = region.ravel()
  sample = np.zeros(count + 1, np.int64)
  sample[flat] = np.arange(len(flat))
  centres = np.stack(np.unravel_index(sample[1:], region.shape), 1) + 0.5
  inside = winding_number(solid, origin + size * centres) > 0.5
  return np.concatenate([[2], inside]).astype(np.uint8)[region], origin, size


def _cover(solid: Solid, spacing: float) -> Float[np.ndarray, "m 3"] | None:
  """Lattice points on all triangles, cut into pieces with edges up to `spacing`."""
  corners = solid.vertices[solid.faces]
  edges = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=-1).max(1)
  pieces = np.maximum(np.ceil(edges / spacing), 1).astype(np.int64)
  if ((pieces + 1) * (pieces + 2) // 2).sum() > _MOST_MARKS:
    return None
  marks = [solid.vertices]
  for k in np.unique(pieces[pieces > 1]):
    i, j = np.meshgrid(np.arange(k + 1), np.arange(k + 1), indexing="ij")
    i, j = i[i + j <= k], j[i + j <= k]
    weights = np.stack([k - i - j, i, j], 1) / k
    marks.append(np.einsum("mk,fkd->fmd", weights, corners[pieces == k]).reshape(-1, 3))
  return np.concatenate(marks)
