"""Voxel remeshing: the surface that a triangle soup encloses, on a grid (host, numpy).

It is for meshes with too many gaps to find their holes one by one. The generalised
winding number still tells inside from outside, and the distance to the faces places the
surface between the corners of the grid, to a small fraction of a cell. Sheets that are
visible from both sides have no inside; they can be thickened.

Shape letters: v, w vertices, f, g faces, n points, r grid side.
"""

import igl
import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import ndimage

from data_prep.sampling.inside_test import voxels_touched
from data_prep.watertight import orientation, repair, surface_metrics
from data_prep.watertight import winding as winding_lib
from occnet_jax.geometry import tolerances
from occnet_jax.geometry.rendering import Scene
from occnet_jax.geometry.solids import Solid
from occnet_jax.geometry.triangles import unit_normals_and_areas

_CLEAR = 0.9  # a point of a greater winding number is inside, whatever its visibility
_OPEN = 0.4  # share of free directions from which any other point is outside
_SHEET_OPEN = 0.25  # share of free directions on both sides that makes a face a sheet
_GAP = 0.05  # cube units of distance for each unit that the winding number is off 1/2
_SAMPLES = 2000  # points on the surface for the share of sheets
_MIN_SIDE = 3.0  # cells along the cube of the volume of the smallest part that is kept
_OFF_ZERO = 1e-3  # cells: least distance of a corner from the surface, so none is on it
# The corners of a cell in the order of igl.marching_cubes, as (x, y, z) offsets. Listed
# with z fastest, corner number 4 x + 2 y + z, libigl takes them around the lower face
# and then around the upper one:
#
#        7-------6        z
#       /|      /|        |  y
#      4-------5 |        | /
#      | 3-----|-2        |/
#      |/      |/         0--- x
#      0-------1
_CORNERS = np.array(list(np.ndindex(2, 2, 2)))[[0, 4, 6, 2, 1, 5, 7, 3]]


def remesh(
  vertices: Float[np.ndarray, "v 3"],
  faces: Int[np.ndarray, "f 3"],
  *,
  resolution: int,
  thickness: float,
) -> tuple[Float[np.ndarray, "w 3"], Int[np.ndarray, "g 3"]]:
  """The closed surface of the volume that the faces enclose.

  Args:
    vertices, faces: a mesh in the unit-cube frame, oriented outward as far as possible.
    resolution: r, number of cells along an edge of the unit cube.
    thickness: distance in cube units by which faces visible from both sides are
      thickened to either; 0 leaves them out. It is raised to 0.9 cells, below which
      sheets could pass between the corners of the grid.

  Returns:
    vertices (w, 3) and faces (g, 3), both empty if nothing is inside.
  """
  mesh = Solid(vertices, faces)
  scene = Scene(mesh)
  if thickness:
    thickness = max(thickness, 0.9 / resolution)
  reach = int(np.ceil(thickness * resolution))  # cells of the band beyond the faces
  lower = np.floor(vertices.min(0) * resolution).astype(int) - reach - 2
  upper = np.ceil(vertices.max(0) * resolution).astype(int) + reach + 2
  shape = upper - lower
  # Distances are needed in a band of cells around the faces only; NaN elsewhere.
  band = voxels_touched(vertices[faces] * resolution - lower, shape)
  if reach:
    band = ndimage.binary_dilation(band, np.ones((3, 3, 3)), iterations=reach)
  value = np.full(shape + 1, np.nan)
  corners = _corners_of(band)
  while len(corners):
    points = (corners + lower) / resolution
    distances = _distance(scene, mesh, points, thickness) * resolution
    distances[np.abs(distances) < _OFF_ZERO] = _OFF_ZERO
    value[tuple(corners.T)] = distances
    # Where the surface leaves the band, as across an opening, the band follows it.
    crossed = _any_corner(value < 0) & _any_corner(value > 0)
    corners = _corners_of(crossed & _any_corner(np.isnan(value)))
    corners = corners[np.isnan(value[tuple(corners.T)])]
  if not crossed.any():
    return np.zeros((0, 3)), np.zeros((0, 3), np.int64)
  # The distinct corners of the crossed cells, and for each cell which of them it has.
  rows, index = np.unique(
    np.ravel_multi_index(
      tuple(np.moveaxis(np.argwhere(crossed)[:, None] + _CORNERS, -1, 0)), value.shape
    ),
    return_inverse=True,
  )
  points = (np.stack(np.unravel_index(rows, value.shape), 1) + lower) / resolution
  vertices, faces, _ = igl.marching_cubes(
    value.ravel()[rows], points, index.reshape(-1, 8).astype(np.int64)
  )
  vertices, faces = repair.weld(vertices, faces.astype(np.int64))
  faces = faces[~repair.has_opposite_twin(faces)]
  faces = _drop_small(vertices, faces, (_MIN_SIDE / resolution) ** 3)
  return repair.drop_unused(vertices, faces)


