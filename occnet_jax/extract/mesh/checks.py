"""Checks of a mesh: open edges and enclosed volume (host, numpy).

Shape letters: v vertices, f faces.
"""

import numpy as np

from occnet_jax.extract.grid.marching_cubes import Faces, Vertices


def count_open_edges(faces: Faces) -> int:
  """Counts edges that are not in two faces, once in each direction; 0 if closed.

  Counts holes, edges of three or more faces, and neighbours of opposite orientation.
  """
  if not len(faces):
    return 0
  edges = faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2).astype(np.int64)
  count = edges.max() + 1
  forward = edges[:, 0] < edges[:, 1]
  # An edge as one integer, whatever its direction.
  _, number = np.unique(edges.min(1) * count + edges.max(1), return_inverse=True)
  once = (np.bincount(number, forward) == 1) & (np.bincount(number, ~forward) == 1)
  return int(np.count_nonzero(~once))


def signed_volume(vertices: Vertices, faces: Faces) -> float:
  """Volume of a closed mesh; negative if it is inside out (divergence theorem)."""
  a, b, c = np.moveaxis(vertices[faces], 1, 0)
  return float(np.einsum("fi,fi->", a, np.cross(b, c)) / 6)
