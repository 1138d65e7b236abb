"""From the crossings of a field to triangles, and whether these bound a solid (host).

Marching cubes (Lorensen and Cline, SIGGRAPH 1987) on the crossed cells alone: a vertex
on every crossed edge, and up to five triangles a cell from libigl's table, the one that
the reference's library has too. Triangles are counter-clockwise seen from outside.

Shape letters: m cells, e crossed edges, v vertices, f faces.
"""

import functools
from typing import NamedTuple

import igl
import numpy as np
from jaxtyping import Float, Int

from occnet_jax.extract.grid.active_cells import ALONG, Crossings, edge_points
from occnet_jax.extract.grid.mise import CHUNK, SIDES, search_sorted
from occnet_jax.geometry.grids import to_keys

Vertices = Float[np.ndarray, "v 3"]
Faces = Int[np.ndarray, "f 3"]
# The edges of a cell: along x, then y, then z, each from four of the corners.
EDGES = [(c, a) for a in range(3) for c in range(8) if not c & ALONG[a]]


class Table(NamedTuple):
  """What marching cubes does in a cell; all by configuration, of which there are 256.

  Attributes:
    counts: (256,) how many triangles.
    triangles: (256, 5, 3) the edges on which they have their corners.
    patches: (256, 12) to which connected piece of the surface an edge belongs, or -1.
    pieces: (256,) how many of these.
    ranks: (256, 3) how many edges before this axis are crossed from the lowest corner.
  """

  counts: Int[np.ndarray, "256"]
  triangles: Int[np.ndarray, "256 5 3"]
  patches: Int[np.ndarray, "256 12"]
  pieces: Int[np.ndarray, "256"]
  ranks: Int[np.ndarray, "256 3"]


@functools.cache
def cube_table() -> Table:
  """Asks libigl for the triangles of every configuration."""
  triangles = np.zeros((256, 5, 3), np.int64)
  patches = np.full((256, 12), -1)
  counts, pieces = np.zeros(256, np.int64), np.zeros(256, np.int64)
  middles = [SIDES[corner] + 0.5 * np.eye(3)[axis] for corner, axis in EDGES]
  places = np.ascontiguousarray(SIDES[:, ::-1], np.float64)  # x fastest
  inside = (np.arange(256)[:, None] >> np.arange(8)) & 1
  for config in range(1, 255):  # libigl has the inside below
    values = np.where(inside[config].reshape(2, 2, 2).ravel(order="F"), -1.0, 1.0)
    points, faces, _ = igl.marching_cubes(values, places, 2, 2, 2, 0.0)
    distances = np.abs(points[:, None] - np.stack(middles)).sum(-1)
    faces = distances.argmin(1)[faces]
    counts[config] = len(faces)
    triangles[config, : len(faces)] = faces
    pieces[config] = label(patches[config], faces)
  corners = inside[:, :1] != inside[:, ALONG]
  ranks = np.cumsum(corners, axis=1) - corners
  return Table(counts, triangles, patches, pieces, ranks)


def label(patches: Int[np.ndarray, "12"], faces: Int[np.ndarray, "f 3"]) -> int:
  """Numbers the connected pieces of triangles, in place; how many there are."""
  groups: list[set[int]] = []
  for face in faces.tolist():
    joined = set(face).union(*(group for group in groups if group & set(face)))
    groups = [group for group in groups if not group & joined] + [joined]
  for number, group in enumerate(groups):
    patches[list(group)] = number
  return len(groups)


def cell_edges(crossings: Crossings, start: int, stop: int) -> Int[np.ndarray, "m 12"]:
  """Where the edges of cells start .. stop stand in `crossings.edges`.

  For edges that the surface does not cross, any number.
  """
  cells, ranks = crossings.cells, cube_table().ranks
  offsets = to_keys(SIDES[:7], crossings.resolution + 3)
  owners = search_sorted(cells, cells[start:stop, None] + offsets)
  corners, axes = np.array(EDGES).T
  owners = owners[:, corners]
  return crossings.first[owners] + ranks[crossings.configs[owners], axes]


def triangulate(crossings: Crossings) -> Faces:
  """The triangles of marching cubes; their corners are numbers of crossed edges."""
  table = cube_table()
  parts = [np.zeros((0, 3), np.int64)]
  for start in range(0, len(crossings.cells), CHUNK // 8):
    stop = min(start + CHUNK // 8, len(crossings.cells))
    edges, configs = cell_edges(crossings, start, stop), crossings.configs[start:stop]
    used = np.arange(5) < table.counts[configs][:, None]
    rows = np.nonzero(used)[0]
    parts.append(edges[rows[:, None], table.triangles[configs][used]])
  return np.concatenate(parts)


def linear_params(crossings: Crossings, level: float) -> Float[np.ndarray, " e"]:
  """How far along its edge, from 0 to 1, each vertex lies if the field is linear."""
  ends = crossings.ends.astype(np.float64)
  return (level - ends[:, 0]) / (ends[:, 1] - ends[:, 0])


def place_vertices(crossings: Crossings, places: Float[np.ndarray, " e"]) -> Vertices:
  """The points that lie so far along the crossed edges, in cells of the grid."""
  vertices = np.zeros((len(places), 3))
  for start in range(0, len(places), CHUNK):
    part = slice(start, start + CHUNK)
    points, axes = edge_points(crossings, crossings.edges[part])
    vertices[part] = points + places[part, None] * np.eye(3)[axes]
  return vertices
