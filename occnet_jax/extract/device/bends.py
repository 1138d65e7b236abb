"""More vertices where the edges of a mesh cut a curved surface short (device).

The method is that of `grid.edge_splitting`, which explains it, in float32; an arc whose
height is at the threshold may be split here and not there.

Shape letters: v vertices, f triangles, e edges of the mesh to split, g new triangles.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from occnet_jax.extract.device.crossings import EdgeList, TriangleList
from occnet_jax.extract.device.lists import Count, is_entry, positions_of
from occnet_jax.extract.device.octree import EvaluateList
from occnet_jax.extract.grid.edge_splitting import LONG, MIN_SAGITTA, REACH

# The triangles of one with 0, 1, 2 or 3 sides split: a, b, c are 0, 1, 2, and the
# vertices on ab, bc, ca are 3, 4, 5. Turned so that one split side is ab, and of two
# split sides the second is bc. Padded with triangles that do not count.
A, B, C, AB, BC, CA = range(6)
SUBDIVISION = np.array(
  [
    [(A, B, C), (A, A, A), (A, A, A), (A, A, A)],
    [(A, AB, C), (AB, B, C), (A, A, A), (A, A, A)],
    [(AB, B, BC), (A, AB, BC), (A, BC, C), (A, A, A)],
    [(AB, BC, CA), (A, AB, CA), (B, BC, AB), (C, CA, BC)],
  ]
)

Heights = Float[Array, " e"]


class SplitMesh(NamedTuple):
  """A mesh with its bends split.

  Attributes:
    added: (e, 3) the new vertices in cells; their numbers follow the `count` given.
    added_count: how many of them count.
    triangles: (g, 3); padding is 0.
    triangle_count: how many of them count.
    evaluations: of the field.
  """

  added: Float[Array, "e 3"]
  added_count: Count
  triangles: Int[Array, "g 3"]
  triangle_count: Count
  evaluations: Count


def split_bends(
  evaluate: EvaluateList,
  edges: EdgeList,
  vertices: Float[Array, "v 3"],
  triangles: TriangleList,
  level: Float[Array, ""],
  resolution: int,
) -> SplitMesh:
  """Splits the edges of the mesh whose sagitta exceeds `MIN_SAGITTA`.

  Args:
    evaluate: points (k, 3) in cells -> values (k,).
    edges: the crossed edges of the grid, on which the vertices lie.
    vertices: in cells.
    triangles: of marching cubes; closed.
    level: value at the surface.
    resolution: cells a side of the grid.
  """
  used = is_entry(len(triangles.corners), triangles.count)
  normals = vertex_normals(vertices, triangles.corners, used)
  border = ((vertices <= 0) | (vertices >= resolution)).any(1)
  bends, heights, count = find_bends(vertices, triangles.corners, used, normals, border)
  slopes = edge_slopes(edges, normals, bends)
  midpoints = vertices[bends].mean(1)
  outward = normals[bends].sum(1)
  outward /= jnp.maximum(jnp.linalg.norm(outward, axis=1, keepdims=True), 1e-12)
  chords = vertices[bends[:, 1]] - vertices[bends[:, 0]]
  reach = REACH * jnp.linalg.norm(chords, axis=1)
  heights, evaluations = newton_to_level(
    lambda h, rows, n: evaluate(midpoints[rows] + h * outward[rows], n) - level,
    heights,
    slopes,
    reach,
    count,
  )
  added = jnp.clip(midpoints + heights[:, None] * outward, 0, resolution)
  sides = split_sides(triangles.corners, bends, count, edges.count)
  sides = jnp.where(used[:, None], sides, -1)
  new, total = subdivide(triangles.corners, sides, used)
  return SplitMesh(added, count, new, total, evaluations)


def vertex_normals(
  vertices: Float[Array, "v 3"], faces: Int[Array, "f 3"], used: Bool[Array, " f"]
) -> Float[Array, "v 3"]:
  """Unit means of the surrounding triangles' normals, weighted by area."""
  a, b, c = (vertices[faces[:, corner]] for corner in range(3))
  areas = jnp.where(used[:, None], jnp.cross(b - a, c - a), 0)
  sums = jnp.zeros_like(vertices)
  for corner in range(3):
    sums = sums.at[faces[:, corner]].add(areas)
  lengths = jnp.linalg.norm(sums, axis=1, keepdims=True)
  return jnp.where(lengths > 0, sums / jnp.where(lengths > 0, lengths, 1), 0)


def find_bends(
  vertices: Float[Array, "v 3"],
  faces: Int[Array, "f 3"],
  used: Bool[Array, " f"],
  normals: Float[Array, "v 3"],
  fixed: Bool[Array, " v"],
) -> tuple[Int[Array, "e 2"], Heights, Count]:
  """Edges of high arcs, the lower vertex first, ascending; heights; their number."""
  size = len(vertices)
  low, high = faces, jnp.roll(faces, -1, axis=1)  # side i: from corner i to i + 1
  chords, turns = vertices[high] - vertices[low], normals[high] - normals[low]
  arcs = (chords * turns).sum(-1) / 8
  # In a closed mesh an edge is a side of two triangles, once in each direction.
  bent = (low < high) & used[:, None] & ~(fixed[low] | fixed[high])
  bent &= jnp.abs(arcs) > MIN_SAGITTA
  rows, count = positions_of(bent, size)
  real, rows = is_entry(size, count), jnp.minimum(rows, bent.size - 1)
  # Padding has the largest numbers, so that it stays behind when sorted.
  low, high = (jnp.where(real, x.ravel()[rows], size - 1) for x in (low, high))
  heights = jnp.where(real, arcs.ravel()[rows], 0)
  low, high, heights = lax.sort((low, high, heights), num_keys=2)
  return jnp.stack([low, high], axis=1), heights, count


