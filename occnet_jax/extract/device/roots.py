"""Vertices on the surface: the root of the field on each crossed edge (device).

The method and its formulas are those of `grid.edge_roots`, in float32. All edges go
through each step together, and a flag says which are still searched.

Shape letters: g grid points a side, e crossed edges.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from occnet_jax.extract.device.crossings import EdgeList
from occnet_jax.extract.device.lists import Count, is_entry, positions_of
from occnet_jax.extract.device.octree import EvaluateList, Table
from occnet_jax.extract.grid.active_cells import OUTSIDE
from occnet_jax.extract.grid.edge_roots import (
  END_MARGIN,
  MAX_EVALUATIONS,
  SHORT,
  SMOOTH,
  next_params,
  polynomial_roots,
)

EdgeParams = Float[Array, " e"]


class Search(NamedTuple):
  """The state of the search: `a`, the newest point, and `b` bracket each root."""

  t: EdgeParams
  a: EdgeParams
  b: EdgeParams
  value_a: EdgeParams
  value_b: EdgeParams
  searched: Bool[Array, " e"]
  evaluations: Count


def find_roots(
  evaluate: EvaluateList, table: Table, edges: EdgeList, level: Float[Array, ""]
) -> tuple[EdgeParams, Count]:
  """Parameters of the surface on all crossed edges, and the number of evaluations.

  On edges into the layer around the grid it is the face of the cube.

  Args:
    evaluate: grid indices (k, 3), fractions among them, -> values (k,).
    table: the values that the octree knows.
    edges: the crossed edges.
    level: value at the surface.
  """
  size = len(edges.axes)
  ends = edges.ends - level
  within = (edges.ends > OUTSIDE).all(1)
  # One end is on the cube's face, the inside one: t is 1 if it is the upper, else 0.
  border_t = (ends[:, 0] < ends[:, 1]).astype(jnp.float32)
  before, after = (known_along(table, edges, step) - level for step in (-1, 2))
  guesses = polynomial_roots(before, ends, after)
  linear = linear_params(edges, level)
  searched = within & (jnp.abs(guesses - linear) >= SMOOTH)
  searched &= is_entry(size, edges.count)
  units = jnp.eye(3)[edges.axes]

  def step(_: Int[Array, ""], state: Search) -> Search:
    """One evaluation on each edge that is still searched."""
    rows, count = positions_of(state.searched, size)
    chosen = jnp.minimum(rows, size - 1)
    points = edges.points[chosen] + state.t[chosen, None] * units[chosen]
    values = evaluate(points, count) - level
    value = jnp.zeros(size).at[rows].set(values, mode="drop")
    # The new point replaces the end of its own sign, and becomes a.
    replaces_a = (value > 0) == (state.value_a > 0)
    c = jnp.where(replaces_a, state.a, state.b)
    value_c = jnp.where(replaces_a, state.value_a, state.value_b)
    b = jnp.where(replaces_a, state.b, state.a)
    value_b = jnp.where(replaces_a, state.value_b, state.value_a)
    t = next_params(state.t, b, c, value, value_b, value_c)
    return Search(
      jnp.where(state.searched, t, state.t),
      state.t,
      b,
      value,
      value_b,
      state.searched & (jnp.abs(t - state.t) >= SHORT),
      state.evaluations + count,
    )

  start = Search(
    guesses,
    jnp.zeros(size),
    jnp.ones(size),
    ends[:, 0],
    ends[:, 1],
    searched,
    jnp.int32(0),
  )
  found = lax.fori_loop(0, MAX_EVALUATIONS, step, start)
  t = jnp.where(within, found.t, border_t)
  return jnp.clip(t, END_MARGIN, 1 - END_MARGIN), found.evaluations


def linear_params(edges: EdgeList, level: Float[Array, ""]) -> EdgeParams:
  """Parameters of the surface on its edges for a field that is linear along them."""
  low, high = edges.ends.T
  return (level - low) / (high - low)


def known_along(table: Table, edges: EdgeList, step: int) -> EdgeParams:
  """Values at the points `step` from the lower ends of edges; NaN where not known."""
  side = len(table.values)
  points = edges.points + step * jnp.eye(3, dtype=jnp.int32)[edges.axes]
  inside = ((points >= 0) & (points < side)).all(1)
  x, y, z = jnp.clip(points, 0, side - 1).T
  known = inside & (table.signs[x, y, z] > 0)
  return jnp.where(known, table.values[x, y, z], jnp.nan)
