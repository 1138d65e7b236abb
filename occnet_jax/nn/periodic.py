"""Points and grids that repeat in all directions (device, jnp).

The cube is [0, 1)^3 and periodic, and grids are indexed (x, y, z). Node i of an axis
lies at i / r. With r = 4,

  nodes   0     1     2     3    (0)     a point lies between node floor(x r) and the
  x       0    1/4   1/2   3/4    1      next, which after the last is the first

Shape letters: b shapes, n and t points, r nodes an axis, c features.
"""

import itertools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int


def spread(
  points: Float[Array, "b n 3"], features: Float[Array, "b n c"], side: int
) -> Float[Array, "b r r r c"]:
  """The sum of the features around every node, each spread over the 8 nearest nodes.

  Args:
    points: coordinates in units of the cube; beyond [0, 1) they continue on the other
      side.
    features: those of zero have no effect.
    side: r.
  """
  b, _, c = features.shape
  around = corners(points, side)
  rows = jnp.concatenate([rows.reshape(-1) for rows, _ in around])
  shares = jnp.concatenate([share.reshape(-1, 1) for _, share in around])
  parts = shares * jnp.tile(features.reshape(-1, c), (len(around), 1))
  total = jax.ops.segment_sum(parts, rows, b * side**3)
  return total.reshape(b, side, side, side, c)


def read(
  grid: Float[Array, "b r r r"], points: Float[Array, "b t 3"]
) -> Float[Array, "b t"]:
  """Trilinear interpolation of one value a node.

  Args:
    grid: values at the nodes.
    points: coordinates in units of the cube, as of `spread`.
  """
  rows, shares = zip(*corners(points, grid.shape[1]), strict=True)
  # Of all corners at once: each gather on its own is a kernel more to compile.
  values = grid.reshape(-1).at[jnp.stack(rows)].get(mode="promise_in_bounds")
  return sum(share * value for share, value in zip(shares, values, strict=True))


def read_features(
  grid: Float[Array, "b r r r c"], points: Float[Array, "b t 3"]
) -> Float[Array, "b t c"]:
  """Trilinear interpolation of the features of the nodes; points as of `read`."""
  rows, shares = zip(*corners(points, grid.shape[1]), strict=True)
  features = grid.reshape(-1, grid.shape[-1])
  values = features.at[jnp.stack(rows)].get(mode="promise_in_bounds")
  return sum(
    share[..., None] * value for share, value in zip(shares, values, strict=True)
  )


def corners(
  points: Float[Array, "b n 3"], side: int
) -> list[tuple[Int[Array, "b n"], Float[Array, "b n"]]]:
  """The 8 nodes around each point as rows of all grids, and their trilinear weights.

  A weight has a kink where a coordinate is that of a node. Its slope there is the one
  towards larger coordinates; the published code, whose weights are |x r - node|, takes
  0 for one of two weights, which is the slope to neither side.
  """
  # An array for each node and coordinate: gradients are then sums of whole arrays, and
  # a CPU adds these several times as fast as along axes of 2, 3 or 8.
  axes = []
  for axis in range(3):
    position = points[..., axis] * side
    lower = jnp.floor(position)
    node, share = lower.astype(jnp.int32), position - lower
    axes.append([(node % side, 1 - share), ((node + 1) % side, share)])
  shape = jnp.arange(len(points))[:, None] * side**3
  return [
    (shape + (x * side + y) * side + z, x_share * y_share * z_share)
    for (x, x_share), (y, y_share), (z, z_share) in itertools.product(*axes)
  ]
