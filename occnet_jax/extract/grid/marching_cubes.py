"""Marching cubes on the crossed cells of a sparse grid (host).

Lorensen and Cline, SIGGRAPH 1987: a vertex on every crossed edge, and up to five
triangles a cell from libigl's table, the one that the reference's library has too.
Triangles are counter-clockwise as seen from outside. `active_cells` draws the cell.

Shape letters: m cells, e crossed edges, v vertices, f faces.
"""

import functools
from typing import NamedTuple

import igl
import numpy as np
from jaxtyping import Float, Int

from occnet_jax.extract.grid.active_cells import ALONG, Crossings, edge_points
from occnet_jax.extract.grid.key_sets import KeyIndex
from occnet_jax.extract.grid.mise import CHUNK, CORNERS
from occnet_jax.geometry.grids import to_keys

Vertices = Float[np.ndarray, "v 3"]
Faces = Int[np.ndarray, "f 3"]
# EDGES[i] = (lower corner, axis) of edge i: e0 to e3 along x, e4 to e7 along y, e8 to
# e11 along z. A corner starts an edge along an axis if its coordinate there is 0.
EDGES = [(c, a) for a in range(3) for c in range(8) if not c & ALONG[a]]


class Table(NamedTuple):
  """The cases of marching cubes, by the 256 configurations of a cell.

  Attributes:
    triangle_count: (256,) number of triangles.
    triangles: (256, 5, 3) the edges on which they have their corners.
    component: (256, 12) the connected component of the surface within the cell that
      has a vertex on each edge, or -1.
    component_count: (256,) number of components.
    edge_rank: (256, 3) number of crossed edges that start at the lowest corner along
      the axes before each axis.
  """

  triangle_count: Int[np.ndarray, "256"]
  triangles: Int[np.ndarray, "256 5 3"]
  component: Int[np.ndarray, "256 12"]
  component_count: Int[np.ndarray, "256"]
  edge_rank: Int[np.ndarray, "256 3"]


@functools.cache
def cube_table() -> Table:
  """Makes the table by asking libigl for the triangles of every configuration."""
  triangles = np.zeros((256, 5, 3), np.int64)
  component = np.full((256, 12), -1)
  triangle_count, component_count = np.zeros(256, np.int64), np.zeros(256, np.int64)
  midpoints = np.stack([CORNERS[c] + 0.5 * np.eye(3)[axis] for c, axis in EDGES])
  # libigl takes grids with x fastest; ours have z fastest.
  grid_points = np.ascontiguousarray(CORNERS[:, ::-1], np.float64)
  inside = (np.arange(256)[:, None] >> np.arange(8)) & 1
  for config in range(1, 255):  # the inside is negative for libigl
    values = np.where(inside[config].reshape(2, 2, 2).ravel(order="F"), -1.0, 1.0)
    points, faces, _ = igl.marching_cubes(values, grid_points, 2, 2, 2, 0.0)
    # Values of 1 and -1 put its vertices at the edges' midpoints: that names the edges.
    distances = np.abs(points[:, None] - midpoints).sum(-1)
    faces = distances.argmin(1)[faces]
    triangle_count[config] = len(faces)
    triangles[config, : len(faces)] = faces
    component_count[config] = label_components(component[config], faces)
  crossed = inside[:, :1] != inside[:, ALONG]
  edge_rank = np.cumsum(crossed, axis=1) - crossed  # exclusive: counts axes before
  return Table(triangle_count, triangles, component, component_count, edge_rank)


def label_components(component: Int[np.ndarray, "12"], faces: Faces) -> int:
  """Numbers the connected components of triangles, in place; returns their number."""
  groups: list[set[int]] = []
  for face in faces.tolist():
    joined = set(face).union(*(group for group in groups if group & set(face)))
    groups = [group for group in groups if not group & joined] + [joined]
  for number, group in enumerate(groups):
    component[list(group)] = number
  return len(groups)


def cell_edges(
  crossings: Crossings, index: KeyIndex, start: int, stop: int
) -> Int[np.ndarray, "m 12"]:
  """Positions in `crossings.edges` of the edges of cells start .. stop.

  `index` has the positions of the crossed cells.
  For edges that the surface does not cross, any number.
  """
  # An edge is owned by the cell whose lowest corner is its lower end. That is this cell
  # or a neighbour, whose key differs by a corner's; no edge starts at corner 7.
  offsets = to_keys(CORNERS[:7], crossings.resolution + 3)
  owners = index.find(crossings.cells[start:stop, None] + offsets)
  corners, axes = np.array(EDGES).T
  owners = owners[:, corners]
  rank = cube_table().edge_rank[crossings.configs[owners], axes]
  return crossings.edge_offset[owners] + rank


def triangulate(crossings: Crossings) -> Faces:
  """The triangles of marching cubes; their corners are numbers of crossed edges."""
  table = cube_table()
  index = KeyIndex(crossings.cells, (crossings.resolution + 3) ** 3)
  parts = [np.zeros((0, 3), np.int64)]
  for start in range(0, len(crossings.cells), CHUNK // 8):
    stop = min(start + CHUNK // 8, len(crossings.cells))
    edges, configs = (
      cell_edges(crossings, index, start, stop),
      crossings.configs[start:stop],
    )
    # The table has room for five triangles a cell; `used` selects those that exist.
    used = np.arange(5) < table.triangle_count[configs][:, None]
    rows = np.nonzero(used)[0]  # the cell of each triangle, in the order of `used`
    # From a cell's own edge numbers, 0 to 11, to those of all crossed edges.
    parts.append(edges[rows[:, None], table.triangles[configs][used]])
  return np.concatenate(parts)


def linear_params(crossings: Crossings, level: float) -> Float[np.ndarray, " e"]:
  """Parameters of the vertices on their edges, 0 to 1, for a linear field."""
  ends = crossings.ends.astype(np.float64)
  return (level - ends[:, 0]) / (ends[:, 1] - ends[:, 0])


def place_vertices(crossings: Crossings, t: Float[np.ndarray, " e"]) -> Vertices:
  """The points with parameters t on the crossed edges, in cells of the grid."""
  vertices = np.zeros((len(t), 3))
  for start in range(0, len(t), CHUNK):
    part = slice(start, start + CHUNK)
    points, axes = edge_points(crossings, crossings.edges[part])
    vertices[part] = points + t[part, None] * np.eye(3)[axes]
  return vertices
