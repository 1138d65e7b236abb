"""From a field to a mesh: octree, marching cubes, simplify, refine, normals (host).

The stages and their order are those of the reference's generation; paper, section 3.3.
"""

import functools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import trimesh
from jaxtyping import Float, Shaped

from occnet_jax.extract.field import Field, as_field
from occnet_jax.extract.grid.active_cells import Crossings, find_crossings
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
from occnet_jax.extract.grid.mise import Evaluate, Margin, Samples, sample_surface
from occnet_jax.extract.grid.thin_parts import near_level
from occnet_jax.extract.mesh.normals import crossing_normals, field_normals
from occnet_jax.extract.mesh.projection import mean_error, project
from occnet_jax.extract.mesh.refine import refine
from occnet_jax.extract.mesh.simplify import simplify
from occnet_jax.geometry.grids import PADDING, to_coordinates

METHODS = ("mise_roots", "dual", "mise")
GRADIENT_COST = 3  # of a gradient, in evaluations
MARGIN_BELOW = 32  # cells a side of a coarse grid that may miss thin parts
MAX_RESOLUTION = 2**20  # 64 bits hold three times the cube of it


def extract_mesh(
  field: Any,
  *,
  method: str = "mise_roots",
  resolution_0: int = 16,
  upsampling_steps: int = 3,
  level: float = 0.0,
  padding: float = PADDING,
  simplify_faces: int | None = None,
  refine_steps: int = 0,
  normals: bool = True,
  points_per_batch: int | None = None,
  max_memory: int | None = None,
  seed: int = 0,
  on_empty: str = "raise",
) -> trimesh.Trimesh:
  """The closed surface where a field crosses the level, within the padded cube.

  Args:
    field: function from points (n, 3) to values (n,), larger inside: of JAX, of NumPy,
      or a `jax.tree_util.Partial(function, *arrays)`, which is compiled once for all
      the arrays it is given. See `extract.field`, also for networks.
    method: "mise_roots", marching cubes with vertices on the surface, and more of them
      where it bends; "dual", dual contouring, which keeps sharp edges; "mise", marching
      cubes with vertices where the surface would be if the field were linear, as the
      reference does.
    resolution_0: cells a side of the coarse grid. What lies wholly between its points
      is not found, but that "mise_roots" also looks into cells that the values around
      come near the level in, if there are fewer than 32: 16 finds what 32 does.
    upsampling_steps: how often cells at the surface are halved: the mesh is that of a
      grid of resolution_0 * 2^steps cells a side. 0 evaluates, as the reference does,
      a dense grid of resolution_0 points, so one cell fewer, a side.
    level: value at the surface: log(tau / (1 - tau)) for logits and a probability tau.
    padding: the cube is [-(1 + padding) / 2, (1 + padding) / 2]^3.
    simplify_faces: faces to keep, or None for all.
    refine_steps: steps of fitting the vertices to the field; the reference took 30.
      After them vertices are projected onto the surface. What is not nearer to it than
      before is not kept.
    normals: whether to give every vertex the normal of the field.
    points_per_batch: how many points are evaluated at a time; None chooses.
    max_memory: bytes that the grid and the mesh may take, beside what the field and its
      batches do; None for any number.
    seed: of the refinement's random points.
    on_empty: what a field without a surface gives: "raise" an error, or "empty", a mesh
      without faces.

  Returns:
    A mesh in cube units, faces outward. Its `metadata` holds `resolution` (cells a
    side), `evaluations` of the field for the surface (a gradient counts as three),
    `value_min` and `value_max` of the octree, `faces_extracted` before they are
    simplified, of a refinement `loss_first` and `loss_last`, and `error_first` and
    `error_last`, mean distances from the surface in cube units; and seconds by stage:
    `seconds_octree`, `seconds_evaluate`, `seconds_roots`, `seconds_surface`,
    `seconds_simplify`, `seconds_refine`, `seconds_normals`.

  Raises:
    ValueError: no surface and on_empty="raise"; settings out of range; a field that is
      not callable, not one number a point, or not finite; refine_steps for a field that
      JAX cannot trace.
  """
  if on_empty not in ("raise", "empty"):
    raise ValueError(f"on_empty={on_empty!r}; want 'raise' or 'empty'")
  if method not in METHODS:
    raise ValueError(f"method={method!r}; want one of {', '.join(METHODS)}")
  field = as_field(field, points_per_batch)
  clock, reserve = Clock(), functools.partial(check_budget, max_memory)
  cells = cells_of(resolution_0, upsampling_steps)
  resolution = cells * 2**upsampling_steps
  evaluate = evaluator(field, resolution, padding, clock)

  def planes(crossings: Crossings, vertices: Vertices) -> Vertices:
    points = to_coordinates(vertices, resolution, padding)
    return crossing_normals(field, crossings, points)

  vertices, faces, facts = triangulate_level_set(
    method, evaluate, planes, cells, upsampling_steps, level, clock, reserve
  )
  vertices = to_coordinates(vertices, resolution, padding)
  if not len(faces) and on_empty == "raise":
    raise ValueError(no_surface(facts, level))
  if simplify_faces is not None:
    with clock.stage("simplify"):
      vertices, faces = simplify(vertices, faces, simplify_faces)
  if refine_steps and len(faces):
    with clock.stage("refine"):
      vertices, found = refine_and_project(
        field,
        vertices,
        faces,
        level=level,
        steps=refine_steps,
        seed=seed,
        most=(1 + padding) / resolution,
      )
    facts |= found
  vertex_normals = None
  if normals and len(faces):
    with clock.stage("normals"):
      vertex_normals = field_normals(field, vertices, faces)
  return trimesh.Trimesh(
    vertices,
    faces,
    vertex_normals=vertex_normals,
    metadata={**facts, **clock.seconds},
    process=False,  # merging vertices would reorder them and drop their normals
  )