def edge_slopes(
  edges: EdgeList, normals: Float[Array, "v 3"], bends: Int[Array, "e 2"]
) -> Heights:
  """Slopes of the field across the surface at edges of the mesh, per cell."""
  cosines = jnp.abs(normals[bends[..., None], edges.axes[bends][..., None]])[..., 0]
  ends = edges.ends[bends]
  changes = jnp.abs(ends[..., 1] - ends[..., 0])
  return (changes * cosines).sum(1) / jnp.maximum((cosines**2).sum(1), 1e-6)


def newton_to_level(
  along: Callable[[Float[Array, "e 1"], Int[Array, " e"], Count], Heights],
  heights: Heights,
  slopes: Heights,
  reach: Heights,
  count: Count,
) -> tuple[Heights, Count]:
  """Heights at which the field is near the level, and the number of evaluations.

  Args:
    along: (heights, numbers of the edges, how many count) -> values less the level.
    heights, slopes, reach: (e,) as of `grid.edge_splitting.newton_to_level`.
    count: how many edges count.
  """
  size = len(heights)
  heights = jnp.clip(heights, -reach, reach)
  values = along(heights[:, None], jnp.arange(size), count)
  steps = jnp.clip(values / jnp.maximum(slopes, 1e-12), -reach, reach)
  far = (jnp.abs(steps) > LONG) & is_entry(size, count)
  rows, second_count = positions_of(far, size)
  chosen = jnp.minimum(rows, size - 1)
  seconds = along((heights + steps)[chosen, None], chosen, second_count)
  seconds = jnp.zeros(size).at[rows].set(seconds, mode="drop")
  # The secant's; it may take back the step or double it, and is 0 if it is not finite.
  corrections = -seconds * steps / (seconds - values)
  corrections = jnp.where(jnp.isfinite(corrections) & far, corrections, 0)
  steps += jnp.clip(corrections, -jnp.abs(steps), jnp.abs(steps))
  return jnp.clip(heights + steps, -reach, reach), count + second_count


def split_sides(
  faces: Int[Array, "f 3"], bends: Int[Array, "e 2"], count: Count, first: Count
) -> Int[Array, "f 3"]:
  """The vertex that splits each side of each triangle, or -1.

  Args:
    faces: the triangles.
    bends: ascending pairs; the first is split by vertex `first`, and so on.
    count: how many of them count.
    first: number of vertices before the split.
  """
  following = jnp.roll(faces, -1, axis=1)
  low, high = jnp.minimum(faces, following), jnp.maximum(faces, following)

  def halve(_: Int[Array, ""], bounds: tuple[Array, Array]) -> tuple[Array, Array]:
    start, stop = bounds
    middle = (start + stop) // 2
    pair = bends[jnp.minimum(middle, len(bends) - 1)]
    before = (pair[..., 0] < low) | ((pair[..., 0] == low) & (pair[..., 1] < high))
    before &= middle < stop
    return jnp.where(before, middle + 1, start), jnp.where(before, stop, middle)

  # Bisection by pairs: one number for both would not fit 32 bits.
  bounds = jnp.zeros_like(low), jnp.full_like(low, count)
  start, _ = lax.fori_loop(0, len(bends).bit_length(), halve, bounds)
  pair = bends[jnp.minimum(start, len(bends) - 1)]
  split = (start < count) & (pair[..., 0] == low) & (pair[..., 1] == high)
  return jnp.where(split, start + first, -1)


def subdivide(
  faces: Int[Array, "f 3"], sides: Int[Array, "f 3"], used: Bool[Array, " f"]
) -> tuple[Int[Array, "g 3"], Count]:
  """Triangles with their sides split, (g = 2 f, 3), and their number.

  Args:
    faces: the triangles.
    sides: the vertices that split their sides, or -1.
    used: which triangles count.
  """
  split = sides >= 0
  count = split.sum(1)
  # One side: it is turned to ab. Two: the one that is not split is turned to ca.
  turn = jnp.where(
    count == 1, split.argmax(1), jnp.where(count == 2, (~split).argmax(1) + 1, 0)
  )
  turned = (turn[:, None] + jnp.arange(3)[None]) % 3
  corners = jnp.concatenate(
    [
      jnp.take_along_axis(faces, turned, axis=1),
      jnp.take_along_axis(sides, turned, axis=1),
    ],
    axis=1,
  )
  new = jnp.take_along_axis(
    corners[:, None], jnp.asarray(SUBDIVISION)[count], axis=2
  )  # (f, 4, 3)
  real = jnp.arange(4)[None] < jnp.where(used, count + 1, 0)[:, None]
  size = 2 * len(faces)
  rows, total = positions_of(real, size)
  triangles = new.reshape(-1, 3)[jnp.minimum(rows, real.size - 1)]
  return jnp.where(is_entry(size, total)[:, None], triangles, 0), total
