"""Encoder of labelled points into a distribution of latent codes (device, jnp)."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from occnet_jax.nn.decoders import activation
from occnet_jax.nn.linear import Linear
from occnet_jax.nn.pooling import max_over


class LatentEncoder(nn.Module):
  """q(z | points, occupancies, c): a PointNet that ends in a mean and a log deviation.

  Paper, section 3.2 (the encoder of the variational bound, equation 4);
  "encoder_latent simple" in the reference.

  Attributes:
    z_dim: size of the latent code.
    hidden_dim: features of every layer.
    leaky: LeakyReLU(0.2) instead of ReLU, and means over points instead of maxima.
  """

  z_dim: int = 128
  hidden_dim: int = 128
  leaky: bool = False

  @nn.compact
  def __call__(
    self,
    points: Float[Array, "b t 3"],
    occupancies: Float[Array, "b t"],
    c: Float[Array, "b c"] | None,
    *,
    train: bool,
  ) -> tuple[Float[Array, "b z"], Float[Array, "b z"]]:
    """Mean and logarithm of the standard deviation of z; c is None without inputs."""
    del train  # no layer behaves differently
    act = activation(self.leaky)
    pool = jnp.mean if self.leaky else max_over
    net = Linear(self.hidden_dim, name="fc_0")(occupancies[..., None])
    net = net + Linear(self.hidden_dim, name="fc_pos")(points)
    if c is not None:
      net = net + Linear(self.hidden_dim, name="fc_c")(c)[:, None]
    net = Linear(self.hidden_dim, name="fc_1")(act(net))
    for name in ("fc_2", "fc_3"):
      net = Linear(self.hidden_dim, name=name)(act(net), act(pool(net, 1)))
    pooled = pool(net, 1)
    mean = Linear(self.z_dim, name="fc_mean")(pooled)
    return mean, Linear(self.z_dim, name="fc_logstd")(pooled)
