"""Convolutions as XLA has them, and their two transposes (device, jnp).

Shape letters: s sides of the input, t sides of the result, w window; i features in,
o features out. `padding` zeros stand at both ends of every axis.
"""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float


def convolve(
  x: Float[Array, "b *s i"], kernel: Float[Array, "*w i o"], stride: int, padding: int
) -> Float[Array, "b *t o"]:
  """The convolution (without reversing the kernel, as in every neural network)."""
  axes = x.ndim - 2
  letters = "DHW"[-axes:]
  return lax.conv_general_dilated(
    x,
    kernel,
    (stride,) * axes,
    [(padding, padding)] * axes,
    dimension_numbers=(f"N{letters}C", f"{letters}IO", f"N{letters}C"),
  )


def gradient_by_input(
  kernel: Float[Array, "*w i o"],
  cotangent: Float[Array, "b *t o"],
  stride: int,
  padding: int,
  sides: tuple[int, ...],
) -> Float[Array, "b *s i"]:
  """`convolve` transposed as a linear map of an x of these sides."""
  x = jax.ShapeDtypeStruct(
    (cotangent.shape[0], *sides, kernel.shape[-2]), cotangent.dtype
  )
  transpose = jax.linear_transpose(lambda x: convolve(x, kernel, stride, padding), x)
  return transpose(cotangent)[0]


def gradient_by_kernel(
  x: Float[Array, "b *s i"],
  cotangent: Float[Array, "b *t o"],
  stride: int,
  padding: int,
  kernel_size: int,
) -> Float[Array, "*w i o"]:
  """`convolve` transposed as a linear map of the kernel."""
  shape = (kernel_size,) * (x.ndim - 2) + (x.shape[-1], cotangent.shape[-1])
  kernel = jax.ShapeDtypeStruct(shape, jnp.result_type(x))
  transpose = jax.linear_transpose(lambda k: convolve(x, k, stride, padding), kernel)
  return transpose(cotangent)[0]
