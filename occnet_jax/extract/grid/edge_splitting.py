"""Puts more vertices on the surface where a mesh cuts its bends short (host).

Marching cubes with exact vertices still errs between them, by the height of an arc over
its chord. That height follows from how the normals turn along an edge of the mesh.
Where it is large the edge gets a vertex: one evaluation at the height that was
predicted, a step by the slope of the field that the crossings nearby have shown, and a
second evaluation if that step was long. A triangle with one, two or three such edges
becomes two, three or four, so a closed mesh stays closed.

Per vertex this costs one evaluation or two; a finer grid takes four, most of them for
signs. Coordinates are in cells of the grid. Shape letters: v vertices, f faces, e edges
to split, g new faces.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from occnet_jax.extract.grid.active_cells import Crossings
from occnet_jax.extract.grid.marching_cubes import Faces, Vertices
from occnet_jax.extract.grid.mise import CHUNK, Evaluate, search_sorted
from occnet_jax.extract.mesh.normals import face_normals_at_vertices

MIN_SAGITTA = 0.01  # of a cell: arcs as low are left alone
LONG = 0.02  # of a cell: steps as long are checked by a second evaluation
REACH = 0.25  # of an edge's length: how far a new vertex may lie from its middle

Edges = Int[np.ndarray, "e 2"]


class Split(NamedTuple):
  """Attributes:
  vertices: (v, 3) in cells; those that were given come first.
  faces: (f, 3).
  evaluations: how often the field was looked at.
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
  """Splits the edges whose arcs are higher than `BEND`.

  Args:
    evaluate: points (n, 3) in cells -> values (n,); for up to `CHUNK`.
    crossings: whose edges the vertices lie on.
    vertices, faces: of marching cubes; closed, the vertices on the surface.
    level: value at the surface.
  """
  normals = face_normals_at_vertices(vertices, faces)
  border = ((vertices <= 0) | (vertices >= crossings.resolution)).any(1)
  edges, heights = find_bends(vertices, faces, normals, border)
  slopes = edge_slopes(crossings, normals, edges)
  middles, looks = vertices[edges].mean(1), 0
  across = normals[edges].sum(1)
  across /= np.maximum(np.linalg.norm(across, axis=1, keepdims=True), 1e-12)
  for start in range(0, len(edges), CHUNK):
    part = slice(start, start + CHUNK)
    reach = REACH * np.linalg.norm(np.diff(vertices[edges[part]], axis=1)[:, 0], axis=1)

    def along(
      heights: Float[np.ndarray, " e"],
      rows: Bool[np.ndarray, " n"],
      middles=middles[part],
      across=across[part],
    ) -> Float[np.ndarray, " e"]:
      points = middles[rows] + heights[:, None] * across[rows]
      return evaluate(points).astype(np.float64) - level

    heights[part], count = newton_to_level(along, heights[part], slopes[part], reach)
    looks += count
  new = np.clip(middles + heights[:, None] * across, 0, crossings.resolution)
  rows, numbers = side_numbers(faces, edges, len(vertices))
  kept = np.delete(faces, rows, axis=0)
  faces = np.concatenate([kept, subdivide(faces[rows], numbers)])
  return Split(np.concatenate([vertices, new]), faces, looks)


def find_bends(
  vertices: Vertices,
  faces: Faces,
  normals: Float[np.ndarray, "v 3"],
  fixed: Bool[np.ndarray, " v"],
) -> tuple[Edges, Float[np.ndarray, " e"]]:
  """Edges of high arcs, the lower end first, in ascending order; and the heights.

  The arc over a chord d between normals m and n has the height d . (n - m) / 8.

  Args:
    fixed: vertices on the faces of the cube, whose edges are left alone.
  """
  edges, heights = [np.zeros((0, 2), np.int64)], [np.zeros(0)]
  for start in range(0, len(faces), CHUNK):
    part = faces[start : start + CHUNK]
    sides = part[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
    sides = sides[(sides[:, 0] < sides[:, 1]) & ~fixed[sides].any(1)]  # each edge once
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
) -> Float[np.ndarray, " e"]:
  """How fast the field falls across the surface at edges, per cell.

  By least squares from the two ends: on its grid edge each has seen a change, and it
  should be the slope times the cosine between edge and normal.
  """
  axes = crossings.edges[edges] % 3
  cosines = np.abs(normals[edges[..., None], axes[..., None]])[..., 0]
  changes = np.abs(np.diff(crossings.ends[edges].astype(np.float64), axis=2))[..., 0]
  return (changes * cosines).sum(1) / np.maximum((cosines**2).sum(1), 1e-6)


def newton_to_level(
  along, heights: Float[np.ndarray, " e"], slopes: Float[np.ndarray, " e"], reach
) -> tuple[Float[np.ndarray, " e"], int]:
  """Heights at which the field is at the level, nearly, and how many evaluations.

  Args:
    along: (heights, which edges) -> values there, less the level.
    heights: where to look first.
    slopes: how fast the field falls.
    reach: the largest |height|.
  """
  heights = np.clip(heights, -reach, reach)
  values = along(heights, np.ones(len(heights), bool))
  steps = np.clip(values / np.maximum(slopes, 1e-12), -reach, reach)
  far = np.abs(steps) > LONG
  seconds = along((heights + steps)[far], far)
  with np.errstate(divide="ignore", invalid="ignore"):
    more = -seconds * steps[far] / (seconds - values[far])  # the secant's
  limit = np.abs(steps[far])
  steps[far] += np.clip(np.where(np.isfinite(more), more, 0), -limit, limit)
  return np.clip(heights + steps, -reach, reach), len(heights) + len(seconds)


def side_numbers(
  faces: Faces, edges: Edges, count: int
) -> tuple[Int[np.ndarray, " g"], Int[np.ndarray, "g 3"]]:
  """Which faces have split sides, and for each side the vertex that splits it, or -1.

  Args:
    edges: ascending; the first is split by vertex `count`, and so on.
  """
  keys = edges[:, 0] * count + edges[:, 1]
  rows, numbers = [np.zeros(0, np.int64)], [np.zeros((0, 3), np.int64)]
  for start in range(0, len(faces), CHUNK):
    part = faces[start : start + CHUNK]
    others = np.roll(part, -1, axis=1)
    places = search_sorted(
      keys, np.minimum(part, others) * count + np.maximum(part, others)
    )
    split = np.flatnonzero((places >= 0).any(1))
    rows.append(start + split)
    numbers.append(np.where(places >= 0, places + count, -1)[split])
  return np.concatenate(rows), np.concatenate(numbers)


def subdivide(faces: Faces, numbers: Int[np.ndarray, "f 3"]) -> Int[np.ndarray, "g 3"]:
  """Triangles with a side or more split by the numbered vertices, -1 for none."""
  counts = (numbers >= 0).sum(1)
  parts = [np.zeros((0, 3), np.int64)]
  for turn in range(3):
    a, b, c = np.roll(faces, -turn, axis=1).T
    ab, bc, ca = np.roll(numbers, -turn, axis=1).T
    cases = {
      1: (ab >= 0, [(a, ab, c), (ab, b, c)]),
      2: (ca < 0, [(ab, b, bc), (a, ab, bc), (a, bc, c)]),
      3: (turn == 0, [(ab, bc, ca), (a, ab, ca), (b, bc, ab), (c, ca, bc)]),
    }
    for count, (where, triangles) in cases.items():
      chosen = (counts == count) & where
      parts += [np.stack(triangle, axis=1)[chosen] for triangle in triangles]
  return np.concatenate(parts)
