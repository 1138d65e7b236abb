"""Normals at the vertices of a mesh: from the field, else from its faces (host).

Shape letters: v vertices, f faces.
"""

import numpy as np
from jaxtyping import Float

from occnet_jax.extract.field import Field
from occnet_jax.extract.grid.active_cells import OUTSIDE, Crossings
from occnet_jax.extract.grid.marching_cubes import Faces, Vertices
from occnet_jax.extract.grid.mise import CHUNK
from occnet_jax.geometry import triangles

Normals = Float[np.ndarray, "v 3"]


def field_normals(
  field: Field,
  vertices: Vertices,
  faces: Faces,
  gradients: Float[np.ndarray, "v 3"] | None = None,
) -> Normals:
  """Unit vectors -grad f / |grad f|: the field falls from the inside outwards.

  Where the gradient vanishes or does not exist, the normal is that of the faces.

  Args:
    field: the field.
    vertices, faces: the mesh.
    gradients: those of the field at the vertices, 0 where there is none; None
      evaluates them.
  """
  if gradients is None:
    normals = gradient_normals(field, vertices)
  else:
    normals = unit_falls(gradients)
  missing = ~normals.any(1)
  if missing.any():
    around = faces[missing[faces].any(1)]
    normals[missing] = face_normals_at_vertices(vertices, around)[missing]
  return normals


def crossing_normals(
  field: Field, crossings: Crossings, points: Float[np.ndarray, "e 3"]
) -> Float[np.ndarray, "e 3"]:
  """Normals of the field at the crossings of edges; 0 where it has none.

  On edges into the layer around the grid they are those of the cube's faces.
  """
  normals = gradient_normals(field, points)
  leaving = np.flatnonzero((crossings.ends == OUTSIDE).any(1))
  signs = np.where(crossings.ends[leaving, 1] == OUTSIDE, 1.0, -1.0)
  normals[leaving] = signs[:, None] * np.eye(3)[crossings.edges[leaving] % 3]
  return normals


def gradient_normals(field: Field, points: Vertices) -> Normals:
  """-grad f / |grad f|, 0 where the gradient vanishes or does not exist."""
  normals = np.zeros(points.shape)
  for start in range(0, len(points), CHUNK):
    part = slice(start, start + CHUNK)
    normals[part] = unit_falls(field.gradients(points[part]))
  return normals


def unit_falls(gradients: Float[np.ndarray, "v 3"]) -> Normals:
  """-g / |g| of gradients g, 0 where they are 0."""
  gradients = gradients.astype(np.float64)
  lengths = np.linalg.norm(gradients, axis=1, keepdims=True)
  return np.divide(
    -gradients, lengths, out=np.zeros(gradients.shape), where=lengths > 0
  )


def face_normals_at_vertices(vertices: Vertices, faces: Faces) -> Normals:
  """Unit means of the surrounding faces' normals, weighted by area.

  A vertex that is surrounded by no area gets the z axis.
  """
  sums = np.zeros(vertices.shape)
  for start in range(0, len(faces), CHUNK):
    part = faces[start : start + CHUNK]
    normals = triangles.area_vectors(vertices, part)  # twice the area long
    for corners in part.T:
      np.add.at(sums, corners, normals)
  lengths = np.linalg.norm(sums, axis=1, keepdims=True)
  axis = np.broadcast_to([0.0, 0.0, 1.0], sums.shape).copy()
  return np.divide(sums, lengths, out=axis, where=lengths > 0)
