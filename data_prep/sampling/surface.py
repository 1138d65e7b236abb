"""Points on the surface of a solid, with normals (host, numpy).

The solid is in the unit-cube frame. Shape letter: n points.
"""

import numpy as np
from jaxtyping import Bool, Float, Int

from data_prep.watertight import orientation, winding
from occnet_jax.geometry import rendering, tolerances
from occnet_jax.geometry.solids import Solid
from occnet_jax.geometry.triangles import AreaSampler

_PILOT = 2048  # samples that show whether a single part crosses itself
_RAYS = 16  # directions of the rays from a sample
_STEEP = 0.2  # cosine to the face's normal below which a ray might hit the face itself
_MAX_ROUNDS = 100


def surface_points(
  solid: Solid,
  rng: np.random.Generator,
  *,
  count: int = 100_000,
  dtype: str = "float16",
  weights: Float[np.ndarray, "f"] | None = None,
) -> tuple[Float[np.ndarray, "n 3"], Float[np.ndarray, "n 3"]]:
  """Points uniform by area on the surface of the solid, with outward face normals.

  Where closed parts overlap, faces inside another part are no surface of the solid, and
  neither are sheets that enclose nothing: samples there are drawn again.

  Args:
    solid: the solid, in the unit-cube frame.
    rng: generator of the points.
    count: n.
    dtype: type of points and normals, "float16" or "float32".
    weights: relative density of the points on each face; None for 1 on all.

  Raises:
    ValueError: no sample is on the surface (every part is buried in another).
  """
  sampler = AreaSampler(*solid, weights)
  parts = int(winding.components(solid).max()) + 1
  points, faces = np.zeros((0, 3)), np.zeros(0, np.int64)
  size = count
  for _ in range(_MAX_ROUNDS):
    fresh, face = sampler.draw(size, rng)
    exposed = _is_exposed(solid, parts, fresh, sampler.normals[face])
    points = np.concatenate([points, fresh[exposed]])[:count]
    faces = np.concatenate([faces, face[exposed]])[:count]
    if len(points) == count:
      return points.astype(dtype), sampler.normals[faces].astype(dtype)
    # As many as are needed at this rate of success, and some to spare.
    rate = max(exposed.mean(), 0.05)
    size = int(1.1 * (count - len(points)) / rate) + 16
  raise ValueError(
    f"only {len(points)} surface samples after {_MAX_ROUNDS} rounds, want {count}: "
    "the parts lie inside each other; remove inner parts in a mesh editor"
  )


def _is_exposed(
  solid: Solid,
  parts: int,
  points: Float[np.ndarray, "n 3"],
  normals: Float[np.ndarray, "n 3"],
) -> Bool[np.ndarray, "n"]:
  """Whether the solid lies on the inner side of a sample's face and not on the outer.

  A face with the solid on both sides is buried; one with the solid on neither is a
  sheet. A single connected part counts as free of both if a pilot of samples is.
  """
  step = tolerances.PROBE_OFFSET * normals

  def bounds(sample: slice | Int[np.ndarray, "_"]) -> Bool[np.ndarray, "_"]:
    outer, inner = points[sample] + step[sample], points[sample] - step[sample]
    is_boundary = ~winding.contains(solid, outer)
    is_boundary[is_boundary] = winding.contains(solid, inner[is_boundary])
    return is_boundary

  if parts == 1 and bounds(slice(_PILOT)).all():
    return np.ones(len(points), bool)
  exposed = _sees_out(solid, points, normals)
  rest = np.flatnonzero(~exposed)
  exposed[rest] = bounds(rest)
  return exposed


def _sees_out(
  solid: Solid, points: Float[np.ndarray, "n 3"], normals: Float[np.ndarray, "n 3"]
) -> Bool[np.ndarray, "n"]:
  """Whether a ray from a sample's outer side leaves the scene.

  Then the winding number is 0 on the outer side and at least 1 on the inner one. A ray
  costs a hundredth of a winding number. If no ray leaves, the sample is undecided.
  """
  free = np.zeros(len(points), bool)
  if not rendering.is_available():
    return free
  scene = rendering.Scene(solid)
  for direction in orientation.sphere_directions(_RAYS):
    rest = np.flatnonzero(~free)
    up = np.where(normals[rest] @ direction < 0, -1.0, 1.0)[:, None] * direction
    steep = np.abs(normals[rest] @ direction) > _STEEP
    rest, up = rest[steep], up[steep]
    free[rest] = ~scene.is_hit(points[rest] + tolerances.RAY_OFFSET * normals[rest], up)
  return free
