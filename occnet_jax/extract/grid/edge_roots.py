"""Vertices on the surface: the root of the field on each crossed edge (host).

Logits of a classifier are far from linear across a cell, so that linear interpolation
misses by some hundredths of an edge. Here the octree's other points on the line of the
edge, which have been evaluated anyway, make a first guess by a polynomial of degree two
or three. Where it agrees with the linear one the field is smooth, and the guess stands.
Elsewhere the field is evaluated at the guess, and again while the next step within the
bracket is long: inverse quadratic interpolation where it is safe by the criterion of
Chandrupatla (Advances in Engineering Software 28, 1997); else, as at a kink, the line
through the two points of the same side; else that through the bracket. The last
interpolation costs no evaluation.

Parameters t run from 0 to 1 along an edge. Shape letter: e edges.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Float, Int

from occnet_jax.extract.grid.active_cells import OUTSIDE, Crossings, edge_points
from occnet_jax.extract.grid.key_sets import KeyIndex
from occnet_jax.extract.grid.mise import CHUNK, Evaluate, Samples
from occnet_jax.geometry.grids import to_keys

SMOOTH = 0.01  # of an edge: guesses that agree so well are not checked
SHORT = 0.05  # of an edge: after a step as short the search is over
MAX_EVALUATIONS = 4  # for one edge
END_MARGIN = 1e-4  # of an edge: least distance from its ends, so no triangle is a point

AnyArray = np.ndarray | Array  # both compute the same formula
EdgeParams = Float[np.ndarray, " e"]
AnyParams = Float[AnyArray, " e"]


class Roots(NamedTuple):
  """Attributes:
  t: (e,) parameter of each vertex on its edge.
  evaluations: number of evaluations of the field.
  """

  t: EdgeParams
  evaluations: int


def find_roots(
  evaluate: Evaluate, samples: Samples, crossings: Crossings, level: float
) -> Roots:
  """Finds the surface on all crossed edges.

  On edges into the layer around the grid it is the face of the cube.

  Args:
    evaluate: indices (e, 3), fractions among them, -> values (e,); for up to `CHUNK`.
    samples: the samples of the octree.
    crossings: the crossings of these samples at this level.
    level: value at the surface.
  """
  t, evaluations = np.zeros(len(crossings.edges)), 0
  index = samples.key_index()
  for start in range(0, len(t), CHUNK):
    part = slice(start, start + CHUNK)
    points, axes = edge_points(crossings, crossings.edges[part])
    ends = crossings.ends[part].astype(np.float64) - level
    # An edge into the layer has one end on the cube's face, its inside one: t is 1 if
    # that is the upper end and 0 if it is the lower.
    within = (crossings.ends[part] > OUTSIDE).all(1)
    part_t = (ends[:, 0] < ends[:, 1]).astype(np.float64)
    points, axes, ends = points[within], axes[within], ends[within]
    before, after = neighbours(samples, index, points, axes, level)
    guesses = polynomial_roots(before, ends, after)
    linear = ends[:, 0] / (ends[:, 0] - ends[:, 1])
    sure = np.abs(guesses - linear) < SMOOTH
    points, units = points[~sure], np.eye(3)[axes[~sure]]

    # Defaults bind the arrays of this part, not those of the loop's last one.
    def along(t: EdgeParams, rows: Int[np.ndarray, " e"], points=points, units=units):
      values = evaluate(points[rows] + t[:, None] * units[rows])
      return values.astype(np.float64) - level

    guesses[~sure], count = search(along, ends[~sure], guesses[~sure])
    evaluations += count
    part_t[within] = guesses
    t[part] = part_t
  return Roots(np.clip(t, END_MARGIN, 1 - END_MARGIN), evaluations)


def neighbours(
  samples: Samples,
  index: KeyIndex,
  points: Int[np.ndarray, "e 3"],
  axes: Int[np.ndarray, " e"],
  level: float,
) -> tuple[EdgeParams, EdgeParams]:
  """Values less the level one step before and one after each edge; NaN if unknown.

  Args:
    samples: the samples of the octree.
    index: positions of their keys.
    points, axes: lower ends of the edges, and their axes.
    level: value at the surface.
  """
  side = samples.resolution + 1
  keys, rows = to_keys(points, side), np.arange(len(points))
  strides = np.array([side * side, side, 1])[axes]
  values = []
  for step in (-1, 2):  # the edge itself is from 0 to 1
    along = points[rows, axes] + step
    positions = index.find(keys + step * strides)
    # Beyond the grid a key would be that of a point of the next row.
    known = (positions >= 0) & (along >= 0) & (along < side)
    difference = samples.values[positions].astype(float) - level
    values.append(np.where(known, difference, np.nan))
  return values[0], values[1]


def polynomial_roots(
  before: AnyParams, ends: Float[AnyArray, "e 2"], after: AnyParams
) -> AnyParams:
  """The root in (0, 1) of the polynomial with these values at -1, 0, 1 and 2.

  Of degree three, or two or one if one or both of the outer values are NaN.
  """
  xp = ends.__array_namespace__()  # NumPy, or jax.numpy
  low, high = ends.T
  # The chord through the ends plus a term that vanishes at both:
  #   low + (high - low) t + (square + cube (t + 1)) t (t - 1).
  # Half the second difference on either side is its factor of t (t - 1): at t = -1 this
  # is `square`, and at t = 2, where t (t - 1) is 2 too, it is square + 3 cube.
  left, right = (before - 2 * low + high) / 2, (low - 2 * high + after) / 2
  both = xp.isfinite(left) & xp.isfinite(right)
  square = xp.nan_to_num(xp.where(xp.isfinite(left), left, right))
  cube = xp.where(both, (right - left) / 3, 0)
  lower, upper = xp.zeros(len(low)), xp.ones(len(low))
  for _ in range(14):  # bisection: to 1e-4 of an edge
    t = (lower + upper) / 2
    value = low + (high - low) * t + (square + cube * (t + 1)) * t * (t - 1)
    same_side_as_low = (value > 0) == (low > 0)
    lower = xp.where(same_side_as_low, t, lower)
    upper = xp.where(same_side_as_low, upper, t)
  return (lower + upper) / 2


def search(
  along: Callable[[EdgeParams, Int[np.ndarray, " e"]], EdgeParams],
  ends: Float[np.ndarray, "e 2"],
  guesses: EdgeParams,
) -> tuple[EdgeParams, int]:
  """Roots in (0, 1) within brackets, and the number of evaluations.

  `scipy.optimize.elementwise.find_root` is the twin without a budget of evaluations: it
  begins by bisection instead of a guess, and bisects where this takes a line.

  Args:
    along: (parameters, numbers of edges) -> values there.
    ends: values at 0 and 1, of different signs.
    guesses: parameters of the first evaluation.
  """
  roots, rows, evaluations = guesses.copy(), np.arange(len(guesses)), 0
  # a and b bracket the root, a is the newest point, and c the one that it replaced.
  a, b = np.zeros(len(rows)), np.ones(len(rows))
  value_a, value_b = ends[:, 0].copy(), ends[:, 1].copy()
  t = guesses
  for _ in range(MAX_EVALUATIONS if len(rows) else 0):
    value = along(t, rows)
    evaluations += len(rows)
    # The new point replaces the end of its own sign, and becomes a.
    replaces_a = (value > 0) == (value_a > 0)
    c, value_c = np.where(replaces_a, a, b), np.where(replaces_a, value_a, value_b)
    b, value_b = np.where(replaces_a, b, a), np.where(replaces_a, value_b, value_a)
    a, value_a = t, value
    t = next_params(a, b, c, value_a, value_b, value_c)
    roots[rows] = t  # not evaluated if the step was short: the last one is free
    far = np.abs(t - a) >= SHORT
    rows, t, a, b = rows[far], t[far], a[far], b[far]
    value_a, value_b = value_a[far], value_b[far]
    if not len(rows):
      break
  return roots, evaluations


def next_params(
  a: AnyParams,
  b: AnyParams,
  c: AnyParams,
  value_a: AnyParams,
  value_b: AnyParams,
  value_c: AnyParams,
) -> AnyParams:
  """The next parameter, between a, the newest, and b.

  Args:
    a, b: a bracket; of NumPy or of JAX, as all arrays here.
    c: the point before a, on the side of a.
    value_a, value_b, value_c: values there.
  """
  xp = a.__array_namespace__()
  # Where two values agree a quotient is not finite, and its comparisons are false.
  with np.errstate(divide="ignore", invalid="ignore"):
    # Chandrupatla's criterion: the inverse parabola through the three points is
    # monotone between a and b.
    x, y = (a - b) / (c - b), (value_a - value_b) / (value_c - value_b)
    safe = (y**2 < x) & ((1 - y) ** 2 < 1 - x)
    # All three as shares of the way from a to b.
    inverse = value_a / (value_b - value_a) * value_c / (value_b - value_c) + (
      (c - a) / (b - a) * value_a / (value_c - value_a) * value_b / (value_c - value_b)
    )
    straight = value_a / (value_a - value_b)
    onward = value_a / (value_a - value_c) * (c - a) / (b - a)
  safe &= (inverse > 0) & (inverse < 1)
  straight = xp.where((onward > 0) & (onward < 1), onward, straight)
  return a + xp.where(safe, inverse, straight) * (b - a)
