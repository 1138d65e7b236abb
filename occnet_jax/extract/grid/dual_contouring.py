"""Manifold dual contouring: vertices in cells, where a surface's planes meet (host).

Ju, Losasso, Schaefer and Warren (SIGGRAPH 2002), with a vertex for every connected
piece of the surface in a cell (Nielson, Dual Marching Cubes, 2004) instead of one a
cell. A vertex is the point nearest to the tangent planes at the crossings of its piece,
within its cell, so sharp edges and corners of the field stay sharp. Every crossed edge
of the grid gives a quadrilateral of the vertices around it, halved along the better
diagonal.

The mesh is the dual of that of marching cubes, so it is closed, and each vertex has one
fan of faces. Two pieces may meet twice in one cell face; those two joints would be one
edge of four faces, so each gets a vertex of its own in its middle.

Coordinates are in cells of the grid. Shape letters: e crossed edges, m cells, v
vertices, q quadrilaterals.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from occnet_jax.extract.grid.active_cells import ALONG, Crossings, edge_points
from occnet_jax.extract.grid.marching_cubes import EDGES, Faces, cell_edges, cube_table
from occnet_jax.extract.grid.mise import CHUNK, search_sorted, sorted_unique
from occnet_jax.geometry.grids import to_keys

CUT_OFF = 0.1  # of the largest eigenvalue: directions flatter than that are left alone
NUMBERS = np.full((8, 3), -1)  # of the edge from a corner along an axis
NUMBERS[tuple(np.array(EDGES).T)] = np.arange(12)
TURN = np.array([(0, 0), (1, 0), (1, 1), (0, 1)])  # the cells around an edge, in order
HALVES = np.array([[[0, 1, 2], [0, 2, 3]], [[1, 2, 3], [1, 3, 0]]])

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
    crossings: of a field.
    points: where on its edge the surface passes, in cells of the grid.
    normals: unit vectors across the surface there, 0 where unknown.
  """
  table = cube_table()
  pieces = table.pieces[crossings.configs]
  first = np.cumsum(pieces) - pieces
  vertices = place_in_cells(crossings, points, normals, first)
  quads = [
    around_edges(crossings, start, first) for start in range(0, len(points), CHUNK)
  ]
  quads = np.concatenate([np.zeros((0, 4), np.int64), *quads])
  joints = find_double_joints(crossings, quads)
  broken = (joints >= 0).any(1)
  faces = halve(quads[~broken], vertices, normals[~broken])
  sides, centres = joints[broken], points[broken]
  count, stars = star_faces(quads[broken], sides, len(vertices))
  middles = np.zeros((count, 3))
  rows, columns = np.nonzero(sides >= 0)
  np.add.at(middles, sides[rows, columns], centres[rows] / 2)  # of two edges each
  vertices = np.concatenate([vertices, middles, centres])
  return Dual(vertices, np.concatenate([faces, stars]))


