"""Linear maps with PyTorch's initial values (device, jnp).

Weight and bias are uniform in +-1/sqrt(fan_in), as in the reference implementation.
"""

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
  """[x, context] @ kernel + bias; the one place where a matrix product stands.

  `context` (b, j) is what all points of a shape share: its part of the product is
  computed once per shape instead of being tiled over the points.

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
  def __call__(
    self, x: Float[Array, "... i"], context: Float[Array, "b j"] | None = None
  ) -> Float[Array, "... o"]:
    own = x.shape[-1]
    fan_in = own + (0 if context is None else context.shape[-1])
    default = uniform_by_fan_in(fan_in)
    kernel = self.param("kernel", self.kernel_init or default, (fan_in, self.features))
    y = matmul(x, kernel[:own])
    if context is not None:
      y = y + matmul(context, kernel[own:])[:, None]
    if not self.use_bias:
      return y
    bias = self.param("bias", self.bias_init or default, (self.features,))
    return y + bias.reshape((1,) * (y.ndim - 1) + (-1,))
