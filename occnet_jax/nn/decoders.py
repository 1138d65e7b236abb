"""Decoders: points (b, t, 3) and codes -> logits (b, t) (device, jnp).

Each takes a random latent code z (b, z) and a code c (b, c) of the observation, either
of which may be None. Names in quotes are those of the reference's configs.
"""

from collections.abc import Callable

import flax.linen as nn
from jaxtyping import Array, Float

from occnet_jax.nn.linear import Linear
from occnet_jax.nn.norm import BatchNorm, ConditionalBatchNorm, NormSettings
from occnet_jax.nn.positional import fourier_features
from occnet_jax.nn.residual import (
  ConditionalResnetBlock,
  ResnetBlock,
  ResnetBlockFC,
  apply_blocks,
)


class CBatchNormDecoder(nn.Module):
  """Five residual blocks whose batch norms are conditioned on the code.

  Paper, section 3.1 and Figure 5 of its supplementary; "cbatchnorm" in the reference.

  Attributes:
    hidden_size: features of every layer.
    leaky: LeakyReLU(0.2) instead of ReLU before the last layer.
    octaves: number of octaves of Fourier features of the points; 0 for coordinates.
    remat: compute the blocks again for the gradient of training, to save memory.
    norm: settings that all batch norms share.
  """

  hidden_size: int = 256
  leaky: bool = False
  octaves: int = 0
  remat: bool = False
  norm: NormSettings = NormSettings()

  @nn.compact
  def __call__(
    self,
    points: Float[Array, "b t 3"],
    z: Float[Array, "b z"] | None,
    c: Float[Array, "b c"],
    *,
    train: bool,
  ) -> Float[Array, "b t"]:
    net = _first_layer(self.hidden_size, self.octaves, points, z=z)
    blocks = [ConditionalResnetBlock(self.norm, name=f"block{i}") for i in range(5)]
    net = apply_blocks(blocks, net, c, train=train, remat=self.remat and train)
    net = ConditionalBatchNorm(self.norm, name="bn")(net, c, train=train)
    return Linear(1, name="fc_out")(activation(self.leaky)(net))[..., 0]


class CBatchNormDecoder2(nn.Module):
  """As `CBatchNormDecoder`, but z is added to the code that conditions the norms.

  "cbatchnorm2" in the reference, whose configs do not use it.

  Attributes: those of `CBatchNormDecoder`, and
    n_blocks: number of residual blocks.
  """

  hidden_size: int = 256
  n_blocks: int = 5
  leaky: bool = False
  octaves: int = 0
  remat: bool = False
  norm: NormSettings = NormSettings()

  @nn.compact
  def __call__(
    self,
    points: Float[Array, "b t 3"],
    z: Float[Array, "b z"] | None,
    c: Float[Array, "b c"],
    *,
    train: bool,
  ) -> Float[Array, "b t"]:
    features = fourier_features(points, self.octaves)
    net = Linear(self.hidden_size, name="conv_p")(features)
    if z is not None:
      c = c + Linear(c.shape[-1], name="fc_z")(z)
    blocks = _ConditionalBlocks(self.n_blocks, self.remat, self.norm, name="blocks")
    net = blocks(net, c, train=train)
    net = ConditionalBatchNorm(self.norm, name="bn")(net, c, train=train)
    return Linear(1, name="conv_out")(activation(self.leaky)(net))[..., 0]


