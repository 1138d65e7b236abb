"""From a triangle soup towards a closed chain of triangles (host, numpy, libigl).

A chain is closed where along every edge as many triangles run one way as the other.
Vertices in one place become one, faces are turned to agree with their neighbours, and
what then bounds the chain is a set of cycles, which are filled.

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
_LARGEST_CYCLE = 128  # corners; the least area takes the cube of them, a fan does not
_BLOCK = 2**20  # numbers a table of all pairs of corners, to bound the memory
_FLAT = 1e-6  # volume by area, in extents, of a patch that is a sheet whatever else
_SHALLOW = 0.01  # volume by area^1.5 of one with large holes; half a ball has 0.07


def weld(
  vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"]
) -> tuple[Float[np.ndarray, "w 3"], Int[np.ndarray, "g 3"]]:
  """Joins vertices in the same place; drops faces that have or lose two corners there.

  None of this opens a closed chain of triangles.

  Raises:
    ValueError: all vertices lie in one place, or no face has three corners.
  """
  lower = vertices[faces].min((0, 1))
  extent = float((vertices[faces].max((0, 1)) - lower).max())
  if extent == 0:
    raise ValueError("all vertices lie in one place; want a solid")
  used, corner = np.unique(faces, return_inverse=True)
  grid = np.round((vertices[used] - lower) / (_WELD * extent)).astype(np.int64)
  key = (grid[:, 0] << 42) + (grid[:, 1] << 21) + grid[:, 2]  # 1e6 fits 21 bits
  _, first, welded = np.unique(key, return_index=True, return_inverse=True)
  faces = welded[corner].reshape(-1, 3)
  faces = faces[(faces != np.roll(faces, 1, axis=1)).all(1)]
  if not len(faces):
    raise ValueError("no face has three corners; want a solid")
  return drop_unused(vertices[used[first]], faces)


def drop_unused(
  vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"]
) -> tuple[Float[np.ndarray, "w 3"], Int[np.ndarray, "f 3"]]:
  """Leaves out vertices that no face has."""
  used, corner = np.unique(faces, return_inverse=True)
  return vertices[used], corner.reshape(-1, 3)


def has_opposite_twin(faces: Int[np.ndarray, "f 3"]) -> Bool[np.ndarray, "f"]:
  """Which faces pair off with one that has the same corners and opposite winding."""
  unique, group = np.unique(np.sort(faces, axis=1), axis=0, return_inverse=True)
  if len(unique) == len(faces):
    return np.zeros(len(faces), bool)
  a, b, c = faces.T
  even = ((b > a) ^ (c > a) ^ (c > b)).astype(np.int64)
  kind = 2 * group.ravel() + even
  count = np.bincount(kind, minlength=2 * len(unique))
  order = np.argsort(kind, kind="stable")
  rank = np.empty_like(order)
  rank[order] = np.arange(len(order)) - (np.cumsum(count) - count)[kind[order]]
  return rank < count[kind ^ 1]


def unique_faces(faces: Int[np.ndarray, "f 3"]) -> Int[np.ndarray, "g 3"]:
  """The first of all faces with the same corners, however they are wound."""
  first = np.unique(np.sort(faces, axis=1), axis=0, return_index=True)[1]
  return faces[np.sort(first)]


def make_winding_consistent(
  vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"]
) -> tuple[Int[np.ndarray, "f 3"], Int[np.ndarray, "f"]]:
  """Turns faces so that neighbours agree, as most of the area of their patch did.

  Faces are neighbours across an edge that no third face has.

  Returns:
    faces: in the order given.
    patch: of each face, the number of those that hang together by neighbours.
  """
  turned, patch = (found.astype(np.int64) for found in igl.bfs_orient(faces))
  area = unit_normals_and_areas(vertices, faces)[1]
  vote = np.bincount(patch, np.where((turned == faces).all(1), area, -area))
  return np.where((vote < 0)[patch, None], turned[:, ::-1], turned), patch


def boundary_edges(faces: Int[np.ndarray, "f 3"]) -> Int[np.ndarray, "e 2"]:
  """Directed edges that the faces run more often than back, once for every surplus.

  They bound the chain: none, and it is closed.
  """
  tail, head = faces.ravel(), np.roll(faces, -1, axis=1).ravel()
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
  """Closes the chain: nothing bounds `faces` together with those that are added.

  A cycle of the boundary is triangulated at the least area (Barequet and Sharir 1995):
  without error if it is flat, so a lost triangle comes back as it was. Cycles of more
  than a hundred corners become a fan around their centre.

  Returns:
    vertices: those given, and centres of fans behind them.
    faces: those that fill.
  """
  filling, centres = [faces], [vertices]
  cycles = collections.defaultdict(list)
  for cycle in _cycles(vertices, boundary_edges(faces)[:, ::-1]):
    if len(cycle) == 3 or np.ptp(vertices[cycle], axis=0).max() <= widest:
      cycles[len(cycle)].append(cycle)
  for size, alike in cycles.items():
    if size <= _LARGEST_CYCLE:
      some = _BLOCK // size**2
      for stack in (np.stack(alike[i : i + some]) for i in range(0, len(alike), some)):
        triangles = _least_area(vertices[stack])
        filling += [row[its] for row, its in zip(stack, triangles, strict=True)]
      continue
    for cycle in alike:
      centre = np.full(size, len(vertices) + len(centres) - 1)
      centres.append(vertices[cycle].mean(0, keepdims=True))
      filling.append(np.stack([cycle, np.roll(cycle, -1), centre], axis=1))
  return np.concatenate(centres), np.concatenate(filling)


def _cycles(
  vertices: Float[np.ndarray, "v 3"], edges: Int[np.ndarray, "e 2"]
) -> list[Int[np.ndarray, "_"]]:
  """Cuts directed edges, as many into a vertex as out of it, into simple cycles.

  Where several edges leave a vertex, the walk takes the one whose end is closest to
  where it came from: holes that touch in a corner come apart.
  """
  leaving = collections.defaultdict(list)
  for tail, head in edges.tolist():
    leaving[tail].append(head)
  cycles = []
  for start in list(leaving):
    while leaving[start]:
      path, place = [start], {start: 0}
      while True:
        heads = leaving[path[-1]]
        choice = 0
        if len(heads) > 1:
          origin = vertices[path[-2] if len(path) > 1 else path[-1]]
          gaps = vertices[heads] - origin
          choice = int(np.einsum("ij,ij->i", gaps, gaps).argmin())
        head = heads.pop(choice)
        if head not in place:
          place[head] = len(path)
          path.append(head)
          continue
        cycle = path[place[head] :]
        cycles.append(np.array(cycle))
        for vertex in cycle[1:]:
          del place[vertex]
        path = path[: place[head] + 1]
        if len(path) == 1:
          break
  return cycles


def _least_area(
  corners: Float[np.ndarray, "m n 3"],
) -> Iterator[Int[np.ndarray, "_ 3"]]:
  """For each of some polygons in space, the triangulation that has the least area.

  `area[:, i, j]` is that of the part between corners i and j, by way of the best corner
  k between them.
  """
  count, size = corners.shape[:2]
  area = np.zeros((count, size, size))
  best = np.zeros((count, size, size), np.int64)
  for span in range(2, size):
    i = np.arange(size - span)
    k = i[:, None] + np.arange(1, span)
    j = i + span
    a, b, c = corners[:, i, None], corners[:, k], corners[:, j, None]
    triangle = np.linalg.norm(np.cross(b - a, c - a), axis=-1) / 2
    total = area[:, i[:, None], k] + area[:, k, j[:, None]] + triangle
    which = total.argmin(2)
    area[:, i, j] = np.take_along_axis(total, which[..., None], axis=2)[..., 0]
    best[:, i, j] = i + 1 + which
  for middle in best:
    triangles, waiting = [], [(0, size - 1)]
    while waiting:
      i, j = waiting.pop()
      if j - i > 1:
        k = int(middle[i, j])
        triangles.append((i, k, j))
        waiting += [(i, k), (k, j)]
    yield np.array(triangles, np.int64).reshape(-1, 3)


def find_open_patches(
  vertices: Float[np.ndarray, "v 3"],
  faces: Int[np.ndarray, "f 3"],
  count: int,
  most: float,
) -> tuple[Bool[np.ndarray, "f"], Bool[np.ndarray, "f"]]:
  """Faces of closed patches that have no inside to speak of.

  Args:
    vertices, faces: as `fill` returns them.
    count: faces before; those behind fill holes that need not have been there.
    most: share of a patch's area that may fill holes.

  Returns:
    sheet: of patches that enclose hardly anything, as a sheet with its own back does.
    vessel: of patches that would enclose something, but are open too widely.
  """
  patch = igl.extract_manifold_patches(faces)[1].astype(np.int64)
  volume = np.abs(np.bincount(patch, winding.volumes(Solid(vertices, faces))))
  areas = unit_normals_and_areas(vertices, faces)[1]
  area = np.bincount(patch, areas)
  added = np.bincount(patch[count:], areas[count:], minlength=len(area))
  wide = added > most * area
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
  """Sheets as slabs that reach so far to either side, closed along their edges.

  Args:
    vertices, faces: that agree in their winding.
    thickness: above 0, in their unit. Where a sheet bends more tightly than this, its
      slab crosses itself.
  """
  vertices, faces = drop_unused(vertices, faces)
  normals, areas = unit_normals_and_areas(vertices, faces)
  corner_normals = np.zeros_like(vertices)
  np.add.at(corner_normals, faces, (normals * areas[:, None])[:, None])
  lengths = np.linalg.norm(corner_normals, axis=1, keepdims=True)
  step = thickness * corner_normals / np.maximum(lengths, np.finfo(np.float64).tiny)
  count = len(vertices)
  tail, head = boundary_edges(faces).T
  walls = np.stack([head, tail, tail + count, head, tail + count, head + count], axis=1)
  return np.concatenate([vertices + step, vertices - step]), np.concatenate(
    [faces, faces[:, ::-1] + count, walls.reshape(-1, 3)]
  )
