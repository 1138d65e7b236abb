"""From a field on a grid to triangles, and whether these bound a solid (host).

Marching cubes (Lorensen and Cline, SIGGRAPH 1987) as the reference runs it: the grid is
wrapped in one layer of outside, so that the surface is closed even where the object
leaves the cube. Triangles are counter-clockwise seen from outside.

Shape letters: r grid points a side, v vertices, f faces.
"""

import igl
import numpy as np
from jaxtyping import Float, Int

from occnet_jax.geometry.grids import PADDING, grid_indices

try:
  import mcubes
except ImportError:  # PyMCubes has no wheels for Python 3.13 and later
  mcubes = None

OUTSIDE = -1e6  # of the layer around the grid; so low that borders stay in place

Vertices = Float[np.ndarray, "v 3"]
Faces = Int[np.ndarray, "f 3"]


def marching_cubes(
  values: Float[np.ndarray, "r r r"], level: float, padding: float = PADDING
) -> tuple[Vertices, Faces]:
  """The surface where a field on the padded cube crosses the level, closed.

  Values at the level or below it are outside. Where the grid is inside at its border,
  the surface is the border itself. Without a crossing the mesh is empty.

  Args:
    values: larger inside; indexed (x, y, z), the first and last on the cube's faces.
    level: value at the surface.
    padding: the cube's side is 1 + padding.

  Returns:
    Vertices in the padded cube, float64, and faces, outward.
  """
  wrapped = np.pad(values.astype(np.float32), 1, constant_values=OUTSIDE)
  run = _marching_cubes_igl if mcubes is None else _marching_cubes_mcubes
  vertices, faces = run(wrapped, level)
  vertices = (vertices - 1) / (len(values) - 1)  # 0 at the first point, 1 at the last
  return (1 + padding) * (vertices - 0.5), faces


def _marching_cubes_mcubes(
  values: Float[np.ndarray, "r r r"], level: float
) -> tuple[Vertices, Faces]:
  vertices, faces = mcubes.marching_cubes(values, level)
  return vertices, faces.astype(np.int64)


def _marching_cubes_igl(
  values: Float[np.ndarray, "r r r"], level: float
) -> tuple[Vertices, Faces]:
  """Libigl has the inside at the level and below it, and lets x run fastest."""
  side = len(values)
  negated = -values.ravel(order="F").astype(np.float64)
  negated = np.nextafter(negated, np.inf)  # what is at the level stays outside
  places = np.ascontiguousarray(grid_indices(side)[:, ::-1], np.float64)
  vertices, faces, _ = igl.marching_cubes(negated, places, side, side, side, -level)
  return vertices.reshape(-1, 3), faces.reshape(-1, 3).astype(np.int64)


def count_open_edges(faces: Faces) -> int:
  """Edges that are not run through once in each direction; 0 for a closed surface.

  Counts holes, edges of three or more faces, and neighbours of opposite orientation.
  """
  if not len(faces):
    return 0
  edges = faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2).astype(np.int64)
  count = edges.max() + 1
  forward = edges[:, 0] < edges[:, 1]
  _, where = np.unique(edges.min(1) * count + edges.max(1), return_inverse=True)
  once = (np.bincount(where, forward) == 1) & (np.bincount(where, ~forward) == 1)
  return int(np.count_nonzero(~once))


def signed_volume(vertices: Vertices, faces: Faces) -> float:
  """Volume of a closed mesh; negative if it is inside out (divergence theorem)."""
  a, b, c = np.moveaxis(vertices[faces], 1, 0)
  return float(np.einsum("fi,fi->", a, np.cross(b, c)) / 6)
