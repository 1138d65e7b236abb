"""Decoders: points (b, t, 3) and a code (b, c) -> logits (b, t) (device, jnp)."""

from collections.abc import Callable

import flax.linen as nn
from jaxtyping import Array, Float

from occnet_jax.nn.blocks import (
  ConditionalBatchNorm,
  ConditionalResnetBlock,
  Linear,
  fourier_features,
)


class CBatchNormDecoder(nn.Module):
  """Five residual blocks whose batch norms are conditioned on the code.

  Paper, section 3.1 and Figure 5 of its supplementary; "cbatchnorm" in the reference.

  Attributes:
    hidden_size: features of every layer.
    leaky: LeakyReLU(0.2) instead of ReLU before the last layer.
    octaves: of Fourier features of the points; 0 for their coordinates alone.
    axis_name, unbiased_variance: as of `nn.blocks.BatchNorm`.
  """

  hidden_size: int = 256
  leaky: bool = False
  octaves: int = 0
  axis_name: str | None = None
  unbiased_variance: bool = True

  @nn.compact
  def __call__(
    self,
    points: Float[Array, "b t 3"],
    z: Float[Array, "b z"] | None,
    c: Float[Array, "b c"],
    *,
    train: bool,
  ) -> Float[Array, "b t"]:
    norm = {"axis_name": self.axis_name, "unbiased_variance": self.unbiased_variance}
    net = Linear(self.hidden_size, name="fc_p")(fourier_features(points, self.octaves))
    if z is not None:
      net = net + Linear(self.hidden_size, name="fc_z")(z)[:, None]
    for i in range(5):
      net = ConditionalResnetBlock(**norm, name=f"block{i}")(net, c, train=train)
    net = ConditionalBatchNorm(**norm, name="bn")(net, c, train=train)
    return Linear(1, name="fc_out")(activation(self.leaky)(net))[..., 0]


def activation(leaky: bool) -> Callable[[Array], Array]:
  """The reference's outer activation: ReLU, or LeakyReLU of slope 0.2."""
  return (lambda x: nn.leaky_relu(x, 0.2)) if leaky else nn.relu
