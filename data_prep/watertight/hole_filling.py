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

_WIDEST = 0.1  # extent in cube units of holes that are filled without asking
_UNDER = 0.015  # cube units under a face where there should be inside
_SAMPLES = 2000  # faces that are asked what is under them
_LATTICE = 16  # points along the padded cube where winding numbers are looked at


class Uncertainty(NamedTuple):
  """Shares as in `solid.Quality`, or how much of each is still trusted."""

  ambiguous: float
  denied: float
  sheets: float


def fill_and_orient(
  before: Solid, *, thickness: float, max_added: float, limits: Uncertainty
) -> tuple[Solid, Uncertainty]:
  """The mesh turned outward, with holes filled and sheets thickened.

  Args:
    before: welded, in the unit-cube frame.
    thickness: by which sheets become slabs towards either side, or 0 to drop them.
    max_added: share of a part that may fill its holes; others keep their hollow.
    limits: of what is trusted.

  Raises:
    ValueError: most of the mesh is sheets, or the filled chain says otherwise than
      winding numbers do.
  """
  groups = [
    _fill_group(Solid(before.vertices, faces), thickness, max_added)
    for faces in _groups(before)
  ]
  chains, meshes, areas = zip(*groups, strict=True)
  once = repair.unique_faces(before.faces)
  area = unit_normals_and_areas(before.vertices, once)[1].sum()
  sheets = check_sheets(sum(areas) / area, limits.sheets)
  solid = winding_lib.as_solid(*_join(chains))
  mesh = _join(meshes)
  doubts = Uncertainty(
    ambiguous=unclear_share(mesh, solid),
    denied=_denied_share(mesh, solid),
    sheets=sheets,
  )
  if doubts.denied > limits.denied:
    raise ValueError(
      f"{doubts.denied:.1%} of the mesh bound an inside that does not follow from its "
      f"holes, want at most {limits.denied:.1%}; join its faces in a mesh editor, or "
      "raise max_denied"
    )
  if doubts.ambiguous > limits.ambiguous:
    raise ValueError(
      f"{doubts.ambiguous:.1%} of the cube may be inside or outside, want at most "
      f"{limits.ambiguous:.1%}; close large openings in a mesh editor, or raise "
      "max_ambiguous"
    )
  return solid, doubts


def check_sheets(share: float, limit: float) -> float:
  """The share again; ValueError if it is above the limit."""
  if share > limit:
    raise ValueError(
      f"{share:.1%} of the mesh are sheets that enclose nothing, want at most "
      f"{limit:.1%}; give them a thickness in a mesh editor, or raise max_sheets"
    )
  return float(share)


def _denied_share(mesh: Solid, solid: Solid) -> float:
  """Of the faces of an open mesh, those where the winding number just under them is
  clearly inside, but the solid is not, or the other way round."""
  if not len(mesh.faces):
    return 0.0
  points, face = surface_metrics.stratified_samples(*mesh, _SAMPLES)
  points -= _UNDER * unit_normals_and_areas(*mesh)[0][face]
  winding = winding_lib.winding_number(mesh, points)
  inside = winding_lib.contains(solid, points)
  return float(np.where(inside, winding < 0.25, winding > 0.75).mean())


def _groups(mesh: Solid) -> list[Int[np.ndarray, "_ 3"]]:
  """Faces that belong together, where some are there with both windings.

  These are a group of their own, as sheets are, unless all faces taken once have fewer
  open edges: then somebody made them twice to be seen from both sides.
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
  """The mesh with its faces outward, as far as can be told, in the order they had."""
  vertices, faces = repair.drop_unused(*mesh)
  faces, patch = repair.make_winding_consistent(vertices, faces)
  if rendering.is_available():
    faces = orientation.orient_facets(vertices, faces, patch)
  return Solid(vertices, faces)


def fill_small_holes(turned: Solid, max_added: float) -> Solid:
  """The mesh with lost triangles and small holes filled, but no sheet made double."""
  count = len(turned.faces)
  vertices, faces = repair.fill_holes(*turned, widest=0.0)
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
    filled: a closed chain, perhaps without faces.
    mesh: the faces turned outward with small holes filled, vessels left out.
    area: of sheets.
  """
  turned = orient_by_visibility(group)
  mesh = fill_small_holes(turned, max_added)
  vertices, faces = repair.fill_holes(*mesh)
  count = len(turned.faces)
  sheet, vessel = repair.find_open_patches(vertices, faces, len(mesh.faces), max_added)
  hollow = sheet | vessel
  whole = faces[~hollow]
  filled = Solid(vertices, whole[~repair.has_opposite_twin(whole)])
  if thickness and hollow.any():
    slabs = repair.thicken_sheets(vertices, faces[:count][hollow[:count]], thickness)
    filled = _join([filled, Solid(*slabs)])
  area = unit_normals_and_areas(vertices, faces[:count][sheet[:count]])[1].sum()
  mesh = Solid(mesh.vertices, mesh.faces[~vessel[: len(mesh.faces)]])
  return filled, mesh, float(area)


def _join(parts: Sequence[Solid]) -> Solid:
  """All parts as one, without vertices that none has."""
  starts = np.cumsum([0] + [len(part.vertices) for part in parts])
  faces = [part.faces + start for part, start in zip(parts, starts, strict=False)]
  vertices = np.concatenate([part.vertices for part in parts])
  return Solid(*repair.drop_unused(vertices, np.concatenate(faces)))


def unclear_share(mesh: Solid, solid: Solid) -> float:
  """Where in the padded cube the winding number of an open mesh is not clear, or says
  otherwise than the solid; as a share of a lattice."""
  if not len(mesh.faces):
    return 0.0
  axis = ((np.arange(_LATTICE) + 0.5) / _LATTICE - 0.5) * 1.1
  lattice = np.stack(np.meshgrid(axis, axis, axis), -1).reshape(-1, 3)
  winding = winding_lib.winding_number(mesh, lattice)
  outside = (winding > 0.25) | (winding < -0.25)
  return float(
    np.where(winding_lib.contains(solid, lattice), winding < 0.75, outside).mean()
  )
