"""From a polygon soup to a watertight solid that is trusted, or rejected (host, numpy).

Most meshes that people make are not closed, and some do not define an inside at all.
Safe repairs are made, holes are filled where visibility from outside decides, and what
remains doubtful is rejected: a wrong label is worse than one shape less.

Shape letters: v vertices, f faces, n points.
"""

from typing import NamedTuple

import igl
import numpy as np
from jaxtyping import Float, Int

from data_prep.watertight import (
  hole_filling,
  repair,
  surface_metrics,
  voxel_remesh,
  winding,
)
from data_prep.watertight.hole_filling import Uncertainty
from occnet_jax.geometry import rendering, tolerances
from occnet_jax.geometry.solids import Solid
from occnet_jax.geometry.triangles import unit_normals_and_areas

_MAX_EXTENT = 1.1  # of a mesh in the unit cube, with room for rounding and noise
_NO_AREA = 1e-9  # cube units^2
_SAMPLES = 2000  # on either surface, for the distances between them


class RepairOptions(NamedTuple):
  """Methods and acceptance limits of `make_watertight`. Lengths are in cube units.

  Attributes:
    fill: whether to close holes with triangles.
    resolution: cells along the unit cube for voxel remeshing, the last resort; 0 to
      reject meshes that need it.
    thickness: distance by which open sheets are thickened to either side; 0 leaves them
      out. The reference thickens everything by 1.5 of 256 voxels.
    tolerance: surface further than this from the other surface is added or lost.
    max_ambiguous: largest accepted share `RepairReport.ambiguous`.
    max_contradicted: largest accepted share `RepairReport.contradicted`.
    max_added: largest accepted share `RepairReport.surface_added`.
    max_lost: largest accepted share `RepairReport.surface_lost`.
    max_sheets: largest accepted share `RepairReport.open_sheets`.
    crop_outliers: whether far-away parts are removed. It is the caller who does it, by
      the function `crop_outliers`, before the mesh is moved into the unit cube.
  """

  fill: bool = True
  resolution: int = 128
  thickness: float = 0.006
  tolerance: float = 0.02
  max_ambiguous: float = 0.3
  max_contradicted: float = 0.03
  max_added: float = 0.3
  max_lost: float = 0.05
  max_sheets: float = 0.5
  crop_outliers: bool = False


DEFAULTS = RepairOptions()


class RepairReport(NamedTuple):
  """The repair of a mesh, and how far the solid differs from it.

  Attributes:
    method: "closed" if the mesh was closed, "filled" if triangles close its holes,
      "volume" if it was remeshed from voxels inside to its winding number.
    watertight: whether the mesh was closed as it stood, once welded.
    ambiguous: share of a lattice in the padded cube where the winding number of the
      oriented mesh is further than 0.25 from an integer, or negative.
    contradicted: share of the mesh just under which its winding number is clear and
      contradicts the filled solid.
    open_sheets: share of the mesh that encloses nothing; thickened, or left out.
    volume_before: signed volume under the faces of the mesh as it was.
    volume_after: volume of the solid; overlapping parts are counted for each.
    accuracy: mean distance from the solid's surface to the mesh.
    completeness: mean distance from the mesh to the solid, 0 for points inside it.
    surface_added: share of the solid's surface beyond the tolerance from the mesh.
    surface_lost: share of the mesh outside of the solid, beyond the tolerance from it.
    warning: what to check in the mesh, or "".
  """

  method: str
  watertight: bool
  ambiguous: float
  contradicted: float
  open_sheets: float
  volume_before: float
  volume_after: float
  accuracy: float
  completeness: float
  surface_added: float
  surface_lost: float
  warning: str


def make_watertight(
  vertices: Float[np.ndarray, "v 3"],
  faces: Int[np.ndarray, "f 3"],
  options: RepairOptions = DEFAULTS,
) -> tuple[Solid, RepairReport]:
  """A watertight solid in place of any mesh, and how far it is from the mesh.

  The first of three methods whose result is within the limits: the mesh itself, if it
  is closed; the mesh with its faces oriented outward, holes filled and sheets
  thickened; the surface of the voxels that its winding number calls inside.

  Args:
    vertices, faces: a mesh in the unit-cube frame. The solid is in it too, except that
      thickened sheets may reach beyond the cube.
    options: methods and limits.

  Raises:
    ValueError: the mesh is empty, not finite, without area or larger than the unit
      cube; or no method gives a solid within the limits, with the reason of each.
  """
  _check(vertices, faces)
  vertices, faces = repair.weld(vertices, faces)
  before = Solid(vertices, faces)
  if (extent := np.ptp(vertices, axis=0).max()) > _MAX_EXTENT:
    raise ValueError(f"the mesh is {extent:g} large; put it into the unit cube first")
  if unit_normals_and_areas(*before)[1].sum() < _NO_AREA:
    raise ValueError("the faces have no area: all corners lie on a line; want a solid")
  attempts = [("closed", _close)]
  if options.fill:
    attempts += [("filled", _fill)]
  if options.resolution:
    attempts += [("volume", _remesh)]
  reasons = []
  for method, attempt in attempts:
    try:
      solid, uncertainty = attempt(before, options)
      report = _accept(before, solid, method, uncertainty, options)
      return solid, report
    except ValueError as error:
      reasons.append(f"{method}: {error}")
  raise ValueError("; ".join(dict.fromkeys(reasons)))


