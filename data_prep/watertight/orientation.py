"""Visibility from outside, and faces oriented by it (host, numpy and Embree).

Shape letters: v vertices, f faces, n points, k directions.
"""

import numpy as np
from jaxtyping import Bool, Float, Int

from data_prep.watertight import surface_metrics
from occnet_jax.geometry import tolerances
from occnet_jax.geometry.rendering import Scene
from occnet_jax.geometry.solids import Solid
from occnet_jax.geometry.triangles import unit_normals_and_areas

_DIRECTIONS = 32  # rays from each point
_MIN_ADVANTAGE = 0.05  # in visibility, of the back over the front of a flipped patch
_SAMPLES = 4096  # points on all patches together
_PER_PATCH = (4, 32)  # fewest and most points on a patch


def sphere_directions(count: int) -> Float[np.ndarray, "k 3"]:
  """Unit vectors spread evenly over the sphere along a Fibonacci spiral."""
  height = 1 - 2 * (np.arange(count) + 0.5) / count
  angle = np.pi * (3 - 5**0.5) * np.arange(count)
  radius = np.sqrt(1 - height**2)
  return np.stack([radius * np.cos(angle), radius * np.sin(angle), height], axis=1)


def sky_visibility(
  scene: Scene, points: Float[np.ndarray, "n 3"], directions: Float[np.ndarray, "k 3"]
) -> Float[np.ndarray, "n"]:
  """The share of directions in which a ray from each point leaves the scene."""
  free = np.zeros(len(points))
  for direction in directions:
    free += ~scene.is_hit(points, np.broadcast_to(direction, points.shape))
  return free / len(directions)


def is_exposed(
  scene: Scene, points: Float[np.ndarray, "n 3"], *, least: float
) -> Bool[np.ndarray, "n"]:
  """Whether rays leave the scene in at least this share of 32 directions."""
  return sky_visibility(scene, points, sphere_directions(_DIRECTIONS)) >= least


def orient_facets(
  vertices: Float[np.ndarray, "v 3"],
  faces: Int[np.ndarray, "f 3"],
  patch: Int[np.ndarray, "f"],
) -> Int[np.ndarray, "f 3"]:
  """Flips patches of faces whose back is more visible than their front.

  After Takayama et al. 2014, with the same rays every time. Where both sides are about
  equally visible, a patch stays as it is.

  Args:
    vertices: positions in the unit-cube frame.
    faces: triangles of consistent winding within each patch.
    patch: index of the patch of each face, from 0.
  """
  count = int(np.clip(_SAMPLES // (patch.max() + 1), *_PER_PATCH))
  points, face = surface_metrics.stratified_samples(vertices, faces, count, patch)
  step = tolerances.RAY_OFFSET * unit_normals_and_areas(vertices, faces)[0][face]
  scene, directions = Scene(Solid(vertices, faces)), sphere_directions(_DIRECTIONS)
  back = sky_visibility(scene, points - step, directions)
  advantage = back - sky_visibility(scene, points + step, directions)
  flipped = advantage.reshape(-1, count).mean(1) > _MIN_ADVANTAGE
  return np.where(flipped[patch, None], faces[:, ::-1], faces)
