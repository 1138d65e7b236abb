"""Linear maps with PyTorch's initial values (device, jnp).

Kernel and bias are uniform in +-1/sqrt(fan_in), as in the reference implementation.
"""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from occnet_jax.nn.precision import matmul


def uniform_by_fan_in(fan_in: int) -> nn.initializers.Initializer:
  """U(-1/sqrt(fan_in), 1/sqrt(fan_in)), for weights and biases alike."""
  bound = fan_in**-0.5

  def init(key, shape, dtype=jnp.float32):
    return jax.random.uniform(key, shape, dtype, -bound, bound)

  return init


class Linear(nn.Module):
  """[part, part, ...] @ kernel + bias, mostly of a single part.

  A part (b, j) beside parts (b, t, i) holds features that all points of a shape have in
  common; its product is computed once per shape instead of once per point.

  Attributes:
    features: size of the last axis of the result.
    use_bias: whether a bias is added.
    kernel_init, bias_init: None for the reference's default, U(+-1/sqrt(fan_in)).
  """

  features: int
  use_bias: bool = True
  kernel_init: nn.initializers.Initializer | None = None
  bias_init: nn.initializers.Initializer | None = None

  @nn.compact
  def __call__(self, *parts: Float[Array, "..."]) -> Float[Array, "... o"]:
    """The map of the parts side by side, as `multiply_parts` takes them."""
    fan_in = sum(part.shape[-1] for part in parts)
    default = uniform_by_fan_in(fan_in)
    kernel = self.param("kernel", self.kernel_init or default, (fan_in, self.features))
    y = multiply_parts(parts, kernel)
    if not self.use_bias:
      return y
    bias = self.param("bias", self.bias_init or default, (self.features,))
    return y + _as_row(bias, y.ndim)


class WeightNormLinear(nn.Module):
  """Linear map whose kernel is a direction and a length: g v / |v| for each output.

  Salimans and Kingma, "Weight normalization", NeurIPS 2016. It starts as a plain linear
  map with PyTorch's initial values: g = |v|.

  Attributes:
    features: size of the last axis of the result.
  """

  features: int

  @nn.compact
  def __call__(self, *parts: Float[Array, "..."]) -> Float[Array, "... o"]:
    """The map of the parts side by side, as `multiply_parts` takes them."""
    fan_in = sum(part.shape[-1] for part in parts)
    default = uniform_by_fan_in(fan_in)
    direction = self.param("kernel", default, (fan_in, self.features))
    length = jnp.sqrt(jnp.square(direction).sum(0))
    scale = self.param("scale", lambda key: length)
    bias = self.param("bias", default, (self.features,))
    y = multiply_parts(parts, direction * (scale / length)[None])
    return y + _as_row(bias, y.ndim)


def multiply_parts(
  parts: Sequence[Float[Array, "..."]], kernel: Float[Array, "i o"]
) -> Float[Array, "... o"]:
  """The product of arrays side by side along the last axis with one kernel.

  Args:
    parts: features (b, t, i) of points, or (b, i) of shapes, which all points of a
      shape share.
    kernel: one row for each feature, in the order of the parts.
  """
  axes, row, total = max(part.ndim for part in parts), 0, None
  for part in parts:
    product = matmul(part, kernel[row : row + part.shape[-1]])
    row += part.shape[-1]
    product = product if part.ndim == axes else product[:, None]
    total = product if total is None else total + product
  return total


def _as_row(bias: Float[Array, " o"], axes: int) -> Float[Array, "..."]:
  return bias.reshape((1,) * (axes - 1) + (-1,))
