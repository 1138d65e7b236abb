"""From a field to the triangles of its level set, in one compiled program (device).

Octree, roots, triangles, bends and normals run without the host between them, and
`jax.vmap` makes them those of several shapes. `extract` calls the program, and again
with longer lists where they did not suffice.

Shape letters: v vertices, f triangles, k points of a list.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int, Shaped

from occnet_jax.extract.device.bends import split_bends
from occnet_jax.extract.device.crossings import find_edges
from occnet_jax.extract.device.lists import Count, is_entry, map_entries
from occnet_jax.extract.device.octree import fill_unknown, sample_surface
from occnet_jax.extract.device.roots import find_roots, linear_params
from occnet_jax.extract.field import Kernel
from occnet_jax.extract.grid.mise import SplitRule
from occnet_jax.extract.point_functions import PointFn, value_at
from occnet_jax.geometry.grids import to_coordinates


class Plan(NamedTuple):
  """What a program is compiled for.

  Attributes:
    cells: cells a side of the coarse grid.
    steps: number of times that cells at the surface are halved.
    padding: the cube is [-(1 + padding) / 2, (1 + padding) / 2]^3.
    roots: whether vertices are at the roots of the field and bends are split, as by
      "mise_roots", or where a linear field would have its level, as by "mise".
    split_rule: as of `grid.mise.sample_surface`.
    batch: number of points in one call of the field.
    size: length of the lists of cells, of crossed edges and of bends.
  """

  cells: int
  steps: int
  padding: float
  roots: bool
  split_rule: SplitRule | None
  batch: int
  size: int


class LevelSet(NamedTuple):
  """A level set in lists; the counts say how many entries are no padding.

  Attributes:
    vertices: (v, 3) in cells of the finest grid.
    gradients: (v, 3) of the field there.
    triangles: (f, 3).
    vertex_count, triangle_count: entries of these lists.
    longest: the length that the plan's lists must have; the rest counts only if they
      have it.
    evaluations: number of points that were evaluated.
    value_range: least and greatest value of the octree; NaN if any value is not finite.
  """

  vertices: Float[Array, "v 3"]
  gradients: Float[Array, "v 3"]
  triangles: Int[Array, "f 3"]
  vertex_count: Count
  triangle_count: Count
  longest: Count
  evaluations: Count
  value_range: Float[Array, "2"]


@functools.lru_cache(maxsize=64)
def program(plan: Plan) -> Kernel:
  """The kernel (field, level) -> `LevelSet`; one object for equal plans."""
  return functools.partial(level_set, plan)


def level_set(plan: Plan, point_fn: PointFn, level: Float[Array, ""]) -> LevelSet:
  """Extracts a level set with the field's gradients at its vertices.

  Args:
    plan: the plan.
    point_fn: the field, (3,) -> ().
    level: value at the surface.
  """
  resolution = plan.cells * 2**plan.steps
  value = functools.partial(value_at, point_fn)
  # Coordinates of the grid's points, rounded once, as by the host: the same points.
  sides = to_coordinates(np.arange(resolution + 1), resolution, plan.padding)
  sides = jnp.asarray(sides, jnp.float32)

  def to_cube(points: Shaped[Array, "k 3"]) -> Float[Array, "k 3"]:
    if jnp.issubdtype(points.dtype, jnp.integer):
      return sides[points]
    return to_coordinates(points, resolution, plan.padding)

  def evaluate(points: Shaped[Array, "k 3"], count: Count) -> Float[Array, " k"]:
    return map_entries(jax.vmap(value), to_cube(points), count, plan.batch)

  table = sample_surface(
    evaluate,
    plan.cells,
    plan.steps,
    level,
    split_rule=plan.split_rule,
    size=2 * plan.size,
  )
  values = fill_unknown(table, plan.cells, plan.steps)
  edges, triangles = find_edges(values, level, plan.size)
  known = table.signs > 0
  evaluations = known.sum(dtype=jnp.int32)
  if plan.roots:
    t, count = find_roots(evaluate, table, edges, level)
    evaluations += count
  else:
    t = linear_params(edges, level)
  t = jnp.where(is_entry(plan.size, edges.count), t, 0)  # padding may be 0 / 0
  vertices = edges.points + t[:, None] * jnp.eye(3)[edges.axes]
  faces, face_count, vertex_count = triangles.corners, triangles.count, edges.count
  longest = jnp.maximum(jnp.maximum(edges.count, triangles.cells), face_count // 2)
  if plan.roots:
    split = split_bends(evaluate, edges, vertices, triangles, level, resolution)
    faces, face_count = split.triangles, split.triangle_count
    # The new vertices follow the last one that counts.
    vertices = jnp.concatenate([vertices, jnp.zeros_like(split.added)])
    vertices = lax.dynamic_update_slice_in_dim(vertices, split.added, edges.count, 0)
    vertex_count += split.added_count
    evaluations += split.evaluations
    longest = jnp.maximum(longest, split.added_count)
  gradients = map_entries(
    jax.vmap(jax.grad(value)), to_cube(vertices), vertex_count, plan.batch
  )
  finite = jnp.isfinite(jnp.where(known, table.values, 0)).all()
  finite &= jnp.isfinite(vertices).all() | (longest > plan.size)
  least = jnp.where(known, table.values, jnp.inf).min()
  greatest = jnp.where(known, table.values, -jnp.inf).max()
  return LevelSet(
    vertices,
    gradients,
    faces,
    vertex_count,
    face_count,
    longest,
    evaluations,
    jnp.where(finite, jnp.stack([least, greatest]), jnp.nan),
  )
