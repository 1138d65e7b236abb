"""Fields of voxel grids and meshes (host).

Shape letters: x y z cells along the axes, n query points.
"""

import igl
import numpy as np
import trimesh
from jaxtyping import Float, Shaped
from scipy import ndimage


class GridSource:
  """An array (x, y, z) over cubic cells, linear between their centres.

  The box of cells is centred, and its longest side spans [-0.5, 0.5]: a grid (r, r, r)
  has the cells of the unit cube. Booleans count as 0 and 1. Outside of the box the
  value is the least of the grid, and 0 for booleans.

  Raises:
    ValueError: another shape, or values that are not finite.
  """

  def __init__(self, grid: Shaped[np.ndarray, "..."]):
    if grid.ndim != 3 or not grid.size:
      raise ValueError(f"a voxel grid of shape {grid.shape}; want (x, y, z)")
    if bad := np.count_nonzero(~np.isfinite(grid)):
      raise ValueError(
        f"{bad} of {grid.size} cells are not finite; want numbers: fill them with the "
        "value of the outside"
      )
    self.grid = grid.astype(np.float64)
    self.outside = 0.0 if grid.dtype == bool else self.grid.min()

  def __call__(self, points: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, " n"]:
    # Of the r cells along the longest side, cell i spans [i, i + 1] / r - 0.5, and its
    # value lies at its centre. Shorter sides of s cells begin at -s / (2 r).
    sides = np.array(self.grid.shape)
    indices = (points * sides.max() + sides / 2 - 0.5).T
    return ndimage.map_coordinates(
      self.grid, indices, order=1, mode="grid-constant", cval=self.outside
    )


class SolidSource:
  """A mesh's signed distance, positive inside; the sign from the fast winding number.

  Raises:
    ValueError: a mesh without faces, or with vertices that are not finite.
  """

  def __init__(self, mesh: trimesh.Trimesh):
    if not len(mesh.faces):  # libigl crashes on an empty mesh
      raise ValueError("a mesh without faces; want the boundary of a solid")
    if bad := np.count_nonzero(~np.isfinite(mesh.vertices).all(1)):
      raise ValueError(
        f"{bad} of {len(mesh.vertices)} vertices are not finite; want numbers: "
        "repair or drop them"
      )
    self.vertices = np.ascontiguousarray(mesh.vertices, np.float64)
    self.faces = np.ascontiguousarray(mesh.faces, np.int64)

  def __call__(self, points: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, " n"]:
    kind = igl.SIGNED_DISTANCE_TYPE_FAST_WINDING_NUMBER
    points = np.ascontiguousarray(points)
    return -igl.signed_distance(points, self.vertices, self.faces, kind)[0]
