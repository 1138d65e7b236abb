"""Repairs of a triangle soup towards a closed mesh (host, numpy, libigl).

A mesh is closed if along every edge as many triangles run one way as the other.
Coincident vertices are welded, faces are flipped to agree with their neighbours, and
the edges that then bound the mesh form cycles, the holes, which are filled.

Shape letters: v, w vertices, f, g faces, e edges, m cycles of n corners.
"""

import collections
from collections.abc import Iterator

import igl
import numpy as np
from jaxtyping import Bool, Float, Int

from data_prep.watertight import winding
from occnet_jax.geometry.solids import Solid
from occnet_jax.geometry.triangles import unit_normals_and_areas

_WELD = 1e-6  # of the largest extent: vertices closer than this become one
_MAX_CORNERS = 128  # of a hole filled at least area, in time cubic in the corners
_BLOCK = 2**20  # numbers in the tables of all pairs of corners, to bound the memory
_FLAT = 1e-6  # volume / area, in extents, below which a patch is always a sheet
_SHALLOW = (
  0.01  # volume / area^1.5, below which a wide-open patch is; half a ball: 0.07
)


def weld(
  vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"]
) -> tuple[Float[np.ndarray, "w 3"], Int[np.ndarray, "g 3"]]:
  """Merges coincident vertices; drops faces of which two corners coincide.

  Neither opens a closed mesh.

  Raises:
    ValueError: all vertices lie in one place, or no face has three corners.
  """
  lower = vertices[faces].min((0, 1))
  extent = float((vertices[faces].max((0, 1)) - lower).max())
  if extent == 0:
    raise ValueError("all vertices lie in one place; want a solid")
  used, corner = np.unique(faces, return_inverse=True)
  grid = np.round((vertices[used] - lower) / (_WELD * extent)).astype(np.int64)
  # One integer for each grid point: three times 21 bits, enough for 1e6 steps.
  key = (grid[:, 0] << 42) + (grid[:, 1] << 21) + grid[:, 2]
  _, first, welded = np.unique(key, return_index=True, return_inverse=True)
  faces = welded[corner].reshape(-1, 3)
  faces = faces[(faces != np.roll(faces, 1, axis=1)).all(1)]
  if not len(faces):
    raise ValueError("no face has three corners; want a solid")
  return drop_unused(vertices[used[first]], faces)


def drop_unused(
  vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"]
) -> tuple[Float[np.ndarray, "w 3"], Int[np.ndarray, "f 3"]]:
  """Removes vertices that no face uses."""
  used, corner = np.unique(faces, return_inverse=True)
  return vertices[used], corner.reshape(-1, 3)


def has_opposite_twin(faces: Int[np.ndarray, "f 3"]) -> Bool[np.ndarray, "f"]:
  """Whether a face pairs off with one of the same corners and opposite winding."""
  unique, group = np.unique(np.sort(faces, axis=1), axis=0, return_inverse=True)
  if len(unique) == len(faces):
    return np.zeros(len(faces), bool)
  # The parity of the permutation that sorts the corners tells the two windings apart.
  a, b, c = faces.T
  even = ((b > a) ^ (c > a) ^ (c > b)).astype(np.int64)
  kind = 2 * group.ravel() + even  # kind ^ 1 is the same triangle, wound the other way
  count = np.bincount(kind, minlength=2 * len(unique))
  # The i-th face of a kind pairs off with the i-th of the other, if there is one.
  order = np.argsort(kind, kind="stable")
  rank = np.empty_like(order)
  rank[order] = np.arange(len(order)) - (np.cumsum(count) - count)[kind[order]]
  return rank < count[kind ^ 1]


def unique_faces(faces: Int[np.ndarray, "f 3"]) -> Int[np.ndarray, "g 3"]:
  """The first of all faces with the same corners, of either winding."""
  first = np.unique(np.sort(faces, axis=1), axis=0, return_index=True)[1]
  return faces[np.sort(first)]


def make_winding_consistent(
  vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"]
) -> tuple[Int[np.ndarray, "f 3"], Int[np.ndarray, "f"]]:
  """Flips faces so that neighbours agree, in favour of most of the area of a patch.

  Faces are neighbours across an edge that no third face shares.

  Returns:
    faces: faces in the order given.
    patch: index of the patch of each face, the faces connected through neighbours.
  """
  oriented, patch = (array.astype(np.int64) for array in igl.bfs_orient(faces))
  area = unit_normals_and_areas(vertices, faces)[1]
  vote = np.bincount(patch, np.where((oriented == faces).all(1), area, -area))
  return np.where((vote < 0)[patch, None], oriented[:, ::-1], oriented), patch


