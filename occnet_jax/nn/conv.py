"""Convolutions of images (b, h, w, f) and grids (b, r, r, r, f) (device, jnp).

Features are the last axis. Padding is a number of zeros at both ends of every axis:
JAX's "SAME" pads a strided window unevenly, where PyTorch pads both ends alike. Which
form computes a convolution is chosen by the platform that the program is compiled for,
not by the machine that traces it, so a program that is exported from a CPU for a GPU
contains plain convolutions.
"""

import functools
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from occnet_jax.nn import conv_cpu, conv_xla
from occnet_jax.nn.linear import uniform_by_fan_in

Operation = tuple[Callable[..., Array], Callable[..., Array]]  # on a CPU, elsewhere
_CONVOLVE: Operation = conv_cpu.convolve, conv_xla.convolve
_BY_INPUT: Operation = conv_cpu.gradient_by_input, conv_xla.gradient_by_input
_BY_KERNEL: Operation = conv_cpu.gradient_by_kernel, conv_xla.gradient_by_kernel

IMAGENET_MEAN = (0.485, 0.456, 0.406)  # of red, green and blue in [0, 1]
IMAGENET_DEVIATION = (0.229, 0.224, 0.225)


class Conv(nn.Module):
  """Convolution over all axes between the first and the last.

  Attributes:
    features: size of the last axis of the result.
    kernel_size: side of the window, the same along every axis.
    stride: distance between neighbouring windows.
    padding: zeros added at either end of every axis.
    use_bias: whether a bias is added.
    kernel_init, bias_init: None for PyTorch's default, U(+-1/sqrt(fan_in)).
  """

  features: int
  kernel_size: int = 3
  stride: int = 1
  padding: int = 0
  use_bias: bool = True
  kernel_init: nn.initializers.Initializer | None = None
  bias_init: nn.initializers.Initializer | None = None

  @nn.compact
  def __call__(self, x: Float[Array, "b *s i"]) -> Float[Array, "b *t o"]:
    axes = x.ndim - 2
    default = uniform_by_fan_in(self.kernel_size**axes * x.shape[-1])
    shape = (self.kernel_size,) * axes + (x.shape[-1], self.features)
    kernel = self.param("kernel", self.kernel_init or default, shape)
    y = convolve(x, kernel, self.stride, self.padding)
    if not self.use_bias:
      return y
    bias = self.param("bias", self.bias_init or default, (self.features,))
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
    output_padding: entries added to the high end of every axis of the result, less than
      stride.
    kernel_init: None for PyTorch's default.
  """

  features: int
  kernel_size: int = 3
  stride: int = 2
  padding: int = 1
  output_padding: int = 1
  kernel_init: nn.initializers.Initializer | None = None

  @nn.compact
  def __call__(self, x: Float[Array, "b *s i"]) -> Float[Array, "b *t o"]:
    axes = x.ndim - 2
    # PyTorch takes the features of the result for the fan-in of a transposed kernel.
    default = uniform_by_fan_in(self.kernel_size**axes * self.features)
    shape = (self.kernel_size,) * axes + (self.features, x.shape[-1])
    kernel = self.param("kernel", self.kernel_init or default, shape)
    bias = self.param("bias", default, (self.features,))
    extra = self.kernel_size + self.output_padding - 2 * self.padding
    sides = tuple(self.stride * (side - 1) + extra for side in x.shape[1:-1])
    y = convolve_transposed(x, kernel, self.stride, self.padding, sides)
    return y + bias.reshape((1,) * (axes + 1) + (-1,))


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def convolve(
  x: Float[Array, "b *s i"], kernel: Float[Array, "*w i o"], stride: int, padding: int
) -> Float[Array, "b *t o"]:
  """The convolution in the form that suits the platform."""
  return _by_platform(_CONVOLVE, x, kernel, stride, padding)


def _convolve_forward(x, kernel, stride, padding):
  return convolve(x, kernel, stride, padding), (x, kernel)


def _convolve_backward(stride, padding, residuals, cotangent):
  x, kernel = residuals
  sides, kernel_size = x.shape[1:-1], kernel.shape[0]
  return (
    _by_platform(_BY_INPUT, kernel, cotangent, stride, padding, sides),
    _by_platform(_BY_KERNEL, x, cotangent, stride, padding, kernel_size),
  )


convolve.defvjp(_convolve_forward, _convolve_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def convolve_transposed(
  x: Float[Array, "b *s i"],
  kernel: Float[Array, "*w o i"],
  stride: int,
  padding: int,
  sides: tuple[int, ...],
) -> Float[Array, "b *t o"]:
  """The transpose of the convolution that takes a result of these sides to x's."""
  return _by_platform(_BY_INPUT, kernel, x, stride, padding, sides)


def _transposed_forward(x, kernel, stride, padding, sides):
  return convolve_transposed(x, kernel, stride, padding, sides), (x, kernel)


def _transposed_backward(stride, padding, sides, residuals, cotangent):
  # y = A x with the matrix A of the transposed kernel: x gets A^T dy, which is a
  # convolution of dy, and the kernel gets what that convolution's kernel would get if
  # dy were its input and x the cotangent of its result.
  del sides
  x, kernel = residuals
  kernel_size = kernel.shape[0]
  return (
    convolve(cotangent, kernel, stride, padding),
    _by_platform(_BY_KERNEL, cotangent, x, stride, padding, kernel_size),
  )


convolve_transposed.defvjp(_transposed_forward, _transposed_backward)


def _by_platform(operation: Operation, a: Array, b: Array, *settings) -> Array:
  """The operation of two arrays in the form of the platform it is compiled for."""
  on_cpu, by_xla = operation
  return lax.platform_dependent(
    a,
    b,
    cpu=lambda a, b: on_cpu(a, b, *settings),
    default=lambda a, b: by_xla(a, b, *settings),
  )


def standardise_colours(images: Float[Array, "b h w 3"]) -> Float[Array, "b h w 3"]:
  """Colours in [0, 1] -> colours of mean 0 and deviation 1 over ImageNet."""
  mean, deviation = (
    jnp.array(a).reshape(1, 1, 1, 3) for a in (IMAGENET_MEAN, IMAGENET_DEVIATION)
  )
  return (images - mean) / deviation


def flatten_channels_first(x: Float[Array, "b *s f"]) -> Float[Array, "b k"]:
  """One row per shape, in the order (f, ...) that PyTorch's layout has."""
  return jnp.moveaxis(x, -1, 1).reshape(x.shape[0], -1)


def unflatten_channels_first(
  rows: Float[Array, "b k"], side: int, axes: int
) -> Float[Array, "b *s f"]:
  """The inverse of `flatten_channels_first` for images or grids of equal sides."""
  return jnp.moveaxis(rows.reshape(rows.shape[0], -1, *(side,) * axes), 1, -1)