def place_in_cells(
  crossings: Crossings, points: Points, normals: Points, first: Int[np.ndarray, " m"]
) -> Float[np.ndarray, "v 3"]:
  """The vertex of every piece: the least sum of squared distances to its planes.

  Directions in which the planes say little are left at the mean of the points (SVD
  cut-off), and what falls out of the cell is moved to its nearest point.
  """
  patches, parts = cube_table().patches, [np.zeros((0, 3))]
  for start in range(0, len(first), CHUNK // 8):
    stop = min(start + CHUNK // 8, len(first))
    labels = patches[crossings.configs[start:stop]]
    rows, columns = np.nonzero(labels >= 0)
    edges = cell_edges(crossings, start, stop)[rows, columns]
    groups = first[start:stop][rows] - first[start] + labels[rows, columns]
    count = int(groups.max()) + 1
    cells = np.zeros(count, np.int64)
    cells[groups] = crossings.cells[start:stop][rows]
    corners = edge_points(crossings, 3 * cells)[0]
    local = points[edges] - corners[groups]
    solved = solve(groups, local, normals[edges], count) + corners
    low, high = np.maximum(corners, 0), np.minimum(corners + 1, crossings.resolution)
    parts.append(np.clip(solved, low, high))
  return np.concatenate(parts)


def solve(
  groups: Int[np.ndarray, " e"], points: Points, normals: Points, count: int
) -> Float[np.ndarray, "v 3"]:
  """The points nearest to planes, by group."""

  def total(values: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    columns = values.reshape(len(values), -1).T
    sums = np.stack([np.bincount(groups, column, count) for column in columns], 1)
    return sums.reshape(count, *values.shape[1:])

  means = total(points) / np.bincount(groups, minlength=count)[:, None]
  heights = ((points - means[groups]) * normals).sum(1, keepdims=True)
  values, vectors = np.linalg.eigh(total(normals[:, :, None] * normals[:, None]))
  kept = values > CUT_OFF * np.maximum(values[:, 2:], 1e-12)
  inverse = np.where(kept, 1 / np.where(kept, values, 1), 0)
  along = np.einsum("vij,vi->vj", vectors, total(normals * heights))
  return means + np.einsum("vij,vj->vi", vectors, inverse * along)


def around_edges(
  crossings: Crossings, start: int, first: Int[np.ndarray, " m"]
) -> Int[np.ndarray, "q 4"]:
  """The vertices around `CHUNK` edges, counter-clockwise seen from outside."""
  patches, side = cube_table().patches, crossings.resolution + 3
  keys, axes = np.divmod(crossings.edges[start : start + CHUNK], 3)
  quads = np.zeros((len(keys), 4), np.int64)
  for axis in range(3):
    rows = np.flatnonzero(axes == axis)
    for turn, (u, v) in enumerate(TURN):
      corner = np.zeros(3, np.int64)
      corner[[(axis + 1) % 3, (axis + 2) % 3]] = u, v
      cells = search_sorted(crossings.cells, keys[rows] - to_keys(corner[None], side))
      number = NUMBERS[corner @ ALONG, axis]
      quads[rows, turn] = first[cells] + patches[crossings.configs[cells], number]
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
  outer = keys + strides[axes] * (crossings.ends[:, 0] > crossings.ends[:, 1])
  nexts = np.roll(quads, -1, axis=1)
  sides = np.minimum(quads, nexts) * (quads.max(initial=0) + 1)
  sides += np.maximum(quads, nexts)
  order = np.sort(sides, axis=None)
  often = sorted_unique(order[2:][order[2:] == order[:-2]])  # twice is as it should be
  rows, columns = np.nonzero(search_sorted(often, sides) >= 0)
  names = np.stack([sides[rows, columns], outer[rows]], axis=1)
  joints = np.full(quads.shape, -1)
  joints[rows, columns] = np.unique(names, axis=0, return_inverse=True)[1].ravel()
  return joints


def halve(
  quads: Int[np.ndarray, "q 4"], vertices: Float[np.ndarray, "v 3"], normals: Points
) -> Faces:
  """Two triangles a quadrilateral, by the diagonal that fits the normal better."""
  parts = [np.zeros((0, 3), np.int64)]
  for start in range(0, len(quads), CHUNK):
    part = slice(start, start + CHUNK)
    halves = np.moveaxis(quads[part][:, HALVES], 1, 0)
    a, b, c = np.moveaxis(vertices[halves], 3, 0)
    across = np.cross(b - a, c - a)
    lengths = np.maximum(np.linalg.norm(across, axis=-1), 1e-12)
    fits = np.einsum("dqti,qi->dqt", across, normals[part]) / lengths
    better = (fits[1].min(1) > fits[0].min(1)).astype(int)
    parts.append(halves[better, np.arange(halves.shape[1])].reshape(-1, 3))
  return np.concatenate(parts)


def star_faces(
  quads: Int[np.ndarray, "q 4"], joints: Int[np.ndarray, "q 4"], count: int
) -> tuple[int, Faces]:
  """Triangles around a centre for quadrilaterals with joints in their sides.

  Args:
    quads, joints: those with at least one joint.
    count: vertices so far; those of the joints follow, then the centres.

  Returns:
    How many joints there are, and the triangles.
  """
  middles = int(joints.max()) + 1 if len(joints) else 0
  centres = np.repeat(count + middles + np.arange(len(quads)), 4)
  a, b, side = quads.ravel(), np.roll(quads, -1, axis=1).ravel(), joints.ravel()
  whole, cut = side < 0, side >= 0
  return middles, np.concatenate(
    [
      np.stack([a[whole], b[whole], centres[whole]], axis=1),
      np.stack([a[cut], count + side[cut], centres[cut]], axis=1),
      np.stack([count + side[cut], b[cut], centres[cut]], axis=1),
    ]
  )
