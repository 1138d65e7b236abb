"""Max-pooling of images and grids, and over points (device, jnp)."""

import functools
import itertools

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from occnet_jax.nn.windows import interleave, split_windows

STRIDE = 2


def max_over(x: Float[Array, "..."], axis: int) -> Float[Array, "..."]:
  """The largest entry along an axis; the gradient goes to the first of equal entries.

  The gradient of jnp.max compares x with the maximum. If XLA computes x for this once
  more, in another fusion, and contracts a product and a sum to an FMA in one of the two
  alone, then the entries that it finds there are not those whose number it divides by.
  """
  first = lax.stop_gradient(jnp.argmax(x, axis, keepdims=True))
  return jnp.take_along_axis(x, first, axis).squeeze(axis)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def max_pool(
  x: Float[Array, "b *s f"], kernel_size: int, padding: int
) -> Float[Array, "b *t f"]:
  """The largest entry of every window of stride 2; padding is -inf.

  The gradient goes to the first of equal entries, as in PyTorch. XLA's own gradient
  takes several times as long on a CPU, so there it is computed from the positions of
  the largest entries in their windows.
  """
  return lax.platform_dependent(
    x,
    cpu=lambda x: _pool_on_cpu(x, kernel_size, padding)[0],
    default=lambda x: _pool_by_xla(x, kernel_size, padding),
  )


def _forward(x, kernel_size, padding):
  def by_xla(x):
    y = _pool_by_xla(x, kernel_size, padding)
    return y, jnp.zeros(y.shape, jnp.uint8)  # its gradient needs no positions

  y, position = lax.platform_dependent(
    x, cpu=lambda x: _pool_on_cpu(x, kernel_size, padding), default=by_xla
  )
  return y, (x, position)


def _backward(kernel_size, padding, residuals, cotangent):
  def on_cpu(x, position, cotangent):
    return _gradient_on_cpu(position, cotangent, kernel_size, padding, x.shape[1:-1])

  def by_xla(x, position, cotangent):
    del position
    _, pull = jax.vjp(lambda x: _pool_by_xla(x, kernel_size, padding), x)
    return pull(cotangent)[0]

  return (lax.platform_dependent(*residuals, cotangent, cpu=on_cpu, default=by_xla),)


max_pool.defvjp(_forward, _backward)


def _pool_by_xla(x, kernel_size, padding):
  axes = x.ndim - 2
  window, strides = (kernel_size,) * axes, (STRIDE,) * axes
  return nn.max_pool(x, window, strides, [(padding, padding)] * axes)


def _pool_on_cpu(x, kernel_size, padding):
  """The largest entries, and the position of the first of them in each window.

  An entry is compared with the largest before it, never for equality with the result:
  XLA may compute x anew for a comparison, with other roundings (`max_over`), and then
  no entry equals the result. Here rounding can only choose between entries that are
  equal up to rounding.
  """
  largest, *others = split_windows(x, kernel_size, STRIDE, padding, -jnp.inf)
  position = jnp.zeros(largest.shape, jnp.uint8)
  for i, entry in enumerate(others, 1):
    position = jnp.where(entry > largest, jnp.uint8(i), position)
    largest = jnp.maximum(largest, entry)
  return largest, position


def _gradient_on_cpu(position, cotangent, kernel_size, padding, sides):
  """Adds each cotangent to the pixel of the largest entry, without a scatter.

  Position (i, j) of window (k, l) is pixel (2 k + i, 2 l + j) of the padded image. So
  the pixels of even row take from the positions of even i alone, and those of odd row
  from the odd ones; likewise the columns, and the third axis of a grid. Each of these
  four images (eight grids) of half the side is a sum of shifted cotangents.
  """
  axes = len(sides)
  half = [-(-(side + 2 * padding) // 2) for side in sides]

  def passed_by(offset):
    """The cotangents of the windows whose largest entry is at (i, j)."""
    rank = 0
    for i in offset:
      rank = rank * kernel_size + i
    part = jnp.where(position == rank, cotangent, 0)
    before = [i // 2 for i in offset]  # window k reaches pixel k + i // 2 of its half
    after = [half[k] - before[k] - part.shape[1 + k] for k in range(axes)]
    return jnp.pad(part, [(0, 0), *zip(before, after, strict=True), (0, 0)])

  parts = []
  for parity in itertools.product((0, 1), repeat=axes):
    offsets = itertools.product(*(range(first, kernel_size, 2) for first in parity))
    parts.append(sum(passed_by(offset) for offset in offsets))
  padded = interleave(parts)
  kept = (slice(padding, padding + side) for side in sides)
  return padded[:, *kept]
