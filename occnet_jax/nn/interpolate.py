"""Interpolation of feature grids at points, in two or three dimensions (device, jnp).

Shape letters: b shapes, r nodes an axis (axes may differ), t points, d dimensions,
c features.
"""

import itertools
import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def linear(
  grid: Float[Array, "b *r c"],
  positions: Float[Array, "b t d"],
  *,
  border: bool = True,
) -> Float[Array, "b t c"]:
  """Bilinear (d = 2) or trilinear (d = 3) interpolation between nodes.

  PyTorch's `grid_sample` with `align_corners=True`, but for the order of axes and the
  unit of positions.

  Args:
    grid: features at the nodes; axis 1 + k is that of coordinate k.
    positions: in units of nodes: 0 is the first node of an axis, r - 1 the last.
    border: whether positions outside have the features of the nearest point of the
      grid; otherwise the grid continues with zeros.
  """
  sides = grid.shape[1:-1]
  if border:
    last = jnp.array(sides, positions.dtype) - 1
    positions = jnp.clip(positions, 0, last.reshape(1, 1, -1))
  lower = jnp.floor(positions)
  upper_weight = positions - lower
  lower = lower.astype(jnp.int32)

  result = 0.0
  for corner in itertools.product((0, 1), repeat=len(sides)):
    weight, flat, inside = 1.0, 0, True
    for k, (offset, side) in enumerate(zip(corner, sides, strict=True)):
      fraction = upper_weight[..., k]
      weight = weight * (fraction if offset else 1 - fraction)
      index = lower[..., k] + offset
      inside = inside & (index >= 0) & (index < side)
      # An index past the border is that of a neighbour whose weight is zero.
      flat = flat * side + jnp.clip(index, 0, side - 1)  # rows first, as C arrays
    if not border:
      weight = jnp.where(inside, weight, 0)
    result = result + weight[..., None] * _rows(grid, flat)
  return result


def nearest(
  grid: Float[Array, "b *r c"], positions: Float[Array, "b t d"]
) -> Float[Array, "b t c"]:
  """The features of the nearest node; halves go to the even one, as in PyTorch.

  Args: those of `linear`; positions outside have the features of the border.
  """
  flat = 0
  for k, side in enumerate(grid.shape[1:-1]):
    index = jnp.clip(jnp.round(positions[..., k]), 0, side - 1).astype(jnp.int32)
    flat = flat * side + index
  return _rows(grid, flat)


def _rows(grid, flat):
  """Rows `flat` (b, t) of a grid whose space axes are joined to one."""
  b, *sides, c = grid.shape
  rows = grid.reshape(b, math.prod(sides), c)
  return jax.vmap(lambda r, i: r.at[i].get(mode="promise_in_bounds"))(rows, flat)
