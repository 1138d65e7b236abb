"""Normals and areas of triangles, and uniform samples on them (host, numpy).

Shape letters: v vertices, f faces, n samples.
"""

import numpy as np
from jaxtyping import Float, Int

_TINY = np.finfo(np.float64).tiny  # divides the zero normal of a face without area


def area_vectors(
  vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"]
) -> Float[np.ndarray, "f 3"]:
  """Normals whose length is twice the area of their face.

  They look outward where faces are counter-clockwise seen from outside.
  """
  a, b, c = np.moveaxis(vertices[faces], 1, 0)
  return np.cross(b - a, c - a)


def unit_normals_and_areas(
  vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"]
) -> tuple[Float[np.ndarray, "f 3"], Float[np.ndarray, "f"]]:
  """Unit normals, 0 where a face has no area, and areas in square units."""
  normals = area_vectors(vertices, faces)
  lengths = np.linalg.norm(normals, axis=1)
  return normals / np.maximum(lengths, _TINY)[:, None], lengths / 2


def locate(
  cumulative: Float[np.ndarray, "f"],
  targets: Float[np.ndarray, "n"],
  *,
  side: str = "right",
) -> Int[np.ndarray, "n"]:
  """The index i of the interval [cumulative[i - 1], cumulative[i]] of each target.

  A target that rounding puts at the very end belongs to the last interval, where
  `np.searchsorted` alone would name one behind it.
  """
  last = np.searchsorted(cumulative, cumulative[-1])  # no face without area
  return np.minimum(np.searchsorted(cumulative, targets, side=side), last)


def points_on_faces(
  vertices: Float[np.ndarray, "v 3"],
  faces: Int[np.ndarray, "n 3"],
  rng: np.random.Generator,
) -> Float[np.ndarray, "n 3"]:
  """One point on each face, uniform by area; a face may be given many times."""
  u, v = rng.random((2, len(faces), 1))
  # Fold the far half of the parallelogram back onto the triangle.
  u, v = np.where(u + v > 1, 1 - u, u), np.where(u + v > 1, 1 - v, v)
  a, b, c = np.moveaxis(vertices[faces], 1, 0)
  return a + u * (b - a) + v * (c - a)


class AreaSampler:
  """Draws points uniformly by area on the faces of one mesh.

  Attributes:
    normals: (f, 3) unit normals, 0 where a face has no area.
    area: of all faces together, in square units, times their weights.
  """

  def __init__(
    self,
    vertices: Float[np.ndarray, "v 3"],
    faces: Int[np.ndarray, "f 3"],
    weights: Float[np.ndarray, "f"] | None = None,
  ):
    """Args:
    vertices, faces: the mesh.
    weights: relative density of the points on each face; None for 1 on all.
    """
    self._vertices = np.asarray(vertices, np.float64)
    self._faces = faces
    self.normals, areas = unit_normals_and_areas(self._vertices, faces)
    areas = areas if weights is None else areas * weights
    # Face i owns the interval of length areas[i] that ends at cumulative[i].
    self._cumulative = np.cumsum(areas)
    self.area = float(self._cumulative[-1]) if len(faces) else 0.0

  def draw(
    self, count: int, rng: np.random.Generator
  ) -> tuple[Float[np.ndarray, "n 3"], Int[np.ndarray, "n"]]:
    """Points (n, 3) and the face of each; the mesh must have an area above 0."""
    chosen = locate(self._cumulative, rng.random(count) * self.area)
    return points_on_faces(self._vertices, self._faces[chosen], rng), chosen
