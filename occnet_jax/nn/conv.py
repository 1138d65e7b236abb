"""Convolutions and pooling of images and grids, padded alike on both sides (device).

Features are the last axis: images (b, h, w, f), grids (b, r, r, r, f). JAX's "SAME"
pads a strided window unevenly where PyTorch pads evenly, so no name of a padding is
used here, only its size.
"""

import functools
import itertools
import math

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from occnet_jax.nn import winograd
from occnet_jax.nn.linear import uniform_by_fan_in

COLOUR_MEAN = (0.485, 0.456, 0.406)  # of ImageNet's red, green and blue in [0, 1]
COLOUR_DEVIATION = (0.229, 0.224, 0.225)


def standardise_colours(images: Float[Array, "b h w 3"]) -> Float[Array, "b h w 3"]:
  """Colours in [0, 1] -> colours of mean 0 and deviation 1 over ImageNet."""
  mean, deviation = (
    jnp.array(a).reshape(1, 1, 1, 3) for a in (COLOUR_MEAN, COLOUR_DEVIATION)
  )
  return (images - mean) / deviation


class Conv(nn.Module):
  """Convolution over all axes between the first and the last.

  Attributes:
    features: size of the last axis of the result.
    width: of the window, the same along every axis.
    stride: step of the window.
    padding: zeros added at either end of every axis.
    use_bias: whether a bias is added.
    kernel_init: None for PyTorch's default, U(+-1/sqrt(fan_in)), as for the bias.
  """

  features: int
  width: int = 3
  stride: int = 1
  padding: int = 0
  use_bias: bool = True
  kernel_init: nn.initializers.Initializer | None = None

  @nn.compact
  def __call__(self, x: Float[Array, "b *s i"]) -> Float[Array, "b *t o"]:
    axes = x.ndim - 2
    default = uniform_by_fan_in(self.width**axes * x.shape[-1])
    shape = (self.width,) * axes + (x.shape[-1], self.features)
    kernel = self.param("kernel", self.kernel_init or default, shape)
    convolve = convolve_on_cpu if jax.default_backend() == "cpu" else convolve_by_xla
    y = convolve(x, kernel, self.stride, self.padding)
    if not self.use_bias:
      return y
    bias = self.param("bias", default, (self.features,))
    return y + bias.reshape((1,) * (axes + 1) + (-1,))


class ConvTranspose(nn.Module):
  """Transposed convolution: every input adds its multiple of the kernel to the result.

  PyTorch's ConvTranspose. A side n becomes stride (n - 1) - 2 padding + kernel_size +
  output_padding. The kernel (*window, o, i) is that of the convolution whose transpose
  this is, which takes o features to i.

  Attributes:
    features: size of the last axis of the result.
    kernel_size: side of the window, the same along every axis.
    stride: distance of the windows of two neighbouring inputs.
    padding: entries cut from either end of every axis of the result.
    output_padding: entries added to the high end of every axis of the result.
  """

  features: int
  kernel_size: int = 3
  stride: int = 2
  padding: int = 1
  output_padding: int = 1

  @nn.compact
  def __call__(self, x: Float[Array, "b *s i"]) -> Float[Array, "b *t o"]:
    axes = x.ndim - 2
    # PyTorch takes the size of the result for the fan-in of a transposed convolution.
    default = uniform_by_fan_in(self.kernel_size**axes * self.features)
    shape = (self.kernel_size,) * axes + (self.features, x.shape[-1])
    kernel = self.param("kernel", default, shape)
    bias = self.param("bias", default, (self.features,))
    # As a convolution of the input with stride - 1 zeros between its entries: the
    # window is reversed, and padding by kernel_size - 1 lets it touch each entry once.
    low = self.kernel_size - 1 - self.padding
    y = lax.conv_transpose(
      x,
      kernel,
      (self.stride,) * axes,
      [(low, low + self.output_padding)] * axes,
      dimension_numbers=_dimension_numbers(axes),
      transpose_kernel=True,
    )
    return y + bias.reshape((1,) * (axes + 1) + (-1,))


def _dimension_numbers(axes: int) -> tuple[str, str, str]:
  letters = "DHW"[-axes:]
  return f"N{letters}C", f"{letters}IO", f"N{letters}C"


def convolve_by_xla(
  x: Float[Array, "b *s i"], kernel: Float[Array, "*w i o"], stride: int, padding: int
) -> Float[Array, "b *t o"]:
  """The convolution of XLA."""
  axes = x.ndim - 2
  return lax.conv_general_dilated(
    x,
    kernel,
    (stride,) * axes,
    [(padding, padding)] * axes,
    dimension_numbers=_dimension_numbers(axes),
  )


def convolve_by_product(
  x: Float[Array, "b *s i"], kernel: Float[Array, "*w i o"], stride: int, padding: int
) -> Float[Array, "b *t o"]:
  """The same as one matrix product: the shifted inputs of a window, side by side."""
  rows = _windows(x, kernel.shape, stride, padding)
  outputs = kernel.shape[-1]
  product = rows.reshape(-1, rows.shape[-1]) @ kernel.reshape(-1, outputs)
  return product.reshape(*rows.shape[:-1], outputs)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def convolve_on_cpu(
  x: Float[Array, "b *s i"], kernel: Float[Array, "*w i o"], stride: int, padding: int
) -> Float[Array, "b *t o"]:
  """The same in the ways that are fastest on a CPU; benchmarks/convolution.py.

  There XLA's gradient by the kernel, and in 3D and of few pixels everything, takes
  several times as long as the matrix product that it amounts to, and a 3 x 3
  convolution up to twice as long as Winograd's.
  """
  return _forward(x, kernel, stride, padding)


