"""Manifold dual contouring: vertices in cells, where a surface's planes meet (host).

Ju, Losasso, Schaefer and Warren (SIGGRAPH 2002), with a vertex for every connected
component of the surface in a cell (Nielson, Dual Marching Cubes, 2004) instead of one a
cell. A vertex is the point nearest to the tangent planes at the crossings of its
component, within its cell, so sharp edges and corners of the field stay sharp. Every
crossed edge of the grid gives a quadrilateral of the vertices around it, split along
the better diagonal.

The mesh is the dual of that of marching cubes, so it is closed, and each vertex has one
fan of faces. Two components may meet twice in one cell face; those two joints would be
one edge of four faces, so each gets a vertex of its own at its midpoint.

Coordinates are in cells of the grid; `active_cells` draws the cell. Shape letters: e
crossed edges, m cells, v vertices, q quadrilaterals.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from occnet_jax.extract.grid.active_cells import ALONG, Crossings, edge_points
from occnet_jax.extract.grid.key_sets import KeyIndex, sorted_unique
from occnet_jax.extract.grid.marching_cubes import EDGES, Faces, cell_edges, cube_table
from occnet_jax.extract.grid.mise import CHUNK
from occnet_jax.geometry.grids import to_keys

CUT_OFF = 0.1  # of the largest eigenvalue: directions below are left at the mean
EDGE_NUMBER = np.full((8, 3), -1)  # number of the edge from a corner along an axis
EDGE_NUMBER[tuple(np.array(EDGES).T)] = np.arange(12)
# The four cells around an edge, counter-clockwise as seen from its upper end: the place
# of the edge's lower end among each cell's corners, along the two axes after its own.
AROUND = np.array([(0, 0), (1, 0), (1, 1), (0, 1)])
HALVES = np.array([[[0, 1, 2], [0, 2, 3]], [[1, 2, 3], [1, 3, 0]]])  # by the diagonal

Points = Float[np.ndarray, "e 3"]


class Dual(NamedTuple):
  """Attributes:
  vertices: (v, 3) in cells, 0 to resolution.
  faces: (f, 3) outward.
  """

  vertices: Float[np.ndarray, "v 3"]
  faces: Faces


def dual_contour(crossings: Crossings, points: Points, normals: Points) -> Dual:
  """The surface through the crossings of all edges, closed and manifold.

  Args:
    crossings: the crossed cells and edges of a field.
    points: the point of the surface on each edge, in cells of the grid.
    normals: unit vectors across the surface there, 0 where unknown.
  """
  table = cube_table()
  # Vertices are numbered cell by cell, and within a cell by component.
  counts = table.component_count[crossings.configs]
  vertex_offset = np.cumsum(counts) - counts
  vertices = place_in_cells(crossings, points, normals, vertex_offset)
  index = crossings.cell_index()
  quads = [
    around_edges(crossings, index, start, vertex_offset)
    for start in range(0, len(points), CHUNK)
  ]
  quads = np.concatenate([np.zeros((0, 4), np.int64), *quads])
  joints = find_double_joints(crossings, quads)
  # A quadrilateral with a double joint becomes a star around the point on its edge,
  # with a vertex at each joint; the others become two triangles.
  doubled = (joints >= 0).any(1)
  faces = split_quads(quads[~doubled], vertices, normals[~doubled])
  star_joints, centres = joints[doubled], points[doubled]
  joint_count, stars = star_faces(quads[doubled], star_joints, len(vertices))
  # Each joint is a side of two quadrilaterals: its vertex is the mean of their points.
  midpoints = np.zeros((joint_count, 3))
  rows, columns = np.nonzero(star_joints >= 0)
  np.add.at(midpoints, star_joints[rows, columns], centres[rows] / 2)
  vertices = np.concatenate([vertices, midpoints, centres])
  return Dual(vertices, np.concatenate([faces, stars]))


def place_in_cells(
  crossings: Crossings,
  points: Points,
  normals: Points,
  vertex_offset: Int[np.ndarray, " m"],
) -> Float[np.ndarray, "v 3"]:
  """The vertex of every component: the least sum of squared distances to its planes.

  Directions in which the planes say little are left at the mean of the points (SVD
  cut-off), and a vertex outside its cell is moved to the cell's nearest point.
  """
  component, parts = cube_table().component, [np.zeros((0, 3))]
  index = crossings.cell_index()
  for start in range(0, len(vertex_offset), CHUNK // 8):
    stop = min(start + CHUNK // 8, len(vertex_offset))
    labels = component[crossings.configs[start:stop]]
    # One entry for each crossed edge of each cell: an edge counts in all its cells.
    rows, columns = np.nonzero(labels >= 0)
    edges = cell_edges(crossings, index, start, stop)[rows, columns]
    # Number of the vertex, from 0 in this part.
    offset = vertex_offset[start:stop] - vertex_offset[start]
    groups = offset[rows] + labels[rows, columns]
    count = int(groups.max()) + 1
    cells = np.zeros(count, np.int64)
    cells[groups] = crossings.cells[start:stop][rows]
    corners = edge_points(crossings, 3 * cells)[0]  # 3 * key: any edge of the cell
    local = points[edges] - corners[groups]  # small numbers, for the rounding's sake
    solved = solve(groups, local, normals[edges], count) + corners
    # A cell of the layer is flat: what lies outside of the cube is cut off.
    low, high = np.maximum(corners, 0), np.minimum(corners + 1, crossings.resolution)
    parts.append(np.clip(solved, low, high))
  return np.concatenate(parts)


def solve(
  groups: Int[np.ndarray, " e"], points: Points, normals: Points, count: int
) -> Float[np.ndarray, "v 3"]:
  """The points nearest to planes, by group: normal equations by eigenvectors.

  Args:
    groups: number of the vertex that each plane counts for.
    points, normals: a point on each plane, and its unit normal.
    count: number of vertices.
  """

  def total(values: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    columns = values.reshape(len(values), -1).T
    sums = np.stack([np.bincount(groups, column, count) for column in columns], 1)
    return sums.reshape(count, *values.shape[1:])

  # With the mean as origin, sum (n . x - h)^2 is least at (sum n n^T) x = sum h n, and
  # leaving out an eigenvector leaves x at the mean along it.
  means = total(points) / np.bincount(groups, minlength=count)[:, None]
  heights = ((points - means[groups]) * normals).sum(1, keepdims=True)
  values, vectors = np.linalg.eigh(total(normals[:, :, None] * normals[:, None]))
  # eigh sorts: the largest eigenvalue is the last.
  kept = values > CUT_OFF * np.maximum(values[:, 2:], 1e-12)
  inverse = np.where(kept, 1 / np.where(kept, values, 1), 0)
  projected = np.einsum("vij,vi->vj", vectors, total(normals * heights))
  return means + np.einsum("vij,vj->vi", vectors, inverse * projected)


def around_edges(
  crossings: Crossings,
  index: KeyIndex,
  start: int,
  vertex_offset: Int[np.ndarray, " m"],
) -> Int[np.ndarray, "q 4"]:
  """The vertices around `CHUNK` edges, counter-clockwise as seen from outside."""
  component, side = cube_table().component, crossings.resolution + 3
  keys, axes = np.divmod(crossings.edges[start : start + CHUNK], 3)
  quads = np.zeros((len(keys), 4), np.int64)
  for axis in range(3):
    rows = np.flatnonzero(axes == axis)
    for turn, (u, v) in enumerate(AROUND):
      # The cell that has the edge's lower end as this corner lies that corner below it.
      corner = np.zeros(3, np.int64)
      corner[[(axis + 1) % 3, (axis + 2) % 3]] = u, v
      cells = index.find(keys[rows] - to_keys(corner[None], side))
      number = EDGE_NUMBER[corner @ ALONG, axis]
      labels = component[crossings.configs[cells], number]
      quads[rows, turn] = vertex_offset[cells] + labels
  ends = crossings.ends[start : start + CHUNK]
  upward = ends[:, 0] < ends[:, 1]  # the inside is above, so the normal points down
  quads[upward] = quads[upward, ::-1]
  return quads


def find_double_joints(
  crossings: Crossings, quads: Int[np.ndarray, "q 4"]
) -> Int[np.ndarray, "q 4"]:
  """For each side of each quadrilateral, the number of its double joint, or -1.

  The table cuts off the corners that are outside, so the two sides of a joint are those
  of grid edges with one outer end.
  """
  keys, axes = np.divmod(crossings.edges, 3)
  strides = to_keys(np.eye(3, dtype=np.int64), crossings.resolution + 3)
  # The end of each edge that is outside: its lower one, or a stride further its upper.
  outer = keys + strides[axes] * (crossings.ends[:, 0] > crossings.ends[:, 1])
  following = np.roll(quads, -1, axis=1)
  # A side as one integer, whatever its direction.
  count = int(quads.max(initial=0)) + 1
  sides = np.minimum(quads, following) * count
  sides += np.maximum(quads, following)
  order = np.sort(sides, axis=None)
  # A side of two quadrilaterals is as it should be. In sorted order one that occurs
  # three times or more equals the entry two before.
  repeated = sorted_unique(order[2:][order[2:] == order[:-2]], count**2)
  rows, columns = np.nonzero(KeyIndex(repeated, count**2).contains(sides))
  # Sides of one joint share the outer end as well.
  identities = np.stack([sides[rows, columns], outer[rows]], axis=1)
  joints = np.full(quads.shape, -1)
  numbers = np.unique(identities, axis=0, return_inverse=True)[1].ravel()
  joints[rows, columns] = numbers
  return joints


def split_quads(
  quads: Int[np.ndarray, "q 4"], vertices: Float[np.ndarray, "v 3"], normals: Points
) -> Faces:
  """Two triangles a quadrilateral, by the diagonal that fits the normal better."""
  parts = [np.zeros((0, 3), np.int64)]
  for start in range(0, len(quads), CHUNK):
    part = slice(start, start + CHUNK)
    halves = np.moveaxis(quads[part][:, HALVES], 1, 0)  # (diagonal 2, q, triangle 2, 3)
    a, b, c = np.moveaxis(vertices[halves], 3, 0)
    area_normals = np.cross(b - a, c - a)
    lengths = np.maximum(np.linalg.norm(area_normals, axis=-1), 1e-12)
    cosines = np.einsum("dqti,qi->dqt", area_normals, normals[part]) / lengths
    better = (cosines[1].min(1) > cosines[0].min(1)).astype(int)
    parts.append(halves[better, np.arange(halves.shape[1])].reshape(-1, 3))
  return np.concatenate(parts)


def star_faces(
  quads: Int[np.ndarray, "q 4"], joints: Int[np.ndarray, "q 4"], count: int
) -> tuple[int, Faces]:
  """Triangles around a centre for quadrilaterals with joints in their sides.

  Args:
    quads, joints: quadrilaterals with at least one joint, and their joints.
    count: vertices so far; those of the joints follow, then the centres.

  Returns:
    The number of joints, and the triangles.
  """
  joint_count = int(joints.max()) + 1 if len(joints) else 0
  centres = np.repeat(count + joint_count + np.arange(len(quads)), 4)
  a, b, joint = quads.ravel(), np.roll(quads, -1, axis=1).ravel(), joints.ravel()
  single, double = joint < 0, joint >= 0
  return joint_count, np.concatenate(
    [
      np.stack([a[single], b[single], centres[single]], axis=1),
      np.stack([a[double], count + joint[double], centres[double]], axis=1),
      np.stack([count + joint[double], b[double], centres[double]], axis=1),
    ]
  )
