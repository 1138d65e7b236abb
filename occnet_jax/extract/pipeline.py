"""From a field to a mesh: MISE, marching cubes, simplify, refine, normals (host).

The stages and their order are those of the reference's generation; paper, section 3.3.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import trimesh

from occnet_jax.extract import volume as volume_lib
from occnet_jax.extract.device import extract as device
from occnet_jax.extract.extraction import Clock, Extraction, coarse_cells
from occnet_jax.extract.field import as_field
from occnet_jax.extract.grid.active_cells import find_crossings
from occnet_jax.extract.grid.dual_contouring import dual_contour
from occnet_jax.extract.grid.edge_roots import find_roots
from occnet_jax.extract.grid.edge_splitting import split_bends
from occnet_jax.extract.grid.marching_cubes import (
  Faces,
  Vertices,
  linear_params,
  place_vertices,
  triangulate,
)
from occnet_jax.extract.grid.mise import Samples, SplitRule, sample_surface
from occnet_jax.extract.grid.thin_parts import near_level
from occnet_jax.extract.mesh.finish import finish
from occnet_jax.extract.mesh.normals import crossing_normals, field_normals
from occnet_jax.extract.mesh.projection import mean_error, project
from occnet_jax.extract.mesh.refine import refine
from occnet_jax.geometry.grids import PADDING

Number = float | int
Sides = Number | Sequence[Number] | np.ndarray  # of all axes, or of each
METHODS = ("mise_roots", "dual", "mise")
GRADIENT_COST = 3  # evaluations that a gradient counts as
THIN_PARTS_BELOW = (
  32  # cells a side: finer coarse grids are not searched for thin parts
)


class NoSurface(ValueError):
  """The field does not cross the level within the cube."""


def extract_mesh(
  field: Any,
  *,
  method: str = "mise_roots",
  resolution_0: int = 16,
  upsampling_steps: int = 3,
  level: Number | None = None,
  spacing: Sides | None = None,
  origin: Sides | None = None,
  padding: float = PADDING,
  least_part: float = 0.0,
  smooth_steps: int = 0,
  simplify_faces: int | None = None,
  refine_steps: int = 0,
  normals: bool = True,
  points_per_batch: int | None = None,
  max_memory: int | None = None,
  seed: int = 0,
  on_empty: str = "raise",
  backend: str = "auto",
) -> trimesh.Trimesh:
  """Extracts the closed surface where a field crosses the level in the padded cube.

  A volume with a place of its own, a `read_volume` or an array with `spacing` or
  `origin`, is extracted on its own grid, in its own unit, instead: marching cubes
  between the centres of its voxels, closed by the faces of the outermost voxels.

  Args:
    field: a function of points, larger inside: of JAX, from a batch (n, 3) to (n,) or
      from one point (3,) to (); of NumPy, from (n, 3) to (n,); a
      `jax.tree_util.Partial(function, *arrays)`, which is compiled once for all arrays;
      a voxel grid (nx, ny, nz), whose longest side spans [-0.5, 0.5]; a mesh; or a
      `Volume`. See `extract.field`, also for networks.
    method: "mise_roots", marching cubes with vertices on the surface, and more of them
      where it bends; "dual", dual contouring, which keeps sharp edges; "mise", marching
      cubes with vertices where the surface would be if the field were linear, as the
      reference does.
    resolution_0: cells a side of the coarse grid. A part that lies wholly between its
      points is missed, except that "mise_roots" and "dual" also split cells whose
      surroundings come near the level if there are fewer than 32: 16 finds what 32
      does.
    upsampling_steps: number of times that cells at the surface are halved: the mesh is
      that of a grid of resolution_0 * 2^steps cells a side, at most 2^16, beyond which
      points in float32 do not resolve an edge. 0 evaluates, as the reference does, a
      dense grid of resolution_0 points, so one cell fewer, a side.
    level: value at the surface: log(tau / (1 - tau)) for logits and a probability tau.
      None for 0.5 of booleans, which count as 0 and 1, and 0 of all else.
    spacing: distance between the centres of neighbouring voxels of an array, one number
      or one for each axis; 1 where only an origin is given.
    origin: centre of the array's voxel (0, 0, 0); (0, 0, 0) by default.
    padding: the cube is [-(1 + padding) / 2, (1 + padding) / 2]^3.
    least_part: parts and cavities of less volume than this share of the largest part's
      are left out; 0 keeps all.
    smooth_steps: number of steps of Taubin's smoothing, after which normals are those
      of the mesh; 0 for none.
    simplify_faces: number of faces to keep, or None for all.
    refine_steps: number of steps that fit the vertices to the field; the reference took
      30. After them vertices are projected onto the surface. A mesh that did not come
      nearer to it is returned as it was.
    normals: whether to give every vertex the normal of the field.
    points_per_batch: number of points evaluated at a time; None chooses.
    max_memory: bytes that the grid and the mesh may take, beside those of the field and
      its batches; None for any number.
    seed: seed of the refinement's random points.
    on_empty: the outcome for a field without a surface: "raise" an error, or "empty", a
      mesh without faces.
    backend: where the octree, the roots and the triangles are computed: "host", in
      NumPy; "device", with the field in one program of JAX, for "mise_roots" and "mise"
      up to 256 cells a side; "auto", what was measured to be faster.

  Returns:
    A mesh in cube units, faces outward. Its `metadata` holds `resolution` (cells a
    side), `evaluations` of the field for the surface (a gradient counts as three),
    `value_min` and `value_max` of the octree, `faces_extracted` before they are
    simplified, of a refinement `loss_first` and `loss_last`, and `error_first` and
    `error_last`, mean distances from the surface in cube units; and seconds by stage:
    `seconds_octree`, `seconds_evaluate`, `seconds_roots`, `seconds_surface`,
    `seconds_finish`, `seconds_refine`, `seconds_normals`.

  Raises:
    NoSurface: no surface and on_empty="raise"; a ValueError.
    ValueError: settings out of range; a field that is not callable, not one number a
      point, or not finite; refine_steps for a field that JAX cannot trace.
  """
  if on_empty not in ("raise", "empty"):
    raise ValueError(f"on_empty={on_empty!r}; want 'raise' or 'empty'")
  check_method(method)
  if smooth_steps and refine_steps:
    raise ValueError(
      f"smooth_steps={smooth_steps} and refine_steps={refine_steps}: refinement moves "
      "a smooth mesh back to the surface of the field; want one of them"
    )
  level = volume_lib.default_level(field) if level is None else float(level)
  volume = volume_lib.as_volume(field, spacing, origin)
  if volume is None:
    field = as_field(field, points_per_batch)
    cells = coarse_cells(resolution_0, upsampling_steps)
    run = Extraction(field, cells, upsampling_steps, level, padding, max_memory)
    clock = run.clock
    backend = device.choose_backend(backend, field, method, run.resolution)
    vertices, faces, facts, gradients = triangulate_level_set(run, method, backend)
    vertices = run.to_cube(vertices)
  else:
    grid = (method, resolution_0, upsampling_steps, padding, points_per_batch)
    check_own_grid(grid, refine_steps)
    field, clock, gradients = volume_lib.VolumeField(volume), Clock(), None
    with clock.stage("surface"):
      vertices, faces, facts = volume_lib.triangulate_volume(volume, level, max_memory)
  if not len(faces) and on_empty == "raise":
    describe = describe_values if volume is None else volume_lib.describe_values
    raise NoSurface(describe(facts, level))
  extracted = vertices
  if least_part or smooth_steps or simplify_faces is not None:
    with clock.stage("finish"):
      vertices, faces = finish(
        vertices,
        faces,
        least_part=least_part,
        smooth_steps=smooth_steps,
        simplify_faces=simplify_faces,
      )
  if refine_steps and len(faces):
    with clock.stage("refine"):
      vertices, losses = refine_and_project(run, vertices, faces, refine_steps, seed)
    facts |= losses
  vertex_normals = None
  if normals and len(faces) and not smooth_steps:
    with clock.stage("normals"):
      if vertices is not extracted:  # others, or the same ones moved
        gradients = None
      vertex_normals = field_normals(field, vertices, faces, gradients)
  return trimesh.Trimesh(
    vertices,
    faces,
    vertex_normals=vertex_normals,
    metadata={**facts, **clock.seconds},
    process=False,  # merging vertices would reorder them and drop their normals
  )


def check_own_grid(settings: tuple, refine_steps: int) -> None:
  """Raises ValueError for settings of the cube's grid beside a volume with its own.

  Args:
    settings: method, resolution_0, upsampling_steps, padding and points_per_batch.
    refine_steps: number of refinement steps.
  """
  names = ("method", "resolution_0", "upsampling_steps", "padding", "points_per_batch")
  defaults = (METHODS[0], 16, 3, PADDING, None)
  for name, value, default in zip(names, settings, defaults, strict=True):
    if value != default:
      raise ValueError(
        f"{name}={value} is for fields of the cube; leave it out for a volume, which "
        "has a grid of its own"
      )
  if refine_steps:
    raise ValueError(
      f"refine_steps={refine_steps} is for functions of JAX; want 0 for a volume, "
      "between whose voxels nothing is measured"
    )


def check_method(method: str) -> None:
  """Raises ValueError for a name that is none of METHODS."""
  if method not in METHODS:
    raise ValueError(f"method={method!r}; want one of {', '.join(METHODS)}")


def triangulate_level_set(
  run: Extraction, method: str, backend: str
) -> tuple[Vertices, Faces, dict[str, int | float], Vertices | None]:
  """Extracts a level set.

  Returns:
    Vertices in finest cells, faces, facts for the metadata, and the gradients of the
    field at the vertices if they are known.
  """
  split_rule = choose_split_rule(method, run.cells)
  if backend == "device":
    with run.clock.stage("surface"):
      result = device.triangulate_level_set(run, method, split_rule)
    if result is not None:
      return result
  with run.clock.stage("octree"):
    samples = sample_surface(
      run.evaluate,
      run.cells,
      run.steps,
      run.level,
      split_rule=split_rule,
      check_budget=run.check_budget,
    )
    crossings = find_crossings(samples, run.level, run.check_budget)
  facts = octree_facts(samples)
  with run.clock.stage("roots"):
    if method == "mise":
      edge_params = linear_params(crossings, run.level)
    else:
      edge_params, count = find_roots(run.evaluate, samples, crossings, run.level)
      facts["evaluations"] += count
  del samples  # most of the memory
  with run.clock.stage("surface"):
    vertices = place_vertices(crossings, edge_params)
    if method == "dual":
      facts["evaluations"] += GRADIENT_COST * len(vertices)
      normals = crossing_normals(run.field, crossings, run.to_cube(vertices))
      vertices, faces = dual_contour(crossings, vertices, normals)
    else:
      faces = triangulate(crossings)
    if method == "mise_roots":
      vertices, faces, count = split_bends(
        run.evaluate, crossings, vertices, faces, run.level
      )
      facts["evaluations"] += count
  return vertices, faces, facts | {"faces_extracted": len(faces)}, None


def refine_and_project(
  run: Extraction, vertices: Vertices, faces: Faces, steps: int, seed: int
) -> tuple[Vertices, dict[str, float]]:
  """Refines and projects a mesh, and keeps the stage of it that is nearest the surface.

  Args:
    run: the extraction that the mesh is of; its cell size bounds a step of the
      projection, and the error that one point counts.
    vertices, faces: the mesh, in cube units.
    steps: number of refinement steps.
    seed: seed of the random points on the faces.

  Returns:
    Vertices, and for the metadata `loss_first` and `loss_last` of the refinement,
    `error_first` and `error_last`: mean distance from the surface, in cube units.
  """
  field, level, cell = run.field, run.level, run.cell_size
  refined, losses = refine(field, vertices, faces, level=level, steps=steps, seed=seed)
  projected = project(field, refined, level=level, max_step=cell)
  candidates = [vertices, refined, projected]
  errors = [
    mean_error(field, candidate, faces, level=level, max_distance=cell, seed=seed)
    for candidate in candidates
  ]
  best = int(np.argmin(errors))
  return candidates[best], {
    "loss_first": float(losses[0]),
    "loss_last": float(losses[-1]),
    "error_first": errors[0],
    "error_last": errors[best],
  }


def choose_split_rule(method: str, cells: int) -> SplitRule | None:
  """The rule by which coarse voxels are split although all their corners agree.

  None for none: the reference has no such rule, and a fine start does not need it.
  """
  return near_level if method != "mise" and cells < THIN_PARTS_BELOW else None


def octree_facts(samples: Samples) -> dict[str, int | float]:
  """The octree's entries of the mesh's metadata."""
  return {
    "resolution": samples.resolution,
    "evaluations": len(samples.keys),
    "value_min": float(samples.values.min()),
    "value_max": float(samples.values.max()),
  }


def describe_values(facts: dict[str, int | float], level: float) -> str:
  """The message for a field that does not cross the level."""
  low, high = facts["value_min"], facts["value_max"]
  span = f"lie between {low:.6g} and {high:.6g}" if low < high else f"all are {low:.6g}"
  return (
    f"no surface: the field's values at {facts['evaluations']} points {span}, none "
    f"above the level {level:.6g}; check that the field is larger inside and the level "
    "is in its units (a logit, not a probability), raise resolution_0, or pass "
    "on_empty='empty'"
  )
