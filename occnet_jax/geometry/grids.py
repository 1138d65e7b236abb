"""Regular grids of the padded cube: indices, coordinates, integer keys (host, numpy).

A grid of `resolution` cells a side has resolution + 1 points a side. Point (0, 0, 0)
is the lowest corner of the cube and point (resolution, resolution, resolution) the
highest. Arrays over a grid are indexed (x, y, z). Shape letter: n points.
"""

import numpy as np
from jaxtyping import Array, Bool, Float, Int, Shaped

PADDING = 0.1  # the cube's side is 1 + PADDING: [-0.55, 0.55]^3

Indices = Int[np.ndarray, "n 3"]


def grid_indices(side: int, stride: int = 1) -> Indices:
  """Indices of a grid of side^3 points, `stride` apart, in the order of their keys."""
  indices = np.indices((side,) * 3, dtype=np.int64).reshape(3, -1).T
  return np.ascontiguousarray(indices) * stride


def to_coordinates(
  indices: Shaped[np.ndarray | Array, "..."],
  resolution: int,
  padding: float = PADDING,
) -> Float[np.ndarray | Array, "..."]:
  """Coordinates in the padded cube: (1 + padding) (index / resolution - 1/2).

  Fractional indices are points between those of the grid. Also for arrays of JAX.
  """
  return (1 + padding) * (indices / resolution - 0.5)


def to_indices(
  points: Float[np.ndarray, "n 3"], resolution: int, padding: float = PADDING
) -> Indices:
  """The nearest grid points; the inverse of `to_coordinates` on grid points.

  A point outside the padded cube gets an index outside [0, resolution].
  """
  return np.rint((points / (1 + padding) + 0.5) * resolution).astype(np.int64)


def to_keys(indices: Indices, side: int) -> Int[np.ndarray, " n"]:
  """One integer for each point of a grid of side^3 points; z runs fastest.

  Indices must lie in [0, side); 64 bits suffice up to a side of two million.
  """
  x, y, z = indices.T
  return (x * side + y) * side + z


def from_keys(keys: Int[np.ndarray, " n"], side: int) -> Indices:
  """The inverse of `to_keys`."""
  rows, z = np.divmod(keys, side)
  x, y = np.divmod(rows, side)
  return np.stack([x, y, z], axis=1)


def cube_surface(
  occupied: Bool[np.ndarray, "r r r"],
) -> tuple[Float[np.ndarray, "v 3"], Int[np.ndarray, "f 3"]]:
  """The surface of the occupied cells of [-0.5, 0.5]^3: two triangles a square.

  Closed and outward; where cells touch in an edge alone, four faces share it.
  """
  side = occupied.shape[0]
  padded = np.pad(occupied, 1)  # so that cells at the border have an empty neighbour
  corners = []
  for axis in range(3):
    u, v = (axis + 1) % 3, (axis + 2) % 3
    for up in (0, 1):
      # The neighbour below (up = 0) or above along the axis; it is empty where the cell
      # has a face of the surface.
      neighbour = np.roll(padded, 1 - 2 * up, axis)
      cells = np.argwhere(padded & ~neighbour) - 1
      # Corner offsets of that face, counter-clockwise seen from above the axis.
      square = np.zeros((4, 3), np.int64)
      square[:, axis] = up
      square[[1, 2], u] = 1
      square[[2, 3], v] = 1
      corners.append(cells[:, None] + (square if up else square[::-1]))
  squares = np.concatenate(corners)
  keys, index = np.unique(
    to_keys(squares.reshape(-1, 3), side + 1), return_inverse=True
  )
  index = index.reshape(-1, 4)
  faces = np.concatenate([index[:, [0, 1, 2]], index[:, [0, 2, 3]]])
  return from_keys(keys, side + 1) / side - 0.5, faces
