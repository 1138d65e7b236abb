"""The boundary of a set of cells, as squares of two triangles (host, numpy).

Shape letters: r cells a side, v vertices, f faces.
"""

import numpy as np
from jaxtyping import Bool, Float, Int


def cell_faces(
  inside: Bool[np.ndarray, "r r r"],
) -> tuple[Float[np.ndarray, "v 3"], Int[np.ndarray, "f 3"]]:
  """The faces between cells inside and cells outside [-0.5, 0.5]^3 or not inside.

  The volume that they enclose is that of the cells. Cells that touch only along an edge
  share it, so that it belongs to four faces.

  Args:
    inside: indexed (x, y, z), cell (x, y, z) with its lower corner at
      (x, y, z) / r - 0.5.

  Returns:
    Vertices at multiples of 1 / r, each once, and outward faces.
  """
  side = len(inside)
  padded = np.pad(inside, 1)
  quads = []
  for axis in range(3):
    u, v = (axis + 1) % 3, (axis + 2) % 3  # right-handed: axis = u x v
    before = padded.take(range(side + 1), axis)
    after = padded.take(range(1, side + 2), axis)
    # A square at index i along the axis lies between cells i - 1 and i.
    for outward_is_positive in (True, False):
      crossed = before & ~after if outward_is_positive else after & ~before
      lower = np.argwhere(crossed)
      lower[:, [u, v]] -= 1  # these two axes still have the padding
      step_u, step_v = np.eye(3, dtype=np.int64)[[u, v]]
      corners = [lower, lower + step_u, lower + step_u + step_v, lower + step_v]
      quads.append(np.stack(corners if outward_is_positive else corners[::-1], axis=1))
  corners = np.concatenate(quads)
  # One number per lattice point, so that squares share their corners.
  keys = corners @ np.array([(side + 1) ** 2, side + 1, 1])
  unique, rank = np.unique(keys, return_inverse=True)
  rank = rank.reshape(-1, 4)
  lattice = np.stack(np.unravel_index(unique, (side + 1,) * 3), axis=-1)
  faces = np.concatenate([rank[:, [0, 1, 2]], rank[:, [2, 3, 0]]])
  return lattice / side - 0.5, faces.astype(np.int64)
