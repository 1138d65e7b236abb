"""Convolutions in the forms that are fastest on a CPU, and their transposes (jnp).

Arguments and results are those of `conv_xla`; benchmarks/convolution.py has the times.
On a CPU, XLA's gradient by the kernel of a strided convolution, and in 3D or for few
pixels every one of the three, takes several times as long as the matrix product that it
amounts to, and a 3 x 3 convolution of many features up to twice as long as Winograd's.
A grid with stride 1 is convolved slice by slice, as images. Products of windows of 3^3
cells come last also because they compile slowly, a kernel for each of 27 slices.
"""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from occnet_jax.nn import conv_xla, winograd
from occnet_jax.nn.windows import window_rows

FEW_WINDOWS = 64  # per image, up to which a product is faster than XLA's convolution
SMALLEST_SLICE = 16  # cells, below which a product is faster than convolved slices
FEW_FEATURES = 48  # of a grid, up to which all slices of a kernel are convolved at once


def convolve(
  x: Float[Array, "b *s i"], kernel: Float[Array, "*w i o"], stride: int, padding: int
) -> Float[Array, "b *t o"]:
  """The convolution by Winograd's algorithm, by XLA or as a matrix product."""
  if _winograd_applies(x.shape[1:-1], kernel.shape, stride, padding):
    return winograd.convolve(x, kernel)
  if _slices_apply(x.shape[1:-1], kernel.shape[0], stride):
    if _few_features(kernel.shape):
      return _convolve_slices_at_once(x, kernel, padding)
    return _convolve_slices(x, kernel, padding)
  windows = math.prod(-(-side // stride) for side in x.shape[1:-1])
  if x.ndim == 4 and windows > FEW_WINDOWS:
    return conv_xla.convolve(x, kernel, stride, padding)
  return _convolve_by_product(x, kernel, stride, padding)


def gradient_by_input(
  kernel: Float[Array, "*w i o"],
  cotangent: Float[Array, "b *t o"],
  stride: int,
  padding: int,
  sides: tuple[int, ...],
) -> Float[Array, "b *s i"]:
  """`convolve` transposed as a linear map of an x of these sides."""
  if _winograd_applies(sides, kernel.shape, stride, padding):
    return winograd.gradient_by_input(kernel, cotangent)
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
  if _winograd_applies(x.shape[1:-1], shape, stride, padding):
    return winograd.gradient_by_kernel(x, cotangent)
  if _slices_apply(x.shape[1:-1], kernel_size, stride):
    if _few_features(shape):
      return _slices_gradient_by_product(x, cotangent, padding, kernel_size)
    return _slices_gradient_by_kernel(x, cotangent, padding, kernel_size)
  windows = math.prod(cotangent.shape[1:-1])
  is_image = x.ndim == 4 and kernel_size > 1 and windows > FEW_WINDOWS
  if is_image and stride == 1 and x.dtype == jnp.float32:  # others XLA does by loops
    # Of few features the rows of all windows are nine times the image, and the product
    # takes three to four times as long as XLA's form.
    return conv_xla.gradient_by_kernel(x, cotangent, stride, padding, kernel_size)
  # The rows are made again here: kept from `convolve` they would fill the memory.
  rows = window_rows(x, kernel_size, stride, padding)
  product = rows.reshape(-1, rows.shape[-1]).T @ cotangent.reshape(-1, shape[-1])
  return product.reshape(shape)


def _convolve_by_product(x, kernel, stride, padding):
  """The rows of all windows times the kernel as a matrix (k, o)."""
  rows = window_rows(x, kernel.shape[0], stride, padding)
  outputs = kernel.shape[-1]
  product = rows.reshape(-1, rows.shape[-1]) @ kernel.reshape(-1, outputs)
  return product.reshape(*rows.shape[:-1], outputs)


def _slices_apply(sides: tuple[int, ...], kernel_size: int, stride: int) -> bool:
  """Whether a grid is convolved slice by slice: stride 1, and slices of some size."""
  large = math.prod(sides[1:]) >= SMALLEST_SLICE
  return len(sides) == 3 and kernel_size > 1 and stride == 1 and large


def _few_features(kernel: tuple[int, ...]) -> bool:
  return max(kernel[-2:]) <= FEW_FEATURES


def _convolve_slices(
  x: Float[Array, "b *s i"], kernel: Float[Array, "*w i o"], padding: int
) -> Float[Array, "b *t o"]:
  """A grid's convolution as a sum of convolutions of its slices as images.

  Slice d of the result is the sum over k of slice d + k of the padded grid, convolved
  with slice k of the kernel. On a CPU XLA is much faster at images than at grids, and
  rows of whole windows would take 27 times the memory of the grid.
  """
  padded = _pad_slices(x, padding)
  b, slices, *image = padded.shape
  depth = slices - kernel.shape[0] + 1
  result = 0.0
  for k in range(kernel.shape[0]):
    images = padded[:, k : k + depth].reshape(b * depth, *image)
    result = result + conv_xla.convolve(images, kernel[k], 1, padding)
  return result.reshape(b, depth, *result.shape[1:])


def _convolve_slices_at_once(
  x: Float[Array, "b *s i"], kernel: Float[Array, "*w i o"], padding: int
) -> Float[Array, "b *t o"]:
  """The same sum, with all slices of the kernel side by side as one of k o features.

  Every padded slice is convolved with slices 0 .. k - 1 of the kernel in one call. Of
  few features this is as fast, and it compiles in half the time:

    padded slice    0    1    2    3        result 0 is part 0 of slice 0, part 1 of
    parts          012  012  012  012       slice 1 and part 2 of slice 2
  """
  size, (*_, i, o) = kernel.shape[0], kernel.shape
  padded = _pad_slices(x, padding)
  b, slices, *image = padded.shape
  depth = slices - size + 1
  joined = jnp.moveaxis(kernel, 0, 3).reshape(size, size, i, size * o)
  parts = conv_xla.convolve(padded.reshape(b * slices, *image), joined, 1, padding)
  parts = parts.reshape(b, slices, *parts.shape[1:])
  return sum(parts[:, k : k + depth, ..., k * o : (k + 1) * o] for k in range(size))


def _slices_gradient_by_product(
  x: Float[Array, "b *s i"],
  cotangent: Float[Array, "b *t o"],
  padding: int,
  kernel_size: int,
) -> Float[Array, "*w i o"]:
  """The transpose as a map of the kernel: one product for all slices of the kernel."""
  rows, _ = _slice_rows(x, padding, kernel_size)
  last = kernel_size - 1
  columns = jnp.concatenate(
    [
      jnp.pad(cotangent, [(0, 0), (k, last - k), *[(0, 0)] * 3])
      for k in range(kernel_size)
    ],
    -1,
  )
  product = rows.reshape(-1, rows.shape[-1]).T @ columns.reshape(-1, columns.shape[-1])
  shape = (kernel_size, kernel_size, x.shape[-1], kernel_size, cotangent.shape[-1])
  return jnp.moveaxis(product.reshape(shape), 3, 0)


def _slice_rows(
  x: Float[Array, "b *s i"], padding: int, kernel_size: int
) -> tuple[Float[Array, "b *t k"], int]:
  """The rows of the windows of every padded slice, and the slices of the result."""
  padded = _pad_slices(x, padding)
  b, slices, *image = padded.shape
  rows = window_rows(padded.reshape(b * slices, *image), kernel_size, 1, padding)
  return rows.reshape(b, slices, *rows.shape[1:]), slices - kernel_size + 1


def _slices_gradient_by_kernel(
  x: Float[Array, "b *s i"],
  cotangent: Float[Array, "b *t o"],
  padding: int,
  kernel_size: int,
) -> Float[Array, "*w i o"]:
  """The transpose of `_convolve_slices` as a map of the kernel, one slice at a time."""
  padded, depth = _pad_slices(x, padding), cotangent.shape[1]
  b, slices, *image = padded.shape
  rows = window_rows(padded.reshape(b * slices, *image), kernel_size, 1, padding)
  rows = rows.reshape(b, slices, -1, rows.shape[-1])
  columns = cotangent.reshape(-1, cotangent.shape[-1])
  products = [
    rows[:, k : k + depth].reshape(-1, rows.shape[-1]).T @ columns
    for k in range(kernel_size)
  ]
  shape = (kernel_size,) * 3 + (x.shape[-1], cotangent.shape[-1])
  return jnp.stack(products).reshape(shape)


def _pad_slices(x: Float[Array, "b *s i"], padding: int) -> Float[Array, "b *t i"]:
  return jnp.pad(x, [(0, 0), (padding, padding), *[(0, 0)] * 3])


def _winograd_applies(
  sides: tuple[int, ...], kernel: tuple[int, ...], stride: int, padding: int
) -> bool:
  """Whether the form is right, and sides and features are large enough to gain."""
  form = (kernel[:-2], stride, padding)
  return form == ((3, 3), 1, 1) and min(sides) >= 6 and min(kernel[2:]) >= 32
