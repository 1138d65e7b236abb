"""Poisson surface reconstruction on a periodic grid, differentiable (device, jnp).

Points with normals become the indicator of what they enclose: the field phi whose
Laplacian is minus the divergence of the normals, which Fourier transforms solve for.
There are no weights, and gradients reach points, normals and weights of points.

The cube is [0, 1)^3 and periodic, and grids are indexed (x, y, z). Node i of an axis
lies at i / r. With r = 4,

  nodes   0     1     2     3    (0)     a point lies between node floor(x r) and the
  x       0    1/4   1/2   3/4    1      next, which after the last is the first

Peng et al., "Shape As Points: a differentiable Poisson solver", NeurIPS 2021, section
3.1. Shape letters: b shapes, n points with normals, t points, r nodes an axis.
"""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

TINY = 1e-20  # least divisor, for clouds of which no point counts


def rasterise(
  points: Float[Array, "b n 3"], normals: Float[Array, "b n 3"], side: int
) -> Float[Array, "b r r r 3"]:
  """The sum of the normals around every node, each spread over the 8 nearest nodes.

  A sum and not a mean, as published: a region with twice the points counts twice.

  Args:
    points: coordinates in units of the cube; beyond [0, 1) they continue on the other
      side.
    normals: of any length; those of zero have no effect.
    side: r.
  """
  b = len(points)
  corners = _corners(points, side)
  rows = jnp.concatenate([rows.reshape(-1) for rows, _ in corners])
  spread = [
    jnp.concatenate([(share * normals[..., axis]).reshape(-1) for _, share in corners])
    for axis in range(3)
  ]
  total = jax.ops.segment_sum(jnp.stack(spread, -1), rows, b * side**3)
  return total.reshape(b, side, side, side, 3)


def solve(raster: Float[Array, "b r r r 3"], sigma: float) -> Float[Array, "b r r r"]:
  """The field of mean 0 whose Laplacian is minus the divergence of the raster.

  Normals that point outwards make it large inside.

  Args:
    raster: sums of normals, of any unit.
    sigma: smoothing by a Gaussian of standard deviation sigma / pi cells; 0 for none.
  """
  side = raster.shape[1]
  gain, *frequencies = (
    jnp.asarray(array, raster.dtype) for array in _filter(side, sigma)
  )
  # A transform for each axis of normals: all in one take a CPU longer.
  along = sum(
    w[None] * jnp.fft.rfftn(raster[..., axis], axes=(1, 2, 3))
    for axis, w in enumerate(frequencies)
  )  # i times this is the divergence
  return jnp.fft.irfftn(1j * gain[None] * along, s=(side,) * 3, axes=(1, 2, 3))


def sample(
  grid: Float[Array, "b r r r"], points: Float[Array, "b t 3"]
) -> Float[Array, "b t"]:
  """Trilinear interpolation of a periodic grid.

  Args:
    grid: values at the nodes.
    points: coordinates in units of the cube, as of `rasterise`.
  """
  values = grid.reshape(-1)
  return sum(
    share * values.at[rows].get(mode="promise_in_bounds")
    for rows, share in _corners(points, grid.shape[1])
  )


def indicator(
  points: Float[Array, "b n 3"],
  normals: Float[Array, "b n 3"],
  side: int,
  sigma: float,
  weights: Float[Array, "b n"] | None = None,
  *,
  corner_outside: bool = False,
) -> Float[Array, "b r r r"]:
  """The field of points with normals: about -0.5 inside, 0.5 outside, 0 on them.

  Its mean at the points is 0, and its absolute value at node (0, 0, 0), which should be
  outside, is 0.5; so a common factor of all normals has no effect. The sign is that of
  the published code; normals that point inwards change it.

  Args:
    points: coordinates in units of the cube.
    normals: pointing outwards, of any length.
    side: r.
    sigma: as of `solve`.
    weights: 0 for points that do not count, such as padding, and 1 for the others; any
      number between them counts as that share of a point. None for ones.
    corner_outside: whether node (0, 0, 0) is outside, whichever way normals point. Then
      normals of either side give the same field, and a network that starts with the
      wrong one is not kept there by the field's jump where the corner is 0.

  Returns:
    The field at the nodes; 0 everywhere if no point counts.
  """
  if weights is None:
    weights = jnp.ones_like(points[..., 0])
  field = solve(rasterise(points, weights[..., None] * normals, side), sigma)
  count = jnp.maximum(weights.sum(1), TINY)
  surface = (weights * sample(field, points)).sum(1) / count
  field = field - surface.reshape(-1, 1, 1, 1)
  corner = field[:, :1, :1, :1]
  if corner_outside:
    field = field * jnp.where(corner > 0, -1, 1)
  return -0.5 * field / jnp.maximum(jnp.abs(corner), TINY)


def _corners(
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


@functools.lru_cache(maxsize=8)
def _filter(
  side: int, sigma: float
) -> tuple[
  Float[np.ndarray, "r r h"],
  Float[np.ndarray, "r 1 1"],
  Float[np.ndarray, "1 r 1"],
  Float[np.ndarray, "1 1 h"],
]:
  """G / (|w|^2 - 1e-6) and the angular frequencies w of each axis, h = r // 2 + 1.

  1e-6 is the published margin. The mean, w = 0, which normals do not determine, is 0.
  """
  whole = np.fft.fftfreq(side, 1 / side)  # whole periods in the cube
  half = np.fft.rfftfreq(side, 1 / side)
  k = whole[:, None, None], whole[None, :, None], half[None, None]
  squares = sum(np.square(axis) for axis in k)
  smooth = np.exp(-2 * sigma**2 * squares / side**2)
  gain = smooth / (4 * np.pi**2 * squares - 1e-6)
  gain[0, 0, 0] = 0
  return gain, *(2 * np.pi * axis for axis in k)