def sheet_share(mesh: Solid) -> float:
  """The share of a mesh's area that is widely visible from both sides."""
  points, face = surface_metrics.stratified_samples(*mesh, _SAMPLES)
  return float(_is_sheet(Scene(mesh), mesh, points, face).mean())


def _is_sheet(
  scene: Scene,
  mesh: Solid,
  points: Float[np.ndarray, "n 3"],
  face: Int[np.ndarray, "n"],
) -> Bool[np.ndarray, "n"]:
  """Whether points on faces are widely visible from both sides."""
  step = tolerances.RAY_OFFSET * unit_normals_and_areas(*mesh)[0][face]
  front = orientation.is_exposed(scene, points + step, least=_SHEET_OPEN)
  return front & orientation.is_exposed(scene, points - step, least=_SHEET_OPEN)


def _distance(
  scene: Scene, mesh: Solid, points: Float[np.ndarray, "n 3"], thickness: float
) -> Float[np.ndarray, "n"]:
  """Approximate signed distance to the surface, below 0 inside.

  Where faces are missing, the winding number stands in for the distance: it falls from
  1 to 0 over about the width of the gap.
  """
  squared, face, nearest = igl.point_mesh_squared_distance(points, *mesh)
  distance = np.sqrt(squared)
  winding = winding_lib.winding_number(mesh, points)
  inside = winding > 0.5
  unclear = np.flatnonzero(inside & (winding < _CLEAR))
  inside[unclear] = ~orientation.is_exposed(scene, points[unclear], least=_OPEN)
  value = np.minimum(distance, _GAP * np.abs(winding - 0.5))
  value[inside] *= -1
  if thickness:
    near = np.flatnonzero(~inside & (distance < 2 * thickness))
    near = near[_is_sheet(scene, mesh, nearest[near], face[near].astype(np.int64))]
    value[near] = distance[near] - thickness
  return value


def _any_corner(corners: Bool[np.ndarray, "x y z"]) -> Bool[np.ndarray, "_ _ _"]:
  """Whether any of the eight corners of a cell is marked."""
  x, y, z = corners.shape
  cells = np.zeros((x - 1, y - 1, z - 1), bool)
  for i, j, k in np.ndindex(2, 2, 2):
    cells |= corners[i : x - 1 + i, j : y - 1 + j, k : z - 1 + k]
  return cells


def _corners_of(cells: Bool[np.ndarray, "x y z"]) -> Int[np.ndarray, "n 3"]:
  """Indices of the corners of marked cells, each once.

  Padded by a layer of cells, the corner (i, j, k) lies between the cells (i, j, k) and
  (i + 1, j + 1, k + 1), just as a cell lies between its own corners.
  """
  return np.argwhere(_any_corner(np.pad(cells, 1)))


def _drop_small(
  vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"], least: float
) -> Int[np.ndarray, "g 3"]:
  """Removes closed parts and cavities whose volume is below `least`."""
  part = winding_lib.components(Solid(vertices, faces))
  volume = np.bincount(part, winding_lib.volumes(Solid(vertices, faces)))
  return faces[(np.abs(volume) >= least)[part]]
