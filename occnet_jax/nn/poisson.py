"""Poisson surface reconstruction on a periodic grid, differentiable (device, jnp).

Points with normals become the indicator of what they enclose: the field phi whose
Laplacian is minus the divergence of the normals, which Fourier transforms solve for.
There are no weights, and gradients reach points, normals and weights of points.

The cube is [0, 1)^3 and periodic, see nn/periodic.py.

Peng et al., "Shape As Points: a differentiable Poisson solver", NeurIPS 2021, section
3.1. Shape letters: b shapes, n points with normals, r nodes an axis.
"""

import functools

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from occnet_jax.nn import periodic

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
  return periodic.spread(points, normals, side)


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
  surface = (weights * periodic.read(field, points)).sum(1) / count
  field = field - surface.reshape(-1, 1, 1, 1)
  corner = field[:, :1, :1, :1]
  if corner_outside:
    field = field * jnp.where(corner > 0, -1, 1)
  return -0.5 * field / jnp.maximum(jnp.abs(corner), TINY)


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
