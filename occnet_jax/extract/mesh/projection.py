"""Projection of vertices onto the surface, and the distance of a mesh from it (host).

Both take the distance of a point p from the surface to be |f(p) - level| / |grad f(p)|,
which holds near the surface, to first order.

Shape letters: v vertices, f faces.
"""

import numpy as np

from occnet_jax.extract.field import Field
from occnet_jax.extract.grid.marching_cubes import Faces, Vertices

_TINY = np.finfo(np.float64).tiny


def project(
  field: Field, vertices: Vertices, *, level: float, max_step: float, steps: int = 4
) -> Vertices:
  """Moves vertices along the gradient to the level by a guarded Newton's method.

  A step is taken only if it brings the field nearer to the level; one that fails is
  halved for the next try.

  Args:
    field: a field of any kind.
    vertices: (v, 3) in cube units.
    level: value of the field at the surface.
    max_step: length of the longest step, in cube units.
    steps: number of tries for every vertex.
  """
  offset = field.values(vertices) - np.float64(level)
  reach = np.full(len(vertices), max_step)
  for _ in range(steps):
    gradients = field.gradients(vertices).astype(np.float64)
    squares = (gradients**2).sum(1)
    # Newton's step is -offset * gradient / |gradient|^2; none where the field is flat.
    scale = np.divide(offset, squares, out=np.zeros_like(offset), where=squares > 0)
    step = -scale[:, None] * gradients
    length = np.linalg.norm(step, axis=1)
    reach = np.minimum(reach, length)
    trial = vertices + (reach / np.maximum(length, _TINY))[:, None] * step
    trial_offset = field.values(trial) - np.float64(level)
    nearer = np.abs(trial_offset) < np.abs(offset)
    vertices = np.where(nearer[:, None], trial, vertices)
    offset = np.where(nearer, trial_offset, offset)
    reach = np.where(nearer, max_step, reach / 2)
  return vertices


def mean_error(
  field: Field,
  vertices: Vertices,
  faces: Faces,
  *,
  level: float,
  max_distance: float,
  seed: int,
) -> float:
  """Mean distance of the faces from the surface, by area, in cube units.

  Args:
    field, level: the field and its value at the surface.
    vertices, faces: the mesh, at least one face.
    max_distance: bound on the distance of one point, which is infinite where the field
      is flat.
    seed: seed of the random point on every face.
  """
  # Dirichlet (1, 1, 1) is uniform in the triangle.
  weights = np.random.default_rng(seed).dirichlet((1, 1, 1), len(faces))
  corners = vertices[faces]
  points = np.einsum("fck,fc->fk", corners, weights)
  offset = np.abs(field.values(points) - np.float64(level))
  slope = np.linalg.norm(field.gradients(points), axis=1)
  edges = corners[:, 1:] - corners[:, :1]
  areas = np.linalg.norm(np.cross(edges[:, 0], edges[:, 1]), axis=1)
  distances = np.minimum(offset / np.maximum(slope, _TINY), max_distance)
  return float((areas * distances).sum() / max(areas.sum(), _TINY))
