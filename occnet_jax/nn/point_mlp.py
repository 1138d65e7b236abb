"""Perceptron of the features of a point, with ReLU or sine (device, jnp)."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from occnet_jax.nn.linear import Linear


class PointMLP(nn.Module):
  """Hidden layers of one width, and a linear one to a single value.

  With sines it is the network of Sitzmann et al., "Implicit neural representations with
  periodic activation functions", NeurIPS 2020: sin(omega (W x + b)) after every hidden
  layer, with the initial values of its section 3.2.

  Attributes:
    hidden_size: width of the hidden layers.
    hidden_layers: number of hidden layers.
    use_bias: whether layers have biases.
    omega: factor within the sines; 0 for ReLU instead.
  """

  hidden_size: int = 256
  hidden_layers: int = 4
  use_bias: bool = True
  omega: float = 0.0

  @nn.compact
  def __call__(self, features: Float[Array, "b t k"]) -> Float[Array, "b t"]:
    net = features
    for number in range(self.hidden_layers):
      net = self._linear(number, self.hidden_size, net)
      net = jnp.sin(self.omega * net) if self.omega else nn.relu(net)
    return self._linear(self.hidden_layers, 1, net)[..., 0]

  def _linear(self, number: int, size: int, net: Array) -> Array:
    if not self.omega:
      init = nn.initializers.he_normal()
    elif number == 0:  # the sines of the first layer span several periods
      init = _uniform(1 / net.shape[-1])
    else:  # the inputs of all further sines are normal with variance 1
      init = _uniform((6 / net.shape[-1]) ** 0.5 / self.omega)
    return Linear(size, self.use_bias, kernel_init=init, name=f"lin{number}")(net)


def _uniform(bound: float) -> nn.initializers.Initializer:
  def init(key, shape, dtype=jnp.float32):
    return jax.random.uniform(key, shape, dtype, -bound, bound)

  return init