def refine_and_project(
  field: Field,
  vertices: Vertices,
  faces: Faces,
  *,
  level: float,
  steps: int,
  seed: int,
  most: float,
) -> tuple[Vertices, dict[str, float]]:
  """The vertices as given, refined, or refined and projected: what is least in error.

  Args:
    field, vertices, faces, level, steps, seed: see `refine.refine`.
    most: that a vertex moves in one step of the projection, or counts as its error.

  Returns:
    Vertices, and for the metadata `loss_first` and `loss_last` of the refinement,
    `error_first` and `error_last`: mean distance from the surface, in cube units.
  """
  refined, losses = refine(field, vertices, faces, level=level, steps=steps, seed=seed)
  found = [vertices, refined, project(field, refined, level=level, most=most)]
  errors = [
    mean_error(field, each, faces, level=level, most=most, seed=seed) for each in found
  ]
  best = int(np.argmin(errors))
  return found[best], {
    "loss_first": float(losses[0]),
    "loss_last": float(losses[-1]),
    "error_first": errors[0],
    "error_last": errors[best],
  }


class Clock:
  """Seconds by stage; a stage within another is not counted twice.

  Attributes:
    seconds: {"seconds_<stage>": time spent in it}.
  """

  def __init__(self):
    stages = ("octree", "evaluate", "roots", "surface", "simplify", "refine", "normals")
    self.seconds = {f"seconds_{stage}": 0.0 for stage in stages}

  @contextmanager
  def stage(self, name: str) -> Iterator[None]:
    start, inner = time.perf_counter(), sum(self.seconds.values())
    yield
    inner = sum(self.seconds.values()) - inner
    self.seconds[f"seconds_{name}"] += time.perf_counter() - start - inner


