"""The surface of what a soup of triangles surrounds, on a grid (host, numpy).

For a mesh with gaps so many that its holes are not found one by one. Its generalised
winding number still tells inside from outside, and the distance to its faces places the
surface between the corners of a grid, to a small part of a cell. Sheets that can be
seen from both sides have no inside; they can be thickened.

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

_CLEAR = 0.9  # above this winding number a point is inside, whatever it sees
_OPEN = 0.4  # share of free directions that makes any other point outside
_WIDELY = 0.25  # and either side of a face one that is to be seen
_GAP = 0.05  # in cube units, the distance to the surface at which it is 0.5 off a half
_SAMPLES = 2000  # of the surface, to tell how much of it is sheets
_SMALLEST = 3.0  # cells along a piece or cavity that is kept, if it were a cube
_OFF_ZERO = 1e-3  # of a cell: no corner lies on the surface itself
_CORNERS = np.array(list(np.ndindex(2, 2, 2)))[[0, 4, 6, 2, 1, 5, 7, 3]]  # igl's order


def remesh(
  vertices: Float[np.ndarray, "v 3"],
  faces: Int[np.ndarray, "f 3"],
  *,
  resolution: int,
  thickness: float,
) -> tuple[Float[np.ndarray, "w 3"], Int[np.ndarray, "g 3"]]:
  """The closed surface of what the faces surround.

  Args:
    vertices, faces: in the unit-cube frame, looking outward as far as can be told.
    resolution: r, cells along an edge of the unit cube.
    thickness: by which faces that can be seen from both sides are thickened towards
      either, in cube units; 0 leaves them out. It is at least 0.9 cells, or the corners
      of the grid miss them.

  Returns:
    vertices (w, 3) and faces (g, 3): none where nothing is inside.
  """
  mesh = Solid(vertices, faces)
  scene = Scene(mesh)
  if thickness:
    thickness = max(thickness, 0.9 / resolution)
  reach = int(np.ceil(thickness * resolution))  # cells of the band beyond the faces
  lower = np.floor(vertices.min(0) * resolution).astype(int) - reach - 2
  upper = np.ceil(vertices.max(0) * resolution).astype(int) + reach + 2
  shape = upper - lower
  met = voxels_touched(vertices[faces] * resolution - lower, shape)
  if reach:
    met = ndimage.binary_dilation(met, np.ones((3, 3, 3)), iterations=reach)
  value = np.full(shape + 1, np.nan)
  corners = _corners_of(met)
  while len(corners):
    points = (corners + lower) / resolution
    found = _distance(scene, mesh, points, thickness) * resolution
    found[np.abs(found) < _OFF_ZERO] = _OFF_ZERO
    value[tuple(corners.T)] = found
    # Where the surface leaves the band, as over an opening, the band follows it.
    crossed = _any_corner(value < 0) & _any_corner(value > 0)
    corners = _corners_of(crossed & _any_corner(np.isnan(value)))
    corners = corners[np.isnan(value[tuple(corners.T)])]
  if not crossed.any():
    return np.zeros((0, 3)), np.zeros((0, 3), np.int64)
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
  faces = _drop_small(vertices, faces, (_SMALLEST / resolution) ** 3)
  return repair.drop_unused(vertices, faces)


def sheet_share(mesh: Solid) -> float:
  """The share of its area that can be seen widely from both sides."""
  points, face = surface_metrics.stratified_samples(*mesh, _SAMPLES)
  return float(_is_sheet(Scene(mesh), mesh, points, face).mean())


def _is_sheet(
  scene: Scene,
  mesh: Solid,
  points: Float[np.ndarray, "n 3"],
  face: Int[np.ndarray, "n"],
) -> Bool[np.ndarray, "n"]:
  """Whether points on faces see widely on both sides."""
  step = tolerances.RAY_OFFSET * unit_normals_and_areas(*mesh)[0][face]
  front = orientation.is_exposed(scene, points + step, least=_WIDELY)
  return front & orientation.is_exposed(scene, points - step, least=_WIDELY)


def _distance(
  scene: Scene, mesh: Solid, points: Float[np.ndarray, "n 3"], thickness: float
) -> Float[np.ndarray, "n"]:
  """About the distance to the surface, below 0 for points inside.

  Where faces are missing the winding number takes their place: it falls from 1 to 0
  over about the width of the gap.
  """
  squared, face, nearest = igl.point_mesh_squared_distance(points, *mesh)
  distance = np.sqrt(squared)
  winding = winding_lib.winding_number(mesh, points)
  inside = winding > 0.5
  unsure = np.flatnonzero(inside & (winding < _CLEAR))
  inside[unsure] = ~orientation.is_exposed(scene, points[unsure], least=_OPEN)
  value = np.minimum(distance, _GAP * np.abs(winding - 0.5))
  value[inside] *= -1
  if thickness:
    near = np.flatnonzero(~inside & (distance < 2 * thickness))
    near = near[_is_sheet(scene, mesh, nearest[near], face[near].astype(np.int64))]
    value[near] = distance[near] - thickness
  return value


def _any_corner(corners: Bool[np.ndarray, "x y z"]) -> Bool[np.ndarray, "_ _ _"]:
  """Whether any of a cell's eight corners is marked."""
  x, y, z = corners.shape
  cells = np.zeros((x - 1, y - 1, z - 1), bool)
  for i, j, k in np.ndindex(2, 2, 2):
    cells |= corners[i : x - 1 + i, j : y - 1 + j, k : z - 1 + k]
  return cells


def _corners_of(cells: Bool[np.ndarray, "x y z"]) -> Int[np.ndarray, "n 3"]:
  """The corners of marked cells, each once."""
  return np.argwhere(_any_corner(np.pad(cells, 1)))


def _drop_small(
  vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"], least: float
) -> Int[np.ndarray, "g 3"]:
  """Leaves out closed parts and cavities of a smaller volume."""
  part = winding_lib.components(Solid(vertices, faces))
  volume = np.bincount(part, winding_lib.volumes(Solid(vertices, faces)))
  return faces[(np.abs(volume) >= least)[part]]
