"""From a triangle soup to trusted inside and outside labels (host, numpy).

Most meshes that people make are not closed, and some say nothing about an inside. What
is safe is repaired, what can be told from outside is filled, and what cannot be trusted
is refused: a wrong label is worse than a shape less.

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

_LARGEST = 1.1  # the padded cube: room for rounding and noise
_NO_AREA = 1e-9  # cube units^2
_SAMPLES = 2000  # of either surface, to tell how far they are apart


class RepairOptions(NamedTuple):
  """What `trust` may do, and what it takes for a solid. Lengths are in cube units.

  Attributes:
    fill: whether to close holes with triangles.
    resolution: cells along the cube where only voxels can tell; 0 to reject instead.
    thickness: by which sheets become slabs towards either side, or 0 to leave them out;
      the reference thickens everything by 1.5 of 256 voxels.
    tolerance: a surface further than this from the other one is added or lost.
    max_ambiguous, max_denied, max_added, max_lost, max_sheets: largest shares, as in
      `Quality`, that are trusted.
    crop_outliers: whether far-away parts are cut off, before the mesh is put into the
      unit cube: by the caller, with `crop_outliers`.
  """

  fill: bool = True
  resolution: int = 128
  thickness: float = 0.006
  tolerance: float = 0.02
  max_ambiguous: float = 0.3
  max_denied: float = 0.03
  max_added: float = 0.3
  max_lost: float = 0.05
  max_sheets: float = 0.5
  crop_outliers: bool = False


DEFAULTS = RepairOptions()


class RepairReport(NamedTuple):
  """How a mesh became a solid, and how far that is from the mesh. Units of the cube.

  Attributes:
    method: "closed" where the mesh was, "filled" where triangles close its holes,
      "volume" where voxels hold what is inside to its winding number.
    watertight: whether the mesh was closed as it stood, once welded.
    ambiguous: share of a lattice in the padded cube where the winding number of the
      mesh, its faces put right, is further than 0.25 from a whole one, or negative.
    denied: share of the mesh just under which its winding number is clear, and says
      otherwise than the filled solid.
    sheets: share of the mesh that encloses nothing: thickened, or left out.
    volume_before: signed volume under the faces of the mesh as it was.
    volume_after: of the solid, where parts overlap counted for each.
    accuracy: mean distance of the solid's surface from the mesh.
    completeness: mean distance of the mesh from the solid, 0 for what is inside it.
    added: share of the solid's surface beyond the tolerance from the mesh.
    lost: share of the mesh that lies outside of the solid beyond the tolerance.
    warning: what to look at, or "".
  """

  method: str
  watertight: bool
  ambiguous: float
  denied: float
  sheets: float
  volume_before: float
  volume_after: float
  accuracy: float
  completeness: float
  added: float
  lost: float
  warning: str


def make_watertight(
  vertices: Float[np.ndarray, "v 3"],
  faces: Int[np.ndarray, "f 3"],
  options: RepairOptions = DEFAULTS,
) -> tuple[Solid, RepairReport]:
  """The solid that a mesh of any kind stands for, and how well it does.

  The first of three methods that the options trust: the mesh itself, if it is closed;
  the mesh with its faces turned outward, holes filled and sheets thickened; voxels
  where its winding number says inside.

  Args:
    vertices, faces: in the unit-cube frame; so is the solid, but for sheets thickened
      beyond it.
    options: of methods and limits.

  Raises:
    ValueError: the mesh is empty, not finite, without area or larger than the unit
      cube; or no method is to be trusted, and why.
  """
  _check(vertices, faces)
  vertices, faces = repair.weld(vertices, faces)
  before = Solid(vertices, faces)
  if (extent := np.ptp(vertices, axis=0).max()) > _LARGEST:
    raise ValueError(f"the mesh is {extent:g} large; put it into the unit cube first")
  if unit_normals_and_areas(*before)[1].sum() < _NO_AREA:
    raise ValueError("the faces have no area: all corners lie on a line; want a solid")
  attempts = [("closed", _close)]
  if options.fill:
    attempts += [("filled", _fill)]
  if options.resolution:
    attempts += [("volume", _enclose)]
  reasons = []
  for method, attempt in attempts:
    try:
      solid, doubts = attempt(before, options)
      return solid, _judge(before, solid, method, doubts, options)
    except ValueError as error:
      reasons.append(f"{method}: {error}")
  raise ValueError("; ".join(dict.fromkeys(reasons)))


def close(vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"]) -> Solid:
  """Welds, cleans and orients a closed mesh, in any frame.

  Repeated vertices become one; faces that lose their extent by that, and pairs of the
  same face wound both ways, are dropped. Inconsistent winding is repaired where no
  edge has more than two faces. A part inside out is turned, unless it is a cavity of
  another part.

  Raises:
    ValueError: the mesh is empty, not finite, flat, or not closed.
  """
  _check(vertices, faces)
  return _close(Solid(*repair.weld(vertices, faces)), DEFAULTS)[0]


def crop_outliers(
  vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"]
) -> tuple[Float[np.ndarray, "_ 3"], Int[np.ndarray, "_ 3"]]:
  """Leaves out parts so far away that they would shrink all others, in any frame.

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
    limits=Uncertainty(options.max_ambiguous, options.max_denied, options.max_sheets),
  )


