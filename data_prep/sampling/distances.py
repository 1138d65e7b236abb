"""Signed distances of labelled points (host, numpy and libigl).

Shape letter: n points.
"""

import numpy as np
from jaxtyping import Float, UInt8

from data_prep.watertight.surface_metrics import point_to_mesh_distance
from occnet_jax.geometry.solids import Solid


def signed_distances(
  solid: Solid,
  points: Float[np.ndarray, "n 3"],
  occupancies: UInt8[np.ndarray, "bytes"],
) -> Float[np.ndarray, "n"]:
  """Distance of each point to the solid's mesh, negative inside, in cube units.

  The sign is that of the label, so the two never contradict each other. Where parts
  overlap, faces that lie inside another part count as surface, too, so distances inside
  are too short there.

  Args:
    solid: the solid, in the unit-cube frame.
    points: the points as stored; distances get their type.
    occupancies: labels of the points, eight to a byte.
  """
  inside = np.unpackbits(occupancies, count=len(points)).astype(bool)
  lengths = point_to_mesh_distance(points.astype(np.float64), *solid)
  return np.where(inside, -lengths, lengths).astype(points.dtype)
