"""Simplification: a mesh with fewer triangles (host).

Quadric edge collapse (Garland and Heckbert, SIGGRAPH 1997) by libigl, which keeps
closed meshes closed; relatives of the code that the reference uses tear holes.

Shape letters: v vertices, f faces; u vertices and g faces after simplification.
"""

import igl
import numpy as np
from jaxtyping import Float, Int

from occnet_jax.extract.grid.marching_cubes import Faces, Vertices


def simplify(
  vertices: Vertices, faces: Faces, face_count: int
) -> tuple[Float[np.ndarray, "u 3"], Int[np.ndarray, "g 3"]]:
  """Collapses edges until at most `face_count` faces remain, if possible.

  A mesh that has no more faces than that is returned as it is. Bodies of a mesh never
  vanish: each keeps four faces or more, so many bodies may need more than `face_count`.

  Args:
    vertices, faces: an edge-manifold mesh.
    face_count: number of faces to keep, at least 4, the faces of a tetrahedron.

  Raises:
    ValueError: face_count below 4, or vertices that are not finite.
  """
  if face_count < 4:
    raise ValueError(f"simplify to {face_count} faces; want at least 4, or None")
  if len(faces) <= face_count:  # libigl crashes on an empty mesh
    return vertices, faces
  if bad := np.count_nonzero(~np.isfinite(vertices).all(1)):
    raise ValueError(f"{bad} of {len(vertices)} vertices are not finite; want none")
  simpler, triangles, _, _ = igl.qslim(
    np.asfortranarray(vertices, np.float64),
    np.asfortranarray(faces, np.int32),
    face_count,
  )
  return simpler.astype(np.float64, order="C"), triangles.astype(np.int64, order="C")