def _forward(x, kernel, stride, padding):
  if _winograd_applies(x, kernel, stride, padding):
    return winograd.convolve(x, kernel)
  places = math.prod(-(-side // stride) for side in x.shape[1:-1])
  by_xla = x.ndim == 4 and places > 64
  convolve = convolve_by_xla if by_xla else convolve_by_product
  return convolve(x, kernel, stride, padding)


def _winograd_applies(x, kernel, stride, padding) -> bool:
  """Whether it may be used, and sides and features are large enough to gain by it."""
  form = (kernel.shape[:-2], stride, padding)
  return (
    form == ((3, 3), 1, 1) and min(x.shape[1:3]) >= 6 and min(kernel.shape[2:]) >= 32
  )


def _convolve_forward(x, kernel, stride, padding):
  return _forward(x, kernel, stride, padding), (x, kernel)


def _convolve_backward(stride, padding, kept, cotangent):
  x, kernel = kept
  if _winograd_applies(x, kernel, stride, padding):
    return (
      winograd.gradient_by_input(kernel, cotangent),
      winograd.gradient_by_kernel(x, cotangent),
    )
  _, by_x = jax.vjp(lambda x: _forward(x, kernel, stride, padding), x)
  rows = _windows(x, kernel.shape, stride, padding)  # anew: they are large
  rows = rows.reshape(-1, rows.shape[-1])
  by_kernel = rows.T @ cotangent.reshape(-1, cotangent.shape[-1])
  return *by_x(cotangent), by_kernel.reshape(kernel.shape)


convolve_on_cpu.defvjp(_convolve_forward, _convolve_backward)


def _windows(
  x: Float[Array, "b *s i"], form: tuple[int, ...], stride: int, padding: int
) -> Float[Array, "b *t k"]:
  """What the window of a kernel of this form sees at every place, in a row."""
  return jnp.concatenate(_shifted(x, form[0], stride, padding, 0.0), axis=-1)


def _shifted(
  x: Float[Array, "b *s i"], width: int, stride: int, padding: int, value: float
) -> list[Float[Array, "b *t i"]]:
  """What each place of the window sees; `value` stands where x ends."""
  axes = x.ndim - 2
  pads = [(0, 0), *[(padding, padding)] * axes, (0, 0)]
  padded = jnp.pad(x, pads, constant_values=value)
  sides = [(side - width) // stride + 1 for side in padded.shape[1:-1]]
  shifted = []
  for offset in itertools.product(range(width), repeat=axes):
    ends = [o + stride * (n - 1) + 1 for o, n in zip(offset, sides, strict=True)]
    shifted.append(
      lax.slice(
        padded,
        (0, *offset, 0),
        (padded.shape[0], *ends, padded.shape[-1]),
        (1, *[stride] * axes, 1),
      )
    )
  return shifted


def max_pool(
  x: Float[Array, "b h w f"], width: int, padding: int
) -> Float[Array, "b i j f"]:
  """The largest entry of every window of stride 2; what is padded never wins.

  The gradient goes to the first of equal ones, as PyTorch has it; XLA's own takes
  several times as long on a CPU.
  """
  return _max_pool(x, width, padding, x.shape[1:3])


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2, 3))
def _max_pool(x, width, padding, sides):
  return _pool_forward(x, width, padding, sides)[0]


def _pool_forward(x, width, padding, sides):
  del sides
  shifted = _shifted(x, width, 2, padding, -jnp.inf)
  largest = functools.reduce(jnp.maximum, shifted)
  place = jnp.zeros(largest.shape, jnp.uint8)
  for i in reversed(range(len(shifted))):
    place = jnp.where(shifted[i] == largest, jnp.uint8(i), place)
  return largest, place


def _pool_backward(width, padding, sides, place, cotangent):
  half = [-(-(side + 2 * padding) // 2) for side in sides]  # of what was padded

  def seen(i, j):
    """What the places (i, j) of the windows pass on, at every second pixel."""
    part = jnp.where(place == i * width + j, cotangent, 0)
    before = (i // 2, j // 2)
    after = [half[k] - before[k] - part.shape[1 + k] for k in range(2)]
    pads = zip(before, after, strict=True)
    return jnp.pad(part, [(0, 0), *pads, (0, 0)])

  parts = [
    [
      sum(seen(i, j) for i in range(row, width, 2) for j in range(column, width, 2))
      for column in range(2)
    ]
    for row in range(2)
  ]
  whole = winograd.interleave(parts)
  return (whole[:, padding : padding + sides[0], padding : padding + sides[1]],)


_max_pool.defvjp(_pool_forward, _pool_backward)


def unflatten_channels_first(
  rows: Float[Array, "b k"], side: int, axes: int
) -> Float[Array, "b *s f"]:
  """The inverse of `flatten_channels_first` for images or grids of equal sides."""
  return jnp.moveaxis(rows.reshape(rows.shape[0], -1, *(side,) * axes), 1, -1)


def flatten_channels_first(x: Float[Array, "b *s f"]) -> Float[Array, "b k"]:
  """One row per shape, in the order (f, ...) that PyTorch's layout has."""
  return jnp.moveaxis(x, -1, 1).reshape(x.shape[0], -1)
