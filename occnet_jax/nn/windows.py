"""Sliding windows of images and grids, taken apart by position (device, jnp).

Axes: shapes first, features last, and the axes of space between them. All windows are
cubes. For a window of 3 pixels, stride 2 and padding 1, a row of six pixels is read as

  padding  0 | 1  2  3  4  5  6 | 0
  window 0 [-----]
  window 1        [-----]
  window 2              [-----]

and taken apart into three arrays: the first, second and third pixel of every window,
(0, 2, 4), (1, 3, 5) and (2, 4, 6).
"""

import itertools

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float


def split_windows(
  x: Float[Array, "b *s i"],
  kernel_size: int,
  stride: int,
  padding: int,
  fill: float = 0.0,
) -> list[Float[Array, "b *t i"]]:
  """The pixels of all windows, one array for each position in the window.

  Args:
    x: images or grids.
    kernel_size: side of the window.
    stride: distance between neighbouring windows.
    padding: width of the border around x.
    fill: value of the border.

  Returns:
    Arrays in the order of the kernel's entries: the last axis of space runs fastest.
  """
  axes = x.ndim - 2
  border = [(0, 0), *[(padding, padding)] * axes, (0, 0)]
  padded = jnp.pad(x, border, constant_values=fill)
  counts = [(side - kernel_size) // stride + 1 for side in padded.shape[1:-1]]
  positions = []
  for offset in itertools.product(range(kernel_size), repeat=axes):
    # The last window starts at pixel stride (n - 1).
    ends = [o + stride * (n - 1) + 1 for o, n in zip(offset, counts, strict=True)]
    positions.append(
      lax.slice(
        padded,
        (0, *offset, 0),
        (padded.shape[0], *ends, padded.shape[-1]),
        (1, *[stride] * axes, 1),
      )
    )
  return positions


def window_rows(
  x: Float[Array, "b *s i"], kernel_size: int, stride: int, padding: int
) -> Float[Array, "b *t k"]:
  """The pixels of every window in one row, k = kernel_size^axes i (im2col)."""
  tiles = kernel_size == stride and not padding
  if tiles and all(side % stride == 0 for side in x.shape[1:-1]):
    return _tile_rows(x, stride)
  return jnp.concatenate(split_windows(x, kernel_size, stride, padding), axis=-1)


def _tile_rows(x: Float[Array, "b *s i"], side: int) -> Float[Array, "b *t k"]:
  """`window_rows` of windows that tile the image: one transposition in place of slices.

  (b, s0, s1, ..., i) -> (b, s0 / n, n, s1 / n, n, ..., i), then the n go before i.
  """
  b, *sides, i = x.shape
  axes = len(sides)
  split = x.reshape(b, *(n for s in sides for n in (s // side, side)), i)
  order = *range(1, 2 * axes, 2), *range(2, 2 * axes + 1, 2)
  rows = split.transpose(0, *order, 2 * axes + 1)
  return rows.reshape(b, *(s // side for s in sides), side**axes * i)


def interleave(parts: list[Float[Array, "b *s f"]]) -> Float[Array, "b *t f"]:
  """The image or grid of twice the side whose pixel 2 i + r is pixel i of a part.

  Args:
    parts: one for each r in {0, 1}^axes, in the order of binary numbers: of an image
      the parts of even rows come first, of these the one of even columns.
  """
  b, *sides, f = parts[0].shape
  axes = len(sides)
  y = jnp.stack(parts).reshape(*(2,) * axes, b, *sides, f)
  # (r0, r1, ..., b, i0, i1, ..., f) -> (b, i0, r0, i1, r1, ..., f)
  pairs = [axis for k in range(axes) for axis in (axes + 1 + k, k)]
  y = y.transpose(axes, *pairs, y.ndim - 1)
  return y.reshape(b, *(2 * side for side in sides), f)
