"""The mesh of the likeliest topology of every cell (host).

Of Deep Marching Cubes: `geometry.topologies` has the tables and draws the cell.

Shape letters: r cells a side, s = r + 1 corners a side, v vertices, f faces.
"""

import numpy as np
from jaxtyping import Float, Int

from occnet_jax.geometry import topologies


def mesh_of_topologies(
  occupancy: Float[np.ndarray, "s s s"], offset: Float[np.ndarray, "3 s s s"]
) -> tuple[Float[np.ndarray, "v 3"], Int[np.ndarray, "f 3"]]:
  """Vertices in units of cells, each once, and faces, outward.

  Args:
    occupancy: probabilities of the corners to be inside.
    offset: of the vertex on the edge that ends at a corner from below, along each axis:
      by how much it lies before the edge's middle, in cells.
  """
  columns = topologies.accepted().meshing
  chosen = columns[_likeliest(occupancy.astype(np.float64), columns)]
  corners, axes = topologies.HIGHER, topologies.AXES
  edge_numbers = [np.zeros((0, 3), np.int64)]
  for topology in np.unique(chosen):
    triangles = np.array(topologies.triangles_of(int(topology)), np.int64).reshape(
      -1, 3
    )
    cells = np.argwhere(chosen == topology)
    # An edge is known by its higher end and its axis; one number for both.
    ends = cells[:, None] + corners  # of all twelve edges of each cell
    numbers = np.ravel_multi_index(np.moveaxis(ends, -1, 0), occupancy.shape) * 3 + axes
    # The published order of corners turns the faces inward: it is reversed.
    edge_numbers.append(numbers[:, triangles[:, ::-1]].reshape(-1, 3))
  used, faces = np.unique(np.concatenate(edge_numbers), return_inverse=True)
  ends, axis = np.divmod(used, 3)
  x, y, z = np.unravel_index(ends, occupancy.shape)
  vertices = np.stack([x, y, z], axis=1).astype(np.float64)
  # From the higher end half an edge back to the middle, and the offset further.
  vertices[np.arange(len(used)), axis] -= 0.5 + offset[axis, x, y, z]
  return vertices, faces.reshape(-1, 3)


def _likeliest(
  occupancy: Float[np.ndarray, "s s s"], columns: Int[np.ndarray, " m"]
) -> Int[np.ndarray, "r r r"]:
  """The column of the likeliest topology in each cell, the first of equal ones."""
  r = occupancy.shape[0] - 1
  best, position = np.full((r,) * 3, -1.0), np.zeros((r,) * 3, np.int64)
  corners = [
    occupancy[x : x + r, y : y + r, z : z + r] for x, y, z in topologies.CORNERS
  ]
  for number, topology in enumerate(columns):
    probability = np.ones((r,) * 3)
    for v, occupied in enumerate(corners):
      probability *= 1 - occupied if topology >> v & 1 else occupied
    better = probability > best
    best[better], position[better] = probability[better], number
  return position