def close(vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"]) -> Solid:
  """Welds, cleans and orients a closed mesh, in any frame.

  Repeated vertices become one. Faces that this makes degenerate, and pairs of the same
  face wound both ways, are dropped. Inconsistent winding is repaired where no edge has
  more than two faces. A part that is inside out is turned, unless it is a cavity of
  another part.

  Raises:
    ValueError: the mesh is empty, not finite, flat, or not closed.
  """
  _check(vertices, faces)
  return _close(Solid(*repair.weld(vertices, faces)), DEFAULTS)[0]


def crop_outliers(
  vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"]
) -> tuple[Float[np.ndarray, "_ 3"], Int[np.ndarray, "_ 3"]]:
  """Removes parts so far away that the others would be tiny in the unit cube.

  Any frame will do.

  Raises:
    ValueError: the mesh is empty, not finite, or all in one place.
  """
  _check(vertices, faces)
  vertices, faces = repair.weld(vertices, faces)
  far = surface_metrics.outlier_faces(
    vertices, faces, winding.components(Solid(vertices, faces))
  )
  return repair.drop_unused(vertices, faces[~far])


def _fill(before: Solid, options: RepairOptions) -> tuple[Solid, Uncertainty]:
  return hole_filling.fill_and_orient(
    before,
    thickness=options.thickness,
    max_added=options.max_added,
    limits=Uncertainty(
      options.max_ambiguous, options.max_contradicted, options.max_sheets
    ),
  )


def _remesh(before: Solid, options: RepairOptions) -> tuple[Solid, Uncertainty]:
  """Remeshes what the mesh encloses on a grid, after filling its small holes."""
  if not rendering.is_available():
    raise ValueError("voxels need the ray caster Embree: pip install embreex")
  once = Solid(before.vertices, repair.unique_faces(before.faces))
  mesh = hole_filling.fill_small_holes(
    hole_filling.orient_by_visibility(once), options.max_added
  )
  open_sheets = voxel_remesh.sheet_share(mesh)
  hole_filling.check_sheets(open_sheets, options.max_sheets)
  vertices, faces = voxel_remesh.remesh(
    *mesh, resolution=options.resolution, thickness=options.thickness
  )
  winding.require_faces(faces)
  solid = Solid(vertices, faces)
  return solid, Uncertainty(
    ambiguous=hole_filling.ambiguous_share(mesh, solid),
    contradicted=0.0,
    open_sheets=open_sheets,
  )


def _check(vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"]) -> None:
  if not len(faces) or not np.isfinite(vertices).all():
    raise ValueError(
      f"{len(faces)} faces and {np.count_nonzero(~np.isfinite(vertices))} coordinates "
      "that are not finite; want at least 4 faces and 0"
    )


def _close(before: Solid, options: RepairOptions) -> tuple[Solid, Uncertainty]:
  """The welded mesh, if it is closed, or is once its winding is consistent."""
  faces = before.faces[~repair.has_opposite_twin(before.faces)]
  vertices, faces = repair.drop_unused(before.vertices, faces)
  if open_edges := len(repair.boundary_edges(faces)):
    faces = igl.bfs_orient(faces)[0].astype(np.int64)
    if len(repair.boundary_edges(faces)):
      raise ValueError(
        f"{open_edges} open edges, want 0: there is no inside without a closed "
        "surface; fill the holes and join the parts in a mesh editor (Blender: Merge "
        "by Distance, Fill Holes), or leave this shape out"
      )
  return winding.as_solid(vertices, faces), Uncertainty(0.0, 0.0, 0.0)


def _accept(
  before: Solid,
  solid: Solid,
  method: str,
  uncertainty: Uncertainty,
  options: RepairOptions,
) -> RepairReport:
  """The report of a solid; ValueError if it is beyond the limits."""
  accuracy = completeness = added = lost = 0.0
  if method != "closed" or len(solid.faces) != len(before.faces):
    apart = _surface_distances(before, solid), _outside_distances(before, solid)
    accuracy, completeness = (float(distances.mean()) for distances in apart)
    added, lost = (float((d > options.tolerance).mean()) for d in apart)
  if added > options.max_added:
    raise ValueError(
      f"{added:.1%} of the closed surface are further than {options.tolerance:g} from "
      f"the mesh, want at most {options.max_added:.1%}; close large openings in a mesh "
      "editor, or raise max_added"
    )
  if lost > options.max_lost:
    raise ValueError(
      f"{lost:.1%} of the mesh are sheets further than {options.tolerance:g} from what "
      f"it encloses, want at most {options.max_lost:.1%}; give them a thickness, here "
      "or in a mesh editor, or raise max_lost"
    )
  far = surface_metrics.outlier_faces(*before, winding.components(before))
  return RepairReport(
    method=method,
    watertight=not len(repair.boundary_edges(before.faces)),
    **uncertainty._asdict(),
    volume_before=float(winding.volumes(before).sum()),
    volume_after=float(winding.volumes(solid).sum()),
    accuracy=accuracy,
    completeness=completeness,
    surface_added=added,
    surface_lost=lost,
    warning=(
      f"{far.sum()} of {len(far)} faces lie so far away that they shrink the others; "
      "crop_outliers cuts them off"
      if far.any()
      else ""
    ),
  )


def _surface_distances(before: Solid, solid: Solid) -> Float[np.ndarray, "n"]:
  """Distances to the mesh from points of the solid's surface that are not buried."""
  points, face = surface_metrics.stratified_samples(*solid, _SAMPLES)
  normals = unit_normals_and_areas(*solid)[0][face]
  exposed = ~winding.contains(solid, points + tolerances.PROBE_OFFSET * normals)
  return surface_metrics.point_to_mesh_distance(points[exposed], *before)


def _outside_distances(before: Solid, solid: Solid) -> Float[np.ndarray, "n"]:
  """Distances to the solid from points of the mesh; 0 for points inside it."""
  points, _ = surface_metrics.stratified_samples(*before, _SAMPLES)
  distances = surface_metrics.point_to_mesh_distance(points, *solid)
  distances[winding.contains(solid, points)] = 0
  return distances