def boundary_edges(faces: Int[np.ndarray, "f 3"]) -> Int[np.ndarray, "e 2"]:
  """Directed edges that faces traverse more often than back, once for every surplus.

  They bound the mesh: without any, it is closed.
  """
  tail, head = faces.ravel(), np.roll(faces, -1, axis=1).ravel()
  # Both directions of an edge have one key, its lower vertex in the upper 32 bits.
  key = (np.minimum(tail, head) << 32) + np.maximum(tail, head)
  key, edge = np.unique(key, return_inverse=True)
  surplus = np.bincount(edge, np.where(tail < head, 1, -1)).astype(np.int64)
  edges = np.stack([key >> 32, key & 0xFFFFFFFF], axis=1)
  edges = np.where(surplus[:, None] > 0, edges, edges[:, ::-1])
  return np.repeat(edges, np.abs(surplus), axis=0)


def fill_holes(
  vertices: Float[np.ndarray, "v 3"],
  faces: Int[np.ndarray, "f 3"],
  *,
  widest: float = np.inf,
) -> tuple[Float[np.ndarray, "w 3"], Int[np.ndarray, "g 3"]]:
  """Fills the holes of a mesh; without `widest`, the result is closed.

  A cycle of the boundary is triangulated at the least area (Barequet and Sharir 1995).
  That is exact if the hole is flat, so a lost triangle comes back as it was. Cycles of
  more than _MAX_CORNERS corners become a fan around their centre.

  Args:
    vertices, faces: the mesh.
    widest: extent of the largest hole that is filled; holes of three corners always
      are.

  Returns:
    vertices: those given, followed by the centres of fans.
    faces: those given, followed by those that fill.
  """
  filling, centres = [faces], [vertices]
  cycles = collections.defaultdict(list)
  # Faces that fill a hole traverse its edges the other way.
  for cycle in _cycles(vertices, boundary_edges(faces)[:, ::-1]):
    if len(cycle) == 3 or np.ptp(vertices[cycle], axis=0).max() <= widest:
      cycles[len(cycle)].append(cycle)
  for size, alike in cycles.items():
    if size <= _MAX_CORNERS:
      step = _BLOCK // size**2
      for stack in (np.stack(alike[i : i + step]) for i in range(0, len(alike), step)):
        triangles = _least_area(vertices[stack])
        # Triangles are indices of corners within their cycle.
        filling += [cycle[part] for cycle, part in zip(stack, triangles, strict=True)]
      continue
    for cycle in alike:
      centre = np.full(size, len(vertices) + len(centres) - 1)
      centres.append(vertices[cycle].mean(0, keepdims=True))
      filling.append(np.stack([cycle, np.roll(cycle, -1), centre], axis=1))
  return np.concatenate(centres), np.concatenate(filling)


def _cycles(
  vertices: Float[np.ndarray, "v 3"], edges: Int[np.ndarray, "e 2"]
) -> list[Int[np.ndarray, "_"]]:
  """Decomposes directed edges into simple cycles.

  As many edges enter a vertex as leave it, so a walk along unused edges never gets
  stuck before it returns to a vertex of its path; that loop is cut off as a cycle.
  Where several edges leave a vertex, the walk takes the one whose end is closest to the
  vertex before, so that holes which touch in a corner become separate cycles.
  """
  leaving = collections.defaultdict(list)  # vertex -> heads of its unused edges
  for tail, head in edges.tolist():
    leaving[tail].append(head)
  cycles = []
  for start in list(leaving):
    while leaving[start]:
      path, position = [start], {start: 0}  # position of each vertex in the path
      while True:
        heads = leaving[path[-1]]
        choice = 0
        if len(heads) > 1:
          origin = vertices[path[-2] if len(path) > 1 else path[-1]]
          gaps = vertices[heads] - origin
          choice = int(np.einsum("ij,ij->i", gaps, gaps).argmin())
        head = heads.pop(choice)
        if head not in position:
          position[head] = len(path)
          path.append(head)
          continue
        # The edge returns to the path: cut the loop off, and go on from its vertex.
        cycle = path[position[head] :]
        cycles.append(np.array(cycle))
        for vertex in cycle[1:]:
          del position[vertex]
        path = path[: position[head] + 1]
        if len(path) == 1:  # back at the start, where other edges may leave
          break
  return cycles


