"""How the points of a cloud lie around each of them (device, jnp).

The moments of a cloud in a grid, read back at its points, say where the centre of the
neighbours is and how they spread, at the scale of a cell; no neighbour is searched for.
Of a smooth surface they hold the normal, up to its sign: it is the direction in which
the neighbours do not spread.

Shape letters: b shapes, n points.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from occnet_jax.nn import periodic

LEAST_COUNT = 1e-3  # of neighbours, for points that do not count themselves
# Variance of coordinates that counts as rounding and is added in all directions. A mean
# of squares below 1/4 is wrong by 3e-8, which is all the variance of a point that is
# alone: relative to itself it would be any matrix.
ROUNDING = 3e-7
ROUND = 0.02  # share of the variance that is added in all directions, so none is flat


class Moments(NamedTuple):
  """The neighbours of each point, weighted by how near they are, within two cells.

  Attributes:
    projector: (b, n, 6) the inverse of their covariance, of trace 1: the entries xx,
      yy, zz, xy, xz, yz. Near n n^T where they lie in a plane of normal n.
    offset: (b, n, 3) from the point to their mean, in cells.
    spread: (b, n, 1) the root of their mean square distance from it, in cells.
    count: (b, n) their number.
  """

  projector: Any
  offset: Any
  spread: Any
  count: Any


def measure(
  points: Float[Array, "b n 3"], valid: Bool[Array, "b n"], side: int
) -> Moments:
  """The moments around each point, of those that are valid.

  Args:
    points: in the unit cube of nn/periodic.py.
    valid: which of them count.
    side: nodes of the grid along an axis.
  """
  centred = points - 0.5  # the squares of small numbers round less
  x, y, z = (centred[..., axis] for axis in range(3))
  terms = (jnp.ones_like(x), x, y, z, x * x, y * y, z * z, x * y, x * z, y * z)
  terms = jnp.where(valid[..., None], jnp.stack(terms, -1), 0)
  sums = periodic.read_features(periodic.spread(points, terms, side), points)
  count = jnp.maximum(sums[..., 0], LEAST_COUNT)
  means = sums[..., 1:] / count[..., None]
  mean, (x, y, z) = means[..., :3], (means[..., axis] for axis in range(3))
  squares = (x * x, y * y, z * z, x * y, x * z, y * z)
  covariance = means[..., 3:] - jnp.stack(squares, -1)
  variance = jnp.maximum(covariance[..., :3].sum(-1), ROUNDING)
  share = ROUND + ROUNDING / variance
  return Moments(
    projector=_inverse(covariance / variance[..., None], share),
    offset=(mean - centred) * side,
    spread=jnp.sqrt(variance)[..., None] * side,
    count=count,
  )


def multiply(
  matrix: Float[Array, "b n 6"], vector: Float[Array, "b n 3"]
) -> Float[Array, "b n 3"]:
  """Symmetric matrices, as of `Moments.projector`, by vectors."""
  xx, yy, zz, xy, xz, yz = (matrix[..., k] for k in range(6))
  x, y, z = (vector[..., axis] for axis in range(3))
  product = (xx * x + xy * y + xz * z, xy * x + yy * y + yz * z)
  return jnp.stack([*product, xz * x + yz * y + zz * z], -1)


def _inverse(
  matrix: Float[Array, "b n 6"], added: Float[Array, "b n"]
) -> Float[Array, "b n 6"]:
  """The inverse of a symmetric matrix with more on its diagonal, scaled to trace 1."""
  xx, yy, zz = (matrix[..., k] + added for k in range(3))
  xy, xz, yz = (matrix[..., k] for k in range(3, 6))
  cofactors = (
    *(yy * zz - yz * yz, xx * zz - xz * xz, xx * yy - xy * xy),
    *(xz * yz - xy * zz, xy * yz - xz * yy, xy * xz - yz * xx),
  )
  total = cofactors[0] + cofactors[1] + cofactors[2]
  return jnp.stack(cofactors, -1) / total[..., None]
