"""The losses of Deep Marching Cubes, for one shape (device, jnp).

Liao et al., CVPR 2018, section 3.3, in the form and with the weights of the code of the
occupancy networks. Lengths are in cells. The tables are those of `geometry.topologies`.

Shape letters: r cells a side, s = r + 1 corners a side, g = r^3 cells, n points,
k triangles.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float
from scipy import ndimage

from occnet_jax.geometry import topologies
from occnet_jax.nn.precision import matmul

EMPTY_CELL_DISTANCE = 0.4  # squared, of every topology in a cell without points
FAR_FACTOR = 10.0  # by which an empty topology's distance exceeds the largest other
WEIGHTS = {"mesh": 5.0, "prior": 5.0, "smoothness": 3.0, "curvature": 3.0}
POSITIVE_SHARE = 0.2  # of the prior's term that keeps something occupied
TINY = 1e-6

Corners = Float[Array, "s s s"]
Offsets = Float[Array, "3 s s s"]


def corner_values(values: Float[Array, "s s s"]) -> Float[Array, "g 8"]:
  """The values at the corners of every cell, z fastest, in the order of the tables."""
  r = values.shape[0] - 1
  return jnp.stack(
    [values[x : x + r, y : y + r, z : z + r].ravel() for x, y, z in topologies.CORNERS],
    axis=1,
  )


def topology_probabilities(
  occupancy: Corners, columns: tuple[int, ...]
) -> Float[Array, "g m"]:
  """The probability of each topology in each cell: of its corners being as it says.

  Corners are free with probability 1 - occupancy, independently of one another.

  Args:
    occupancy: probabilities at the corners.
    columns: the topologies.
  """
  occupied = corner_values(occupancy)
  free = (np.array(columns)[None, :, None] >> np.arange(8)) & 1
  choices = jnp.where(free == 1, 1 - occupied[:, None], occupied[:, None])
  # A product of eight, not of jnp.prod, whose gradient divides by factors of zero.
  return functools.reduce(jnp.multiply, [choices[..., v] for v in range(8)])


def edge_vertices(offset: Offsets) -> Float[Array, "g 12 3"]:
  """The vertex on each edge of each cell, relative to the cell's lowest corner.

  It lies at the edge's middle less the offset along it that its higher end has.
  """
  r = offset.shape[1] - 1
  vertices = []
  for (x, y, z), axis in zip(topologies.HIGHER, topologies.AXES, strict=True):
    along = offset[axis, x : x + r, y : y + r, z : z + r].ravel()
    unit = np.eye(3, dtype=np.float32)[axis]
    lower = np.array([x, y, z], np.float32) - unit
    vertices.append(lower[None] + (0.5 - along)[:, None] * unit[None])
  return jnp.stack(vertices, axis=1)


def squared_distance(
  point: Float[Array, "... 3"], corners: Float[Array, "... 3 3"]
) -> Float[Array, "..."]:
  """Squared distance of a point from a triangle, nearly.

  The parameters of the nearest point of the plane are clipped to the triangle, but not
  solved again along its sides as an exact distance would be: the order of the corners
  matters, which is that of the table.
  """
  origin = corners[..., 0, :]
  side_0, side_1 = corners[..., 1, :] - origin, corners[..., 2, :] - origin
  away = origin - point
  a, b, c = _dot(side_0, side_0), _dot(side_0, side_1), _dot(side_1, side_1)
  d, e, f = _dot(side_0, away), _dot(side_1, away), _dot(away, away)
  determinant = jnp.maximum(a * c - b * b, 1e-8)
  u = jnp.maximum((b * e - c * d) / determinant, 0)
  v = jnp.maximum((b * d - a * e) / determinant, 0)
  total = u + v
  beyond = total > 1
  scale = jnp.where(beyond, 1 / jnp.where(beyond, total, 1), 1)
  u, v = u * scale, v * scale
  return a * u * u + 2 * b * u * v + c * v * v + 2 * d * u + 2 * e * v + f


def _dot(p: Array, q: Array) -> Array:
  return (p * q).sum(-1)


def cell_distances(
  offset: Offsets, points: Float[Array, "n 3"]
) -> Float[Array, "g 48"]:
  """Mean squared distance of each cell's points from the surface of each topology.

  The columns are those of `Accepted.half`. Points outside of the grid are left out.
  """
  tables, r = topologies.accepted(), offset.shape[1] - 1
  points = lax.stop_gradient(points)
  cells = jnp.floor(points).astype(jnp.int32)
  inside = ((cells >= 0) & (cells < r)).all(-1)
  flat = (cells[:, 0] * r + cells[:, 1]) * r + cells[:, 2]
  flat = jnp.where(inside, flat, 0)
  triangles = tables.triangles[tables.slots]  # (47, 3, 3)
  corners = edge_vertices(offset)[flat][:, triangles]  # (n, 47, 3, 3, 3)
  local = (points - cells)[:, None, None]
  nearest = squared_distance(local, corners).min(-1)  # (n, 47)
  rows = jnp.where(inside, flat, r**3)
  counts = jax.ops.segment_sum(jnp.ones(len(points)), rows, r**3 + 1)[:-1]
  sums = jax.ops.segment_sum(nearest, rows, r**3 + 1)[:-1]
  occupied = (counts > 0)[:, None]
  means = sums / jnp.maximum(counts, 1)[:, None]
  surface = jnp.where(occupied, means, EMPTY_CELL_DISTANCE)
  largest = lax.stop_gradient(means.max(-1, keepdims=True))
  empty = jnp.where(occupied, FAR_FACTOR * largest, 0.0)
  return jnp.concatenate([surface, empty], axis=1)


def mesh_term(
  probabilities: Float[Array, "g 96"], distances: Float[Array, "g 48"]
) -> Float[Array, ""]:
  """Expected distance of the points from the surface, a mean over cells.

  Args:
    probabilities: of the topologies of `Accepted.both`.
    distances: of those of `Accepted.half`; a complement has the same surface.
  """
  total = jnp.maximum(probabilities.sum(1, keepdims=True), TINY)
  both = jnp.concatenate([distances, distances[:, ::-1]], axis=1)
  return (probabilities / total * both).sum(1).mean()


@functools.cache
def border_weights(side: int) -> np.ndarray:
  """Weights of the corners that should be free: at the faces, and a little nearby."""
  flags = np.ones((side,) * 3)
  flags[1:-1, 1:-1, 1:-1] = 0
  axis = np.arange(3) - 1
  squares = axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2
  smooth = ndimage.convolve(flags, np.exp(-squares / 2), mode="reflect")
  return np.float32(smooth / smooth.max())


def prior_term(occupancy: Corners) -> Float[Array, ""]:
  """Free corners at the faces of the grid, and some that are occupied within.

  The second part counts less the more the likeliest thirtieth of the corners is
  occupied already.
  """
  side = occupancy.shape[0]
  weights = border_weights(side)
  free = (weights * occupancy).sum() / weights.sum()
  count = side**3 // 30
  largest = lax.top_k(lax.stop_gradient(occupancy).ravel(), count)[0]
  low, high = int(0.2 * side), int(0.8 * side)
  inner = occupancy[low:high, low:high, low:high]
  return free + POSITIVE_SHARE * (1 - largest.mean()) * (1 - inner.mean())


def smoothness_term(occupancy: Corners) -> Float[Array, ""]:
  """Sum of the differences between neighbouring corners, over the number of cells.

  Of equal corners, too, the slope is 1: -1 for the lower and 1 for the upper one.
  """
  total = 0.0
  for axis in range(3):
    difference = jnp.diff(occupancy, axis=axis)
    total += jnp.where(difference >= 0, difference, -difference).sum()
  return total / (occupancy.shape[0] - 1) ** 3


def curvature_term(offset: Offsets, weights: Float[Array, "g 96"]) -> Float[Array, ""]:
  """How much the normals of triangles that meet differ, over the number of cells.

  The sum over pairs i, j that share an edge of p_i p_j |n_i - n_j|^2, within cells and
  across their faces. For triangles with the same two vertices on a face the pairs are
  all combinations, so their sum follows from those of p, p n and p |n|^2 on each side.

  Args:
    offset: offsets of the vertices.
    weights: p, for the topologies of `Accepted.both`; no gradient passes them.
  """
  tables, r = topologies.accepted(), offset.shape[1] - 1
  corners = edge_vertices(offset)[:, tables.triangles]  # (g, 220, 3, 3)
  normals = jnp.cross(
    corners[:, :, 1] - corners[:, :, 0], corners[:, :, 2] - corners[:, :, 0]
  )
  # The square root has no slope at 0, where two vertices of a triangle coincide.
  squares = _dot(normals, normals)
  lengths = jnp.sqrt(jnp.where(squares > 0, squares, 1.0))
  unit = normals / jnp.maximum(jnp.where(squares > 0, lengths, 0.0), TINY)[..., None]
  p = lax.stop_gradient(weights)[:, tables.owner]  # (g, 220)
  first, second = tables.inner.T
  gaps = jnp.square(unit[:, first] - unit[:, second]).sum(-1)
  total = (p[:, first] * p[:, second] * gaps).sum()
  # Rows: p, p |n|^2 and the three of p n; their sums over the triangles of a class.
  moments = jnp.stack(
    [p, p * _dot(unit, unit), *jnp.moveaxis(p[..., None] * unit, 2, 0)]
  )
  moments = jnp.moveaxis(moments, 0, 1)  # (g, 5, 220)
  for axis in range(3):
    lower, upper = (
      matmul(moments, jnp.float32(flags)).reshape(r, r, r, 5, 6)
      for flags in topologies.face_classes(axis)
    )
    below = lax.slice_in_dim(lower, 0, r - 1, axis=axis)
    above = lax.slice_in_dim(upper, 1, r, axis=axis)
    weights_below, weights_above = below[..., 0, :], above[..., 0, :]
    total += (weights_below * above[..., 1, :] + below[..., 1, :] * weights_above).sum()
    total -= 2 * (below[..., 2:, :] * above[..., 2:, :]).sum()
  return total / r**3


def loss_terms(
  occupancy: Corners,
  offset: Offsets,
  points: Float[Array, "n 3"],
  *,
  published: bool = True,
) -> dict[str, Float[Array, ""]]:
  """The four terms with their weights.

  Args:
    occupancy: probabilities at the corners.
    offset: offsets of the vertices.
    points: of the true surface, in cells.
    published: whether the curvature weighs topologies by a softmax of their
      probabilities, by which a sure one has .028 and any other .010; otherwise by the
      probabilities themselves, among the accepted topologies.
  """
  both = tuple(topologies.accepted().both.tolist())
  probabilities = topology_probabilities(occupancy, both)
  if published:
    weights = jax.nn.softmax(probabilities)
  else:
    total = jnp.maximum(probabilities.sum(1, keepdims=True), TINY)
    weights = probabilities / total
  terms = {
    "mesh": mesh_term(probabilities, cell_distances(offset, points)),
    "prior": prior_term(occupancy),
    "smoothness": smoothness_term(occupancy),
    "curvature": curvature_term(offset, weights),
  }
  return {name: WEIGHTS[name] * term for name, term in terms.items()}
