"""Closing the holes of a mesh with triangles (host, numpy).

Shape letters: v vertices, f faces, n points.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from data_prep.watertight import orientation, repair, surface_metrics
from data_prep.watertight import winding as winding_lib
from occnet_jax.geometry import rendering
from occnet_jax.geometry.solids import Solid
from occnet_jax.geometry.triangles import unit_normals_and_areas

_WIDEST = 0.1  # extent in cube units of holes that are filled whatever they are
_PROBE_DEPTH = 0.015  # cube units under a face at which it should be inside
_SAMPLES = 2000  # points on the faces whose probes are tested
_LATTICE = 16  # points along the padded cube where winding numbers are tested
_LATTICE_SIDE = 1.1  # of the cube that is tested, in cube units; not prep.padding,
# since the limits on its shares were chosen for this one
_CLEAR = 0.25  # distance from an integer within which a winding number is clear


class Uncertainty(NamedTuple):
  """Shares of `RepairReport`, or the limits on them.

  Attributes:
    ambiguous: share of the padded cube whose winding number is not clear.
    contradicted: share of the mesh whose clear winding number contradicts the solid.
    open_sheets: share of the mesh that encloses nothing.
  """

  ambiguous: float
  contradicted: float
  open_sheets: float


def fill_and_orient(
  before: Solid, *, thickness: float, max_added: float, limits: Uncertainty
) -> tuple[Solid, Uncertainty]:
  """The mesh oriented outward, with holes filled and sheets thickened.

  Args:
    before: a welded mesh in the unit-cube frame.
    thickness: distance by which sheets are thickened to either side, or 0 to drop them.
    max_added: largest share of a part's area that may fill its holes; parts that would
      need more stay hollow.
    limits: largest accepted uncertainty.

  Raises:
    ValueError: most of the mesh is sheets, or the filled mesh contradicts the winding
      numbers of the open one.
  """
  groups = [
    _fill_group(Solid(before.vertices, faces), thickness, max_added)
    for faces in _groups(before)
  ]
  solids, meshes, areas = zip(*groups, strict=True)
  once = repair.unique_faces(before.faces)
  area = unit_normals_and_areas(before.vertices, once)[1].sum()
  open_sheets = float(sum(areas) / area)
  check_sheets(open_sheets, limits.open_sheets)
  solid = winding_lib.as_solid(*_join(solids))
  mesh = _join(meshes)
  uncertainty = Uncertainty(
    ambiguous=ambiguous_share(mesh, solid),
    contradicted=_contradicted_share(mesh, solid),
    open_sheets=open_sheets,
  )
  if uncertainty.contradicted > limits.contradicted:
    raise ValueError(
      f"{uncertainty.contradicted:.1%} of the mesh bound an inside that does not "
      f"follow from its holes, want at most {limits.contradicted:.1%}; join its faces "
      "in a mesh editor, or raise max_contradicted"
    )
  if uncertainty.ambiguous > limits.ambiguous:
    raise ValueError(
      f"{uncertainty.ambiguous:.1%} of the cube may be inside or outside, want at most "
      f"{limits.ambiguous:.1%}; close large openings in a mesh editor, or raise "
      "max_ambiguous"
    )
  return solid, uncertainty


def check_sheets(share: float, limit: float) -> None:
  """Raises ValueError if the share of open sheets is above the limit."""
  if share > limit:
    raise ValueError(
      f"{share:.1%} of the mesh are sheets that enclose nothing, want at most "
      f"{limit:.1%}; give them a thickness in a mesh editor, or raise max_sheets"
    )


def _contradicted_share(mesh: Solid, solid: Solid) -> float:
  """Share of an open mesh's area where the solid contradicts the mesh just under it.

  There the winding number of the mesh is clearly inside and the solid is not, or the
  other way round.
  """
  if not len(mesh.faces):
    return 0.0
  points, face = surface_metrics.stratified_samples(*mesh, _SAMPLES)
  points -= _PROBE_DEPTH * unit_normals_and_areas(*mesh)[0][face]
  winding = winding_lib.winding_number(mesh, points)
  inside = winding_lib.contains(solid, points)
  return float(np.where(inside, winding < _CLEAR, winding > 1 - _CLEAR).mean())


def _groups(mesh: Solid) -> list[Int[np.ndarray, "_ 3"]]:
  """Groups of faces that belong together, where some exist with both windings.

  Those form a group of their own, as sheets do. But if all faces, each taken once, have
  fewer open edges, the author doubled them only to make them visible from both sides,
  and there is one group.
  """
  once = repair.unique_faces(mesh.faces)
  paired = repair.has_opposite_twin(mesh.faces)
  split = [mesh.faces[~paired], repair.unique_faces(mesh.faces[paired])]
  split = [faces for faces in split if len(faces)]

  def count_open(faces: Int[np.ndarray, "_ 3"]) -> int:
    return len(
      repair.boundary_edges(repair.make_winding_consistent(mesh.vertices, faces)[0])
    )

  return [once] if count_open(once) < sum(map(count_open, split)) else split


def orient_by_visibility(mesh: Solid) -> Solid:
  """The mesh with its faces outward as far as visibility tells, in their order."""
  vertices, faces = repair.drop_unused(*mesh)
  faces, patch = repair.make_winding_consistent(vertices, faces)
  if rendering.is_available():
    faces = orientation.orient_facets(vertices, faces, patch)
  return Solid(vertices, faces)


def fill_small_holes(oriented: Solid, max_added: float) -> Solid:
  """The mesh with lost triangles and small holes filled, except in sheets."""
  count = len(oriented.faces)
  # Triangles that lost a neighbour come back exactly, so they do not count as added.
  vertices, faces = repair.fill_holes(*oriented, widest=0.0)
  safe = len(faces)
  vertices, faces = repair.fill_holes(vertices, faces, widest=_WIDEST)
  sheet, vessel = repair.find_open_patches(vertices, faces, safe, max_added)
  kept = ~(sheet | vessel)
  kept[:count] = True
  return Solid(vertices, faces[kept])


def _fill_group(
  group: Solid, thickness: float, max_added: float
) -> tuple[Solid, Solid, float]:
  """Fills the holes of faces that belong together.

  Returns:
    filled: a closed mesh, perhaps without faces.
    mesh: the faces oriented outward with small holes filled, vessels left out.
    area: area of the sheets.
  """
  oriented = orient_by_visibility(group)
  mesh = fill_small_holes(oriented, max_added)
  vertices, faces = repair.fill_holes(*mesh)
  count = len(oriented.faces)  # those behind it fill holes
  sheet, vessel = repair.find_open_patches(vertices, faces, len(mesh.faces), max_added)
  hollow = sheet | vessel
  closed = faces[~hollow]
  filled = Solid(vertices, closed[~repair.has_opposite_twin(closed)])
  if thickness and hollow.any():
    slabs = repair.thicken_sheets(vertices, faces[:count][hollow[:count]], thickness)
    filled = _join([filled, Solid(*slabs)])
  _, areas = unit_normals_and_areas(vertices, faces[:count][sheet[:count]])
  mesh = Solid(mesh.vertices, mesh.faces[~vessel[: len(mesh.faces)]])
  return filled, mesh, float(areas.sum())


def _join(parts: Sequence[Solid]) -> Solid:
  """All parts in one mesh, without vertices that no face has."""
  starts = np.cumsum([0] + [len(part.vertices) for part in parts])
  faces = [part.faces + start for part, start in zip(parts, starts, strict=False)]
  vertices = np.concatenate([part.vertices for part in parts])
  return Solid(*repair.drop_unused(vertices, np.concatenate(faces)))


def ambiguous_share(mesh: Solid, solid: Solid) -> float:
  """Share of a lattice where an open mesh's winding number does not support the solid.

  It is not clear there, or clear and on the other side.
  """
  if not len(mesh.faces):
    return 0.0
  axis = ((np.arange(_LATTICE) + 0.5) / _LATTICE - 0.5) * _LATTICE_SIDE
  lattice = np.stack(np.meshgrid(axis, axis, axis), -1).reshape(-1, 3)
  winding = winding_lib.winding_number(mesh, lattice)
  not_inside = winding < 1 - _CLEAR
  not_outside = (winding > _CLEAR) | (winding < -_CLEAR)
  inside = winding_lib.contains(solid, lattice)
  return float(np.where(inside, not_inside, not_outside).mean())