def _least_area(
  corners: Float[np.ndarray, "m n 3"],
) -> Iterator[Int[np.ndarray, "_ 3"]]:
  """The triangulation of least area of each of m polygons in space.

  Dynamic programming over chords: `area[:, i, j]` is the least area of the part of the
  polygon from corner i to corner j, and `best[:, i, j]` the corner k between them whose
  triangle (i, k, j) attains it.
  """
  count, size = corners.shape[:2]
  area = np.zeros((count, size, size))
  best = np.zeros((count, size, size), np.int64)
  for span in range(2, size):  # j - i, from short chords to the whole polygon
    i = np.arange(size - span)
    k = i[:, None] + np.arange(1, span)  # (chords, candidates)
    j = i + span
    a, b, c = corners[:, i, None], corners[:, k], corners[:, j, None]
    triangle = np.linalg.norm(np.cross(b - a, c - a), axis=-1) / 2
    total = area[:, i[:, None], k] + area[:, k, j[:, None]] + triangle
    chosen = total.argmin(2)
    area[:, i, j] = np.take_along_axis(total, chosen[..., None], axis=2)[..., 0]
    best[:, i, j] = i + 1 + chosen
  for middle in best:
    # Unfold the choices from the chord that spans the whole polygon.
    triangles, chords = [], [(0, size - 1)]
    while chords:
      i, j = chords.pop()
      if j - i > 1:
        k = int(middle[i, j])
        triangles.append((i, k, j))
        chords += [(i, k), (k, j)]
    yield np.array(triangles, np.int64).reshape(-1, 3)


def find_open_patches(
  vertices: Float[np.ndarray, "v 3"],
  faces: Int[np.ndarray, "f 3"],
  count: int,
  max_added: float,
) -> tuple[Bool[np.ndarray, "f"], Bool[np.ndarray, "f"]]:
  """Faces of closed patches that had no inside before their holes were filled.

  Args:
    vertices, faces: a mesh as `fill_holes` returns it.
    count: number of faces before the filling; those behind fill holes.
    max_added: largest share of a patch's area that may fill holes.

  Returns:
    sheet: faces of patches that enclose hardly anything, as a sheet closed by its own
      back does.
    vessel: faces of patches that would enclose something, but are open too widely.
  """
  patch = igl.extract_manifold_patches(faces)[1].astype(np.int64)
  volume = np.abs(np.bincount(patch, winding.volumes(Solid(vertices, faces))))
  areas = unit_normals_and_areas(vertices, faces)[1]
  area = np.bincount(patch, areas)
  added = np.bincount(patch[count:], areas[count:], minlength=len(area))
  wide = added > max_added * area
  sheet = (volume <= _FLAT * area) | (wide & (volume <= _SHALLOW * area**1.5))
  # A vertex counts once for each patch, so that each has a boundary of its own.
  key, corner = np.unique(patch[:, None] * len(vertices) + faces, return_inverse=True)
  edges = boundary_edges(corner.reshape(-1, 3))
  closed = np.ones(len(area), bool)
  closed[key[edges[:, 0]] // len(vertices)] = False
  return (closed & sheet)[patch], (closed & wide & ~sheet)[patch]


def thicken_sheets(
  vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"], thickness: float
) -> tuple[Float[np.ndarray, "w 3"], Int[np.ndarray, "g 3"]]:
  """Slabs around sheets, closed along their edges.

  Args:
    vertices, faces: sheets of consistent winding.
    thickness: distance from the sheet to either side of the slab, above 0 and in the
      unit of the vertices. Where a sheet bends more tightly than this, its slab crosses
      itself.
  """
  vertices, faces = drop_unused(vertices, faces)
  normals, areas = unit_normals_and_areas(vertices, faces)
  corner_normals = np.zeros_like(vertices)
  np.add.at(corner_normals, faces, (normals * areas[:, None])[:, None])
  lengths = np.linalg.norm(corner_normals, axis=1, keepdims=True)
  step = thickness * corner_normals / np.maximum(lengths, np.finfo(np.float64).tiny)
  # Vertex i of the sheet becomes i on the outer side and i + count on the inner one; a
  # wall of two triangles joins the sides along each boundary edge.
  count = len(vertices)
  tail, head = boundary_edges(faces).T
  walls = np.stack([head, tail, tail + count, head, tail + count, head + count], axis=1)
  return np.concatenate([vertices + step, vertices - step]), np.concatenate(
    [faces, faces[:, ::-1] + count, walls.reshape(-1, 3)]
  )
