"""Small parts left out, smoothing and simplification of an extracted mesh (host).

Shape letters: v vertices, f faces; u vertices and g faces afterwards.
"""

import igl
import numpy as np
import trimesh
from jaxtyping import Float, Int
from scipy import sparse

from occnet_jax.extract.grid.marching_cubes import Faces, Vertices
from occnet_jax.extract.mesh.simplify import simplify

# Factors of a step towards the neighbours and of one away from them (Taubin, SIGGRAPH
# 1995): waves along the mesh of a frequency below 1 / SHRINK - 1 / GROW = 0.04 stay.
SHRINK, GROW = 0.5, 0.51


def finish(
  vertices: Vertices,
  faces: Faces,
  *,
  least_part: float = 0.0,
  smooth_steps: int = 0,
  simplify_faces: int | None = None,
) -> tuple[Float[np.ndarray, "u 3"], Int[np.ndarray, "g 3"]]:
  """Leaves out small parts, then smooths, then simplifies.

  Args:
    vertices, faces: a closed mesh.
    least_part: as of `without_small_parts`; 0 keeps all.
    smooth_steps: as of `smooth`; 0 for none.
    simplify_faces: number of faces to keep, or None for all.

  Raises:
    ValueError: settings out of range.
  """
  if not 0 <= least_part < 1:
    raise ValueError(f"least_part={least_part}; want a share from 0 to below 1")
  if smooth_steps < 0:
    raise ValueError(f"smooth_steps={smooth_steps}; want 0 or more")
  if least_part and len(faces):
    vertices, faces = without_small_parts(vertices, faces, least_part)
  if smooth_steps and len(faces):
    vertices = smooth(vertices, faces, smooth_steps)
  if simplify_faces is not None:
    vertices, faces = simplify(vertices, faces, simplify_faces)
  return vertices, faces


def without_small_parts(
  vertices: Vertices, faces: Faces, least_part: float
) -> tuple[Float[np.ndarray, "u 3"], Int[np.ndarray, "g 3"]]:
  """The mesh without parts, or cavities, of less volume than a share of the largest's.

  Args:
    vertices, faces: a closed mesh.
    least_part: that share.
  """
  neighbours = igl.adjacency_matrix(np.asarray(faces, np.int64))
  part = igl.connected_components(neighbours)[1][faces[:, 0]]
  a, b, c = np.moveaxis(vertices[faces] - vertices.mean(0), 1, 0)
  tetrahedra = (a * np.cross(b, c)).sum(1)  # six times the volumes up to the centre
  volumes = np.abs(np.bincount(part, tetrahedra))
  large = volumes >= least_part * volumes.max()
  if large.all():
    return vertices, faces
  faces, used = faces[large[part]], np.zeros(len(vertices), bool)
  used[faces] = True
  # The new number of a vertex is the number of used ones before it.
  return vertices[used], (np.cumsum(used) - 1)[faces]


def smooth(vertices: Vertices, faces: Faces, steps: int) -> Float[np.ndarray, "v 3"]:
  """Vertices after Taubin's smoothing, which does not shrink a mesh as averaging does.

  Args:
    vertices, faces: the mesh.
    steps: pairs of a step towards the neighbours' mean and one away from it.
  """
  neighbours = igl.adjacency_matrix(np.asarray(faces, np.int64)).astype(np.float64)
  counts = np.asarray(neighbours.sum(1)).ravel()
  means = sparse.diags_array(1 / counts) @ neighbours
  mesh = trimesh.Trimesh(vertices, faces, process=False)
  trimesh.smoothing.filter_taubin(mesh, SHRINK, GROW, 2 * steps, means)
  return np.asarray(mesh.vertices)
