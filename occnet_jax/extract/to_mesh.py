"""From a Method's latent to a mesh, whatever kind of output it has (host).

The one place that matches on `Method.output`.
"""

from typing import Any

import numpy as np
import trimesh
from jaxtyping import Float, Int

from occnet_jax import kept_programs
from occnet_jax.config import GenerationSettings
from occnet_jax.extract import field as field_lib
from occnet_jax.extract.device.extract import check_backend
from occnet_jax.extract.extraction import coarse_cells
from occnet_jax.extract.grid.cell_faces import cell_faces
from occnet_jax.extract.grid.cell_topologies import mesh_of_topologies
from occnet_jax.extract.mesh.finish import finish
from occnet_jax.extract.pipeline import NoSurface, check_method, extract_mesh
from occnet_jax.geometry import frames, mesh_io, point_meshing
from occnet_jax.types import (
  CellTopologies,
  Field,
  Grid,
  Latent,
  Mesh,
  Method,
  Points,
  Variables,
)


def to_mesh(
  method: Method,
  variables: Variables,
  latent: Latent,
  /,  # so that `method` can be an option of extract_mesh
  *,
  level: float | None = None,
  field: field_lib.Field | None = None,
  on_empty: str = "raise",
  point_mesh: str = "none",
  **options: Any,
) -> trimesh.Trimesh:
  """The mesh of one shape, in the cube's frame.

  Args:
    method: a method with any kind of output.
    variables: variables of the method.
    latent: the latent of one shape, leading axis 1.
    level: level of the surface, in place of the method's own.
    field: the shape's field, where it is evaluated together with others'; None makes
      a field of this shape alone.
    on_empty: "raise" raises NoSurface where there is no surface, "empty" returns a mesh
      without faces; for fields and grids, and for points with a `point_mesh`.
    point_mesh: what points, and the vertices of patches, become: "none" leaves them,
      or one of `point_meshing.METHODS`.
    **options: arguments of `extract_mesh`, for methods that are fields.

  Returns:
    The mesh; for an output of points, they are its vertices and there are no faces.

  Raises:
    ValueError: options out of range, or a `point_mesh` of another kind of output.
    NoSurface: no value exceeds the level and on_empty="raise".
  """
  check_point_mesh(method, point_mesh)
  match method.output:
    case Field():
      batch = options.pop("points_per_batch", None)
      if field is None:
        field = field_lib.decoder_field(method.decode, variables, latent, batch)
      level = method.output.level if level is None else level
      return extract_mesh(field, level=level, on_empty=on_empty, **options)
    case Grid():
      values = np.asarray(_decode(method, variables, latent))[0]
      level = method.output.level if level is None else level
      vertices, faces = cell_faces(values >= level)
      if not len(faces) and on_empty == "raise":
        raise NoSurface(
          f"no surface: all {values.size} cells are below the level {level:.6g}; lower "
          "it, or pass on_empty='empty'"
        )
    case Points():
      vertices = np.asarray(_decode(method, variables, latent))[0]
      if point_mesh != "none":
        return _through(vertices, point_mesh, on_empty)
      return trimesh.Trimesh(vertices, process=False)
    case CellTopologies(box):
      occupancy, offset = (np.asarray(x)[0] for x in _decode(method, variables, latent))
      vertices, faces = mesh_of_topologies(occupancy, offset)
      if not len(faces) and on_empty == "raise":
        raise NoSurface(
          f"no surface: all {occupancy.size} corners are on one side; train longer, or "
          "pass on_empty='empty'"
        )
      vertices = box * (vertices / (len(occupancy) - 1) - 0.5)
    case Mesh(closed):
      vertices, faces = (np.asarray(x) for x in _decode(method, variables, latent))
      if point_mesh != "none":
        return _through(vertices[0], point_mesh, on_empty)
      return _oriented(vertices[0], faces, closed)
  return trimesh.Trimesh(vertices, faces, process=False)


def _decode(method: Method, variables: Variables, latent: Latent) -> Any:
  """`method.decode` of a latent without points, as one program."""
  return kept_programs.call(field_lib.shared_jit(method.decode), variables, latent)


def _oriented(
  vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"], closed: bool
) -> trimesh.Trimesh:
  """A mesh, turned outward if it is closed; else its metadata say `volume` False."""
  # Six times the signed volumes of the tetrahedra between the faces and the origin.
  a, b, c = np.moveaxis(vertices[faces].astype(np.float64), 1, 0)
  if closed and (a * np.cross(b, c)).sum() < 0:
    faces = faces[:, ::-1]
  mesh = trimesh.Trimesh(vertices, faces, process=False)
  if not closed:
    mesh.metadata["volume"] = False
  return mesh


def _through(
  points: Float[np.ndarray, "n 3"], way: str, on_empty: str
) -> trimesh.Trimesh:
  """The mesh through points; its metadata say `volume` False unless it is closed."""
  vertices, faces = point_meshing.mesh_points(points.astype(np.float64), way)
  if not len(faces) and on_empty == "raise":
    raise NoSurface(
      f"no surface: {way} finds no triangle among {len(points)} points; choose another "
      "config.generation.point_mesh, or pass on_empty='empty'"
    )
  mesh = trimesh.Trimesh(vertices, faces, process=False)
  if not mesh.is_watertight:
    mesh.metadata["volume"] = False
  return mesh


def check_point_mesh(method: Method, point_mesh: str) -> None:
  """Raises ValueError for a mesh of points where the system has no points."""
  match method.output:
    case Points() | Mesh(closed=False):
      return
  if point_mesh != "none":
    raise ValueError(
      f"config.generation.point_mesh is {point_mesh!r}, but this system predicts a "
      "closed surface and not points on it; set it to 'none'"
    )


def settings_of(generation: GenerationSettings) -> dict[str, Any]:
  """The arguments of `extract_mesh` that a run's config sets."""
  apart = ("sample", "precision", "format", "cell_size")
  apart += ("finetune_steps", "finetune_learning_rate")
  return {k: v for k, v in generation._asdict().items() if k not in apart}


def check(generation: GenerationSettings) -> None:
  """Raises ValueError for settings with which no shape can have a mesh."""
  try:
    check_method(generation.method)
    check_backend(generation.backend)
    coarse_cells(generation.resolution_0, generation.upsampling_steps)
    finish(
      np.zeros((0, 3)),
      np.zeros((0, 3), np.int64),
      least_part=generation.least_part,
      smooth_steps=generation.smooth_steps,
      simplify_faces=generation.simplify_faces,
    )
  except ValueError as error:
    raise ValueError(f"config.generation: {error}") from error
  if generation.point_mesh != "none":
    point_meshing.check(generation.point_mesh)
  if f".{generation.format}" not in mesh_io.WRITTEN_SUFFIXES:
    formats = ", ".join(suffix[1:] for suffix in mesh_io.WRITTEN_SUFFIXES)
    raise ValueError(
      f"config.generation.format is {generation.format!r}; want one of: {formats}"
    )


def mesh_from_frame(
  mesh: trimesh.Trimesh, loc: Float[np.ndarray, "3"], scale: float
) -> trimesh.Trimesh:
  """Moves a mesh of the unit cube to the frame of the file, in place; returns it."""
  if len(mesh.vertices) and (scale != 1 or loc.any()):
    normals = mesh.vertex_normals
    mesh.vertices = frames.from_frame(mesh.vertices, loc, scale)
    if len(mesh.faces):  # points have no normals
      mesh.vertex_normals = normals
  return mesh
