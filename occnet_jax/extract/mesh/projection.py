"""Puts the vertices of a mesh onto the surface, and tells how far off a mesh is (host).

Both take the distance of a point p from the surface to be |f(p) - level| / |grad f(p)|,
which holds near the surface, to first order.

Shape letters: v vertices, f faces.
"""

import numpy as np

from occnet_jax.extract.field import Field
from occnet_jax.extract.grid.marching_cubes import Faces, Vertices

_TINY = np.finfo(np.float64).tiny


def project(
  field: Field, vertices: Vertices, *, level: float, most: float, steps: int = 4
) -> Vertices:
  """Newton's method along the gradient, towards where the field has the level.

  A vertex moves only to where the field comes nearer to the level; the step that failed
  is halved for the next.

  Args:
    field: of any kind.
    vertices: in cube units.
    level: value of the field at the surface.
    most: length of the longest step.
    steps: at most, for every vertex.
  """
  off = field.values(vertices) - np.float64(level)
  reach = np.full(len(vertices), most)
  for _ in range(steps):
    gradients = field.gradients(vertices).astype(np.float64)
    squares = (gradients**2).sum(1)
    away = np.divide(off, squares, out=np.zeros_like(off), where=squares > 0)
    step = -away[:, None] * gradients
    length = np.linalg.norm(step, axis=1)
    reach = np.minimum(reach, length)
    trial = vertices + (reach / np.maximum(length, _TINY))[:, None] * step
    found = field.values(trial) - np.float64(level)
    nearer = np.abs(found) < np.abs(off)
    vertices = np.where(nearer[:, None], trial, vertices)
    off = np.where(nearer, found, off)
    reach = np.where(nearer, most, reach / 2)
  return vertices


def mean_error(
  field: Field,
  vertices: Vertices,
  faces: Faces,
  *,
  level: float,
  most: float,
  seed: int,
) -> float:
  """Mean distance of the faces from the surface, by area, in cube units.

  Args:
    field, level: what the mesh is of.
    vertices, faces: the mesh, at least one face.
    most: that a point counts, wherever the field is flat.
    seed: of one random point on every face.
  """
  weights = np.random.default_rng(seed).dirichlet((1, 1, 1), len(faces))
  corners = vertices[faces]
  points = np.einsum("fck,fc->fk", corners, weights)
  off = np.abs(field.values(points) - np.float64(level))
  slope = np.linalg.norm(field.gradients(points), axis=1)
  edges = corners[:, 1:] - corners[:, :1]
  areas = np.linalg.norm(np.cross(edges[:, 0], edges[:, 1]), axis=1)
  distances = np.minimum(off / np.maximum(slope, _TINY), most)
  return float((areas * distances).sum() / max(areas.sum(), _TINY))