def triangulate_level_set(
  method: str,
  evaluate: Evaluate,
  planes: Callable[[Crossings, Vertices], Vertices],
  cells: int,
  steps: int,
  level: float,
  clock: Clock,
  reserve: Callable[[int], None],
) -> tuple[Vertices, Faces, dict[str, int | float]]:
  """Vertices in cells of the finest grid, faces, and what the metadata has of them.

  Args:
    evaluate: points in cells of the finest grid -> values.
    planes: normals of the surface at its crossings with edges of the grid.
    cells: a side of the coarse grid.
    steps: halvings of it.
    method, level, clock, reserve: see `extract_mesh`.
  """
  margin = margin_of(method, cells)
  with clock.stage("octree"):
    samples = sample_surface(
      evaluate, cells, steps, level, margin=margin, reserve=reserve
    )
    crossings = find_crossings(samples, level, reserve)
  facts = describe(samples)
  with clock.stage("roots"):
    if method == "mise":
      places = linear_params(crossings, level)
    else:
      places, looks = find_roots(evaluate, samples, crossings, level)
      facts["evaluations"] += looks
  del samples  # most of the memory
  with clock.stage("surface"):
    vertices = place_vertices(crossings, places)
    if method == "dual":
      facts["evaluations"] += GRADIENT_COST * len(vertices)
      vertices, faces = dual_contour(crossings, vertices, planes(crossings, vertices))
    else:
      faces = triangulate(crossings)
    if method == "mise_roots":
      vertices, faces, looks = split_bends(evaluate, crossings, vertices, faces, level)
      facts["evaluations"] += looks
  return vertices, faces, facts | {"faces_extracted": len(faces)}


def margin_of(method: str, cells: int) -> Margin | None:
  """What else of a coarse grid of so many cells a side is looked into."""
  return near_level if method != "mise" and cells < MARGIN_BELOW else None


def cells_of(resolution_0: int, upsampling_steps: int) -> int:
  """Cells a side of the coarse grid; see `extract_mesh`."""
  cells = resolution_0 if upsampling_steps else resolution_0 - 1
  if cells < 1 or upsampling_steps < 0:
    raise ValueError(
      f"resolution_0={resolution_0}, upsampling_steps={upsampling_steps}; want "
      "resolution_0 at least 1, or 2 without upsampling, and no negative steps"
    )
  if cells * 2**upsampling_steps > MAX_RESOLUTION:
    raise ValueError(
      f"{cells * 2**upsampling_steps} cells a side; want at most {MAX_RESOLUTION}"
    )
  return cells


def evaluator(field: Field, resolution: int, padding: float, clock: Clock) -> Evaluate:
  """The field at grid points, timed."""

  def evaluate(indices: Shaped[np.ndarray, "n 3"]) -> Float[np.ndarray, " n"]:
    with clock.stage("evaluate"):
      return field.values(to_coordinates(indices, resolution, padding))

  return evaluate


def check_budget(allowed: int | None, needed: int) -> None:
  """Raises ValueError if more bytes are needed than allowed; None allows all."""
  if allowed is not None and needed > allowed:
    raise ValueError(
      f"the next step takes about {needed / 2**20:.0f} MiB and max_memory allows "
      f"{allowed / 2**20:.0f} MiB; raise it, or lower resolution_0 or upsampling_steps"
    )


def describe(samples: Samples) -> dict[str, int | float]:
  """What the octree saw, for the mesh's metadata."""
  return {
    "resolution": samples.resolution,
    "evaluations": len(samples.keys),
    "value_min": float(samples.values.min()),
    "value_max": float(samples.values.max()),
  }


def no_surface(facts: dict[str, int | float], level: float) -> str:
  """The message for a field that does not cross the level."""
  low, high = facts["value_min"], facts["value_max"]
  seen = f"lie between {low:.6g} and {high:.6g}" if low < high else f"all are {low:.6g}"
  return (
    f"no surface: the field's values at {facts['evaluations']} points {seen}, none "
    f"above the level {level:.6g}; check that the field is larger inside and the level "
    "is in its units (a logit, not a probability), raise resolution_0, or pass "
    "on_empty='empty'"
  )
