"""Where on each crossed edge the surface lies, by few evaluations (host).

Logits of a classifier are far from linear across a cell, so that linear interpolation
misses by some hundredths of an edge. Here the octree's other points on the line of the
edge, which are known anyway, make a first guess by a polynomial of degree two or three.
Where it agrees with the linear one the field is smooth, and the guess stands. Elsewhere
the field is looked at there, and again while the next step within the bracket is long:
inverse quadratic interpolation where it is safe by the criterion of Chandrupatla
(Advances in Engineering Software 28, 1997); else, as at a kink, the line through the
two points of the same side; else that through the bracket. The last step is free.

Places t run from 0 to 1 along an edge. Shape letter: e edges.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from occnet_jax.extract.grid.active_cells import OUTSIDE, Crossings, edge_points
from occnet_jax.extract.grid.mise import CHUNK, Evaluate, Samples, search_sorted
from occnet_jax.geometry.grids import to_keys

SMOOTH = 0.01  # of an edge: guesses that agree so well are not looked at
SHORT = 0.05  # of an edge: after a step as short the search is over
MAX_EVALUATIONS = 4  # at most, per edge
MARGIN = 1e-4  # kept from the ends of an edge, so that no triangle is a point

EdgeParams = Float[np.ndarray, " e"]


class Roots(NamedTuple):
  """Attributes:
  places: (e,) where on its edge each vertex lies.
  evaluations: how often the field was looked at.
  """

  places: EdgeParams
  evaluations: int


def find_roots(
  evaluate: Evaluate, samples: Samples, crossings: Crossings, level: float
) -> Roots:
  """The places of the surface on all crossed edges.

  Edges into the layer around the grid have theirs at the face of the cube.

  Args:
    evaluate: indices (e, 3), fractions among them, -> values (e,); for up to `CHUNK`.
    samples: what the octree knows.
    crossings: of these samples at this level.
  """
  places, evaluations = np.zeros(len(crossings.edges)), 0
  for start in range(0, len(places), CHUNK):
    part = slice(start, start + CHUNK)
    points, axes = edge_points(crossings, crossings.edges[part])
    ends = crossings.ends[part].astype(np.float64) - level
    within = (crossings.ends[part] > OUTSIDE).all(1)
    found = (ends[:, 0] < ends[:, 1]).astype(np.float64)  # the end within the cube
    points, axes, ends = points[within], axes[within], ends[within]
    before, after = neighbours(samples, points, axes, level)
    guesses = polynomial_roots(before, ends, after)
    sure = np.abs(guesses - ends[:, 0] / (ends[:, 0] - ends[:, 1])) < SMOOTH
    points, units = points[~sure], np.eye(3)[axes[~sure]]

    def along(t: EdgeParams, rows: Int[np.ndarray, " e"], points=points, units=units):
      values = evaluate(points[rows] + t[:, None] * units[rows])
      return values.astype(np.float64) - level

    guesses[~sure], looks = search(along, ends[~sure], guesses[~sure])
    evaluations += looks
    found[within] = guesses
    places[part] = found
  return Roots(np.clip(places, MARGIN, 1 - MARGIN), evaluations)


def neighbours(
  samples: Samples,
  points: Int[np.ndarray, "e 3"],
  axes: Int[np.ndarray, " e"],
  level: float,
) -> tuple[EdgeParams, EdgeParams]:
  """Values less the level one step before and one after each edge; NaN if unknown."""
  side = samples.resolution + 1
  keys, rows = to_keys(points, side), np.arange(len(points))
  strides = np.array([side * side, side, 1])[axes]
  values = []
  for step in (-1, 2):
    there = points[rows, axes] + step
    places = search_sorted(samples.keys, keys + step * strides)
    known = (places >= 0) & (there >= 0) & (there < side)
    values.append(np.where(known, samples.values[places].astype(float) - level, np.nan))
  return values[0], values[1]


def polynomial_roots(
  before: EdgeParams, ends: Float[np.ndarray, "e 2"], after: EdgeParams
) -> EdgeParams:
  """The root in (0, 1) of the polynomial with these values at -1, 0, 1 and 2.

  Of degree three, or two or one if one or both of the outer values are NaN.
  """
  low, high = ends.T
  left, right = (before - 2 * low + high) / 2, (low - 2 * high + after) / 2
  both = np.isfinite(left) & np.isfinite(right)
  square = np.nan_to_num(np.where(np.isfinite(left), left, right))
  cube = np.where(both, (right - left) / 3, 0)
  lower, upper = np.zeros(len(low)), np.ones(len(low))
  for _ in range(14):  # bisection: to 1e-4 of an edge
    t = (lower + upper) / 2
    value = low + (high - low) * t + (square + cube * (t + 1)) * t * (t - 1)
    first = (value > 0) == (low > 0)
    lower, upper = np.where(first, t, lower), np.where(first, upper, t)
  return (lower + upper) / 2


def search(
  along: Callable[[EdgeParams, Int[np.ndarray, " e"]], EdgeParams],
  ends: Float[np.ndarray, "e 2"],
  guesses: EdgeParams,
) -> tuple[EdgeParams, int]:
  """Roots in (0, 1) within brackets, and how many evaluations it took.

  Args:
    along: (places, numbers of edges) -> values there.
    ends: values at 0 and 1, of different signs.
    guesses: where to look first.
  """
  roots, rows, looks = guesses.copy(), np.arange(len(guesses)), 0
  a, b = np.zeros(len(rows)), np.ones(len(rows))
  value_a, value_b = ends[:, 0].copy(), ends[:, 1].copy()
  t = guesses
  for _ in range(MAX_EVALUATIONS if len(rows) else 0):
    value = along(t, rows)
    looks += len(rows)
    first = (value > 0) == (value_a > 0)  # the new point takes the place of a, or of b
    c, value_c = np.where(first, a, b), np.where(first, value_a, value_b)
    b, value_b = np.where(first, b, a), np.where(first, value_b, value_a)
    a, value_a = t, value
    t = next_params(a, b, c, value_a, value_b, value_c)
    roots[rows] = t
    far = np.abs(t - a) >= SHORT
    rows, t, a, b = rows[far], t[far], a[far], b[far]
    value_a, value_b = value_a[far], value_b[far]
    if not len(rows):
      break
  return roots, looks


def next_params(
  a: EdgeParams,
  b: EdgeParams,
  c: EdgeParams,
  value_a: EdgeParams,
  value_b: EdgeParams,
  value_c: EdgeParams,
) -> EdgeParams:
  """The next place, between a, the newest, and b.

  Args:
    a, b: a bracket.
    c: the place before; on the side of a.
  """
  with np.errstate(divide="ignore", invalid="ignore"):
    x, y = (a - b) / (c - b), (value_a - value_b) / (value_c - value_b)
    safe = (y**2 < x) & ((1 - y) ** 2 < 1 - x)
    inverse = value_a / (value_b - value_a) * value_c / (value_b - value_c) + (
      (c - a) / (b - a) * value_a / (value_c - value_a) * value_b / (value_c - value_b)
    )
    straight = value_a / (value_a - value_b)
    onward = value_a / (value_a - value_c) * (c - a) / (b - a)
  safe &= (inverse > 0) & (inverse < 1)
  straight = np.where((onward > 0) & (onward < 1), onward, straight)
  return a + np.where(safe, inverse, straight) * (b - a)
