"""More vertices where the edges of a mesh cut a curved surface short (host).

Marching cubes with exact vertices still errs between them, by the sagitta: the height
of an arc over its chord. It follows from how the normals turn along an edge of the
mesh. Where it is large the edge gets a vertex: one evaluation at the predicted height,
a Newton step by the slope that the field has at the crossings nearby, and a second
evaluation if that step was long. A triangle with one, two or three such edges becomes
two, three or four, so a closed mesh stays closed.

Per vertex this costs one evaluation or two; a finer grid takes four, most of them for
signs. Coordinates are in cells of the grid. Shape letters: v vertices, f faces, e edges
to split, g new faces.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from occnet_jax.extract.grid.active_cells import Crossings
from occnet_jax.extract.grid.key_sets import KeyIndex
from occnet_jax.extract.grid.marching_cubes import Faces, Vertices
from occnet_jax.extract.grid.mise import CHUNK, Evaluate
from occnet_jax.extract.mesh.normals import face_normals_at_vertices

MIN_SAGITTA = 0.01  # of a cell: lower arcs are left as they are
LONG = 0.02  # of a cell: longer steps are checked by a second evaluation
REACH = 0.25  # of an edge's length: how far a new vertex may lie from its midpoint

Edges = Int[np.ndarray, "e 2"]
Heights = Float[np.ndarray, " e"]


class Split(NamedTuple):
  """Attributes:
  vertices: (v, 3) in cells; the given ones come first.
  faces: (f, 3).
  evaluations: number of evaluations of the field.
  """

  vertices: Vertices
  faces: Faces
  evaluations: int


def split_bends(
  evaluate: Evaluate,
  crossings: Crossings,
  vertices: Vertices,
  faces: Faces,
  level: float,
) -> Split:
  """Splits the edges whose sagitta exceeds `MIN_SAGITTA`.

  Args:
    evaluate: points (n, 3) in cells -> values (n,); for up to `CHUNK`.
    crossings: the crossed edges that the vertices lie on.
    vertices, faces: of marching cubes; closed, the vertices on the surface.
    level: value at the surface.
  """
  normals = face_normals_at_vertices(vertices, faces)
  border = ((vertices <= 0) | (vertices >= crossings.resolution)).any(1)
  edges, heights = find_bends(vertices, faces, normals, border)
  slopes = edge_slopes(crossings, normals, edges)
  midpoints, evaluations = vertices[edges].mean(1), 0
  outward = normals[edges].sum(1)
  outward /= np.maximum(np.linalg.norm(outward, axis=1, keepdims=True), 1e-12)
  for start in range(0, len(edges), CHUNK):
    part = slice(start, start + CHUNK)
    reach = REACH * np.linalg.norm(np.diff(vertices[edges[part]], axis=1)[:, 0], axis=1)

    # Defaults bind the arrays of this part, not those of the loop's last one.
    def along(
      heights: Heights,
      rows: Bool[np.ndarray, " n"],
      midpoints=midpoints[part],
      outward=outward[part],
    ) -> Heights:
      points = midpoints[rows] + heights[:, None] * outward[rows]
      return evaluate(points).astype(np.float64) - level

    heights[part], count = newton_to_level(along, heights[part], slopes[part], reach)
    evaluations += count
  added = np.clip(midpoints + heights[:, None] * outward, 0, crossings.resolution)
  rows, split_vertices = split_sides(faces, edges, len(vertices))
  unsplit = np.delete(faces, rows, axis=0)
  faces = np.concatenate([unsplit, subdivide(faces[rows], split_vertices)])
  return Split(np.concatenate([vertices, added]), faces, evaluations)


def find_bends(
  vertices: Vertices,
  faces: Faces,
  normals: Float[np.ndarray, "v 3"],
  fixed: Bool[np.ndarray, " v"],
) -> tuple[Edges, Heights]:
  """Edges of high arcs, the lower vertex first, in ascending order; and the heights.

  The arc over a chord d between normals m and n has the height d . (n - m) / 8.

  Args:
    vertices, faces, normals: the mesh.
    fixed: vertices on the faces of the cube, whose edges are left as they are.
  """
  edges, heights = [np.zeros((0, 2), np.int64)], [np.zeros(0)]
  for start in range(0, len(faces), CHUNK):
    part = faces[start : start + CHUNK]
    sides = part[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
    # In a closed mesh an edge is a side of two faces, once in each direction.
    sides = sides[(sides[:, 0] < sides[:, 1]) & ~fixed[sides].any(1)]
    low, high = sides.T
    chords, turns = vertices[high] - vertices[low], normals[high] - normals[low]
    arcs = (chords * turns).sum(1) / 8
    edges.append(sides[np.abs(arcs) > MIN_SAGITTA])
    heights.append(arcs[np.abs(arcs) > MIN_SAGITTA])
  edges, heights = np.concatenate(edges), np.concatenate(heights)
  order = np.lexsort((edges[:, 1], edges[:, 0]))
  return edges[order], heights[order]


def edge_slopes(
  crossings: Crossings, normals: Float[np.ndarray, "v 3"], edges: Edges
) -> Heights:
  """Slopes of the field across the surface at edges, per cell.

  By least squares from the two ends: each lies on an edge of the grid, along which the
  field changes by the slope times the cosine between that edge and the normal.
  """
  axes = crossings.edges[edges] % 3
  cosines = np.abs(normals[edges[..., None], axes[..., None]])[..., 0]
  changes = np.abs(np.diff(crossings.ends[edges].astype(np.float64), axis=2))[..., 0]
  return (changes * cosines).sum(1) / np.maximum((cosines**2).sum(1), 1e-6)


def newton_to_level(
  along: Callable[[Heights, Bool[np.ndarray, " n"]], Heights],
  heights: Heights,
  slopes: Heights,
  reach: Heights,
) -> tuple[Heights, int]:
  """Heights at which the field is near the level, and the number of evaluations.

  Args:
    along: (heights, flags of the edges) -> values there, less the level.
    heights: heights of the first evaluation.
    slopes: by which the field falls outwards.
    reach: the largest |height|.
  """
  heights = np.clip(heights, -reach, reach)
  values = along(heights, np.ones(len(heights), bool))
  steps = np.clip(values / np.maximum(slopes, 1e-12), -reach, reach)
  far = np.abs(steps) > LONG
  seconds = along((heights + steps)[far], far)
  with np.errstate(divide="ignore", invalid="ignore"):
    corrections = -seconds * steps[far] / (seconds - values[far])  # the secant's
  # A correction may take back the step or double it, and is 0 where it is not finite.
  limit = np.abs(steps[far])
  corrections = np.where(np.isfinite(corrections), corrections, 0)
  steps[far] += np.clip(corrections, -limit, limit)
  return np.clip(heights + steps, -reach, reach), len(heights) + len(seconds)


def split_sides(
  faces: Faces, edges: Edges, count: int
) -> tuple[Int[np.ndarray, " g"], Int[np.ndarray, "g 3"]]:
  """Rows of the faces with split sides, and the vertex that splits each side, or -1.

  Args:
    faces: the faces.
    edges: ascending; the first is split by vertex `count`, and so on.
    count: number of vertices before the split.
  """
  index = KeyIndex(edges[:, 0] * count + edges[:, 1], count**2)
  rows, split_vertices = [np.zeros(0, np.int64)], [np.zeros((0, 3), np.int64)]
  for start in range(0, len(faces), CHUNK):
    part = faces[start : start + CHUNK]
    following = np.roll(part, -1, axis=1)  # side i runs from corner i to corner i + 1
    positions = index.find(
      np.minimum(part, following) * count + np.maximum(part, following)
    )
    split = np.flatnonzero((positions >= 0).any(1))
    rows.append(start + split)
    split_vertices.append(np.where(positions >= 0, positions + count, -1)[split])
  return np.concatenate(rows), np.concatenate(split_vertices)


def subdivide(
  faces: Faces, split_vertices: Int[np.ndarray, "f 3"]
) -> Int[np.ndarray, "g 3"]:
  """Triangles with a side or more split by the given vertices, -1 for none."""
  counts = (split_vertices >= 0).sum(1)
  parts = [np.zeros((0, 3), np.int64)]
  for turn in range(3):
    # Each face is treated in the turn that brings it to the one arrangement below.
    a, b, c = np.roll(faces, -turn, axis=1).T
    ab, bc, ca = np.roll(split_vertices, -turn, axis=1).T
    cases = {
      1: (ab >= 0, [(a, ab, c), (ab, b, c)]),
      2: (ca < 0, [(ab, b, bc), (a, ab, bc), (a, bc, c)]),
      3: (turn == 0, [(ab, bc, ca), (a, ab, ca), (b, bc, ab), (c, ca, bc)]),
    }
    for count, (where, triangles) in cases.items():
      chosen = (counts == count) & where
      parts += [np.stack(triangle, axis=1)[chosen] for triangle in triangles]
  return np.concatenate(parts)
