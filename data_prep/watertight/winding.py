"""Winding numbers, parts and outward orientation of closed meshes (host, libigl).

A mesh is closed if along every edge as many triangles run one way as the other. Its
winding number is then an integer off the surface, so parts may overlap, touch or lie
within each other, and inside means at least 1. A `Solid` has what libigl takes for
granted: at least one face and finite coordinates.

Shape letters: v vertices, f faces, n points.
"""

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import sparse

from occnet_jax.geometry import surface_sampling
from occnet_jax.geometry.solids import Solid

_PROBES = 64  # vertices of a part that are tested for lying within larger parts


def contains(solid: Solid, points: Float[np.ndarray, "n 3"]) -> Bool[np.ndarray, "n"]:
  """Whether points are inside: winding number above one half.

  Raises:
    ValueError: a point is not finite.
  """
  check_finite(points)
  return surface_sampling.contains(*solid, points)


def winding_number(
  solid: Solid, points: Float[np.ndarray, "n 3"]
) -> Float[np.ndarray, "n"]:
  """Generalised winding number (Barill et al. 2018, by libigl, to about 0.01).

  Raises:
    ValueError: a point is not finite.
  """
  check_finite(points)
  return surface_sampling.winding_number(*solid, points)


def check_finite(points: Float[np.ndarray, "n 3"]) -> None:
  """Raises ValueError for points at which libigl would answer arbitrarily."""
  if not np.isfinite(points).all():
    raise ValueError("some points are not finite; drop them first")


def components(solid: Solid) -> Int[np.ndarray, "f"]:
  """Index of the connected component of each face, from 0."""
  tail, head = solid.faces[:, :2].ravel(), solid.faces[:, 1:].ravel()
  count = len(solid.vertices)
  graph = sparse.coo_array(
    (np.ones(len(tail), np.int8), (tail, head)), shape=(count, count)
  )
  labels = sparse.csgraph.connected_components(graph, directed=False)[1]
  return np.unique(labels[solid.faces[:, 0]], return_inverse=True)[1]


def require_faces(faces: Int[np.ndarray, "f 3"]) -> None:
  """Raises ValueError if fewer than four faces are left, too few for a solid."""
  if len(faces) < 4:
    raise ValueError(
      f"{len(faces)} faces that enclose something, want at least 4; give the sheet a "
      "thickness"
    )


def as_solid(
  vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"]
) -> Solid:
  """A closed mesh oriented outward; ValueError if it encloses nothing."""
  require_faces(faces)
  solid = orient_outward(Solid(vertices, faces))
  if volumes(solid).sum() <= 0:
    raise ValueError("the volume is 0; give the sheet a thickness")
  return solid


def volumes(solid: Solid) -> Float[np.ndarray, "f"]:
  """Signed volume between each face and the centre; their sum is the solid's."""
  a, b, c = (solid.vertices - solid.vertices.mean(0))[solid.faces].transpose(1, 0, 2)
  return np.einsum("fk,fk->f", a, np.cross(b, c)) / 6


def orient_outward(solid: Solid) -> Solid:
  """Flips the mesh, and then each part, so that faces look outward.

  A part that is still inside out after that is a cavity, and stays so, if it lies
  within larger parts.
  """
  vertices, faces = solid
  signed = volumes(solid)
  if signed.sum() < 0:
    faces, signed = faces[:, ::-1], -signed
  part = components(solid)
  volume = np.bincount(part, signed)
  if (volume >= 0).all():
    return Solid(vertices, np.ascontiguousarray(faces))
  faces = faces.copy()
  # members[i]: the faces of part i, by cutting the sorted faces where parts end.
  members = np.split(np.argsort(part, kind="stable"), np.cumsum(np.bincount(part))[:-1])
  corners = vertices[faces]
  lower = np.array([corners[rows].min((0, 1)) for rows in members])
  upper = np.array([corners[rows].max((0, 1)) for rows in members])
  size = np.abs(volume)
  # Largest first: whether a part is a cavity depends on the larger ones.
  for number in np.argsort(-size, kind="stable"):
    if volume[number] >= 0:
      continue
    # Only parts whose box overlaps this one's can surround it.
    overlaps = (lower <= upper[number]).all(1) & (upper >= lower[number]).all(1)
    around = np.flatnonzero(overlaps & (size > size[number]))
    inside = 0.0
    if len(around):
      rows = np.concatenate([members[other] for other in around])
      probes = vertices[np.unique(faces[members[number]])[:_PROBES]]
      inside = np.median(winding_number(Solid(vertices, faces[rows]), probes))
    if inside < 0.5:
      faces[members[number]] = faces[members[number]][:, ::-1]
  return Solid(vertices, faces)