def _enclose(before: Solid, options: RepairOptions) -> tuple[Solid, Uncertainty]:
  """What the mesh surrounds on a grid of voxels, small holes filled before."""
  if not rendering.is_available():
    raise ValueError("voxels need the ray caster Embree: pip install embreex")
  once = Solid(before.vertices, repair.unique_faces(before.faces))
  mesh = hole_filling.fill_small_holes(
    hole_filling.orient_by_visibility(once), options.max_added
  )
  sheets = hole_filling.check_sheets(voxel_remesh.sheet_share(mesh), options.max_sheets)
  vertices, faces = voxel_remesh.remesh(
    *mesh, resolution=options.resolution, thickness=options.thickness
  )
  winding.require_faces(faces)
  solid = Solid(vertices, faces)
  return solid, Uncertainty(hole_filling.unclear_share(mesh, solid), 0.0, sheets)


def _check(vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"]) -> None:
  if not len(faces) or not np.isfinite(vertices).all():
    raise ValueError(
      f"{len(faces)} faces and {np.count_nonzero(~np.isfinite(vertices))} coordinates "
      "that are not finite; want at least 4 faces and 0"
    )


def _close(before: Solid, options: RepairOptions) -> tuple[Solid, Uncertainty]:
  """The welded mesh, if it is closed or needs to be turned only."""
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


def _judge(
  before: Solid, solid: Solid, method: str, doubts: Uncertainty, options: RepairOptions
) -> RepairReport:
  """The record of a solid; ValueError if the options do not trust it."""
  accuracy = completeness = added = lost = 0.0
  if method != "closed" or len(solid.faces) != len(before.faces):
    apart = _surface_distances(before, solid), _outside_distances(before, solid)
    accuracy, completeness = (float(found.mean()) for found in apart)
    added, lost = (float((found > options.tolerance).mean()) for found in apart)
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
    **doubts._asdict(),
    volume_before=float(winding.volumes(before).sum()),
    volume_after=float(winding.volumes(solid).sum()),
    accuracy=accuracy,
    completeness=completeness,
    added=added,
    lost=lost,
    warning=(
      f"{far.sum()} of {len(far)} faces lie so far away that they shrink the others; "
      "crop_outliers cuts them off"
      if far.any()
      else ""
    ),
  )


def _surface_distances(before: Solid, solid: Solid) -> Float[np.ndarray, "n"]:
  """From points of the solid's surface, buried parts left out, to the mesh."""
  points, face = surface_metrics.stratified_samples(*solid, _SAMPLES)
  normals = unit_normals_and_areas(*solid)[0][face]
  exposed = ~winding.contains(solid, points + tolerances.PROBE_OFFSET * normals)
  return surface_metrics.point_to_mesh_distance(points[exposed], *before)


def _outside_distances(before: Solid, solid: Solid) -> Float[np.ndarray, "n"]:
  """From points of the mesh to the solid: 0 for those in it."""
  points, _ = surface_metrics.stratified_samples(*before, _SAMPLES)
  found = surface_metrics.point_to_mesh_distance(points, *solid)
  found[winding.contains(solid, points)] = 0
  return found