class CBatchNormNoResnetDecoder(nn.Module):
  """As `CBatchNormDecoder`, but with five plain layers instead of residual blocks.

  "cbatchnorm_noresnet" in the reference; paper, section 4.6 (ablation).

  Attributes: those of `CBatchNormDecoder` without remat; leaky holds for every layer.
  """

  hidden_size: int = 256
  leaky: bool = False
  octaves: int = 0
  norm: NormSettings = NormSettings()

  @nn.compact
  def __call__(
    self,
    points: Float[Array, "b t 3"],
    z: Float[Array, "b z"] | None,
    c: Float[Array, "b c"],
    *,
    train: bool,
  ) -> Float[Array, "b t"]:
    act = activation(self.leaky)
    net = _first_layer(self.hidden_size, self.octaves, points, z=z)
    for i in range(5):
      net = ConditionalBatchNorm(self.norm, name=f"bn_{i}")(net, c, train=train)
      net = Linear(self.hidden_size, name=f"fc_{i}")(act(net))
    net = ConditionalBatchNorm(self.norm, name="bn_5")(net, c, train=train)
    return Linear(1, name="fc_out")(act(net))[..., 0]


class BatchNormDecoder(nn.Module):
  """Five residual blocks with plain batch norm; the codes enter at the first layer.

  "batchnorm" in the reference; paper, section 4.6 (ablation).

  Attributes: those of `CBatchNormDecoder`.
  """

  hidden_size: int = 256
  leaky: bool = False
  octaves: int = 0
  remat: bool = False
  norm: NormSettings = NormSettings()

  @nn.compact
  def __call__(
    self,
    points: Float[Array, "b t 3"],
    z: Float[Array, "b z"] | None,
    c: Float[Array, "b c"] | None,
    *,
    train: bool,
  ) -> Float[Array, "b t"]:
    net = _first_layer(self.hidden_size, self.octaves, points, z=z, c=c)
    blocks = [ResnetBlock(self.norm, name=f"block{i}") for i in range(5)]
    net = apply_blocks(blocks, net, train=train, remat=self.remat and train)
    net = BatchNorm(self.norm, name="bn")(net, train=train)
    return Linear(1, name="fc_out")(activation(self.leaky)(net))[..., 0]


class SimpleDecoder(nn.Module):
  """Five residual blocks of linear layers without norm.

  "simple" in the reference, which uses it for the unconditional model (paper, section
  4.5).

  Attributes: those of `CBatchNormDecoder` without norm.
  """

  hidden_size: int = 128
  leaky: bool = False
  octaves: int = 0
  remat: bool = False

  @nn.compact
  def __call__(
    self,
    points: Float[Array, "b t 3"],
    z: Float[Array, "b z"] | None,
    c: Float[Array, "b c"] | None,
    *,
    train: bool,
  ) -> Float[Array, "b t"]:
    net = _first_layer(self.hidden_size, self.octaves, points, z=z, c=c)
    blocks = [ResnetBlockFC(self.hidden_size, name=f"block{i}") for i in range(5)]
    net = apply_blocks(blocks, net, remat=self.remat and train)
    return Linear(1, name="fc_out")(activation(self.leaky)(net))[..., 0]


def activation(leaky: bool) -> Callable[[Array], Array]:
  """The reference's outer activation: ReLU, or LeakyReLU of slope 0.2."""
  return (lambda x: nn.leaky_relu(x, 0.2)) if leaky else nn.relu


def _first_layer(
  size: int,
  octaves: int,
  points: Float[Array, "b t 3"],
  **codes: Float[Array, "b _"] | None,
) -> Float[Array, "b t f"]:
  """The sum of a linear map of the points and one of every code that is given."""
  net = Linear(size, name="fc_p")(fourier_features(points, octaves))
  for letter, code in codes.items():
    if code is not None:
      net = net + Linear(size, name=f"fc_{letter}")(code)[:, None]
  return net


class _ConditionalBlocks(nn.Module):
  """Residual blocks under the names 0, 1, ... of the reference's list."""

  count: int
  remat: bool
  norm: NormSettings

  @nn.compact
  def __call__(
    self, x: Float[Array, "b t f"], c: Float[Array, "b c"], *, train: bool
  ) -> Float[Array, "b t f"]:
    blocks = [ConditionalResnetBlock(self.norm, name=str(i)) for i in range(self.count)]
    return apply_blocks(blocks, x, c, train=train, remat=self.remat and train)
