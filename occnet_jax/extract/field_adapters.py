"""Fields of voxel grids and meshes (host).

Shape letters: r cells a side, n query points.
"""

import igl
import numpy as np
import trimesh
from jaxtyping import Float, Shaped
from scipy import ndimage


class GridSource:
  """An array (r, r, r) over the cells of [-0.5, 0.5]^3, linear between their centres.

  Booleans count as 1 and -1, so their surface is at the level 0. Outside of the cube
  the value is -1 for booleans, and the least value of the grid for numbers.

  Raises:
    ValueError: another shape, or values that are not finite.
  """

  def __init__(self, grid: Shaped[np.ndarray, "..."]):
    if grid.ndim != 3 or len(set(grid.shape)) != 1 or not grid.size:
      raise ValueError(f"a voxel grid of shape {grid.shape}; want (r, r, r)")
    if bad := np.count_nonzero(~np.isfinite(grid)):
      raise ValueError(
        f"{bad} of {grid.size} cells are not finite; want numbers: fill them with the "
        "value of the outside"
      )
    is_mask = grid.dtype == bool
    self.grid = np.where(grid, 1.0, -1.0) if is_mask else grid.astype(np.float64)
    self.outside = -1.0 if is_mask else self.grid.min()

  def __call__(self, points: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, " n"]:
    # Cell i spans [i, i + 1] / r - 0.5, and its value lies at its centre.
    indices = ((points + 0.5) * len(self.grid) - 0.5).T
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
