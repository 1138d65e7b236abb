"""Decoder of points by features of planes and grids (device, jnp).

At a fixed latent a point costs four reads a plane, eight a grid, and a small MLP:
2 (3 h + n_blocks (c h + 2 h^2) + h) FLOP with h hidden and c features, 32 k with the
published 32, 32 and 5.

Shape letters: b shapes, t points, r side, c features.
"""

from collections.abc import Mapping

import flax.linen as nn
from jaxtyping import Array, Float

from occnet_jax.nn import grid_features
from occnet_jax.nn.decoders import activation
from occnet_jax.nn.linear import Linear
from occnet_jax.nn.residual import ResnetBlockFC


class LocalDecoder(nn.Module):
  """Residual blocks of linear layers, to each of which the sampled features are added.

  Peng et al., "Convolutional Occupancy Networks", ECCV 2020, section 3.2;
  "simple_local" in the reference, whose names the modules have.

  Attributes:
    hidden_size: features of every layer.
    n_blocks: number of residual blocks.
    leaky: LeakyReLU(0.2) instead of ReLU before the last layer.
    mode: "bilinear" or "nearest", how planes and grids are read.
    padding: planes and grids cover a cube of side 1 + padding.
  """

  hidden_size: int = 32
  n_blocks: int = 5
  leaky: bool = False
  mode: str = "bilinear"
  padding: float = 0.1

  @nn.compact
  def __call__(
    self,
    points: Float[Array, "b t 3"],
    grids: Mapping[str, Float[Array, "b *r c"]],
    *,
    train: bool,
  ) -> Float[Array, "b t"]:
    """Occupancy logits at points in cube units."""
    del train  # no layer behaves differently
    features = grid_features.sample(grids, points, padding=self.padding, mode=self.mode)
    maps = _Maps(self.n_blocks, self.hidden_size, name="fc_c")(features)
    net = Linear(self.hidden_size, name="fc_p")(points)
    net = _Blocks(self.hidden_size, name="blocks")(net, maps)
    return Linear(1, name="fc_out")(activation(self.leaky)(net))[..., 0]


class _Maps(nn.Module):
  """Linear maps of the same features, named 0, 1, ... as published."""

  count: int
  size: int

  @nn.compact
  def __call__(self, features: Float[Array, "b t c"]) -> list[Float[Array, "b t h"]]:
    return [Linear(self.size, name=str(i))(features) for i in range(self.count)]


class _Blocks(nn.Module):
  """Residual blocks, named 0, 1, ..., before each of which a term is added."""

  size: int

  @nn.compact
  def __call__(
    self, net: Float[Array, "b t h"], terms: list[Float[Array, "b t h"]]
  ) -> Float[Array, "b t h"]:
    for i, term in enumerate(terms):
      net = ResnetBlockFC(self.size, name=str(i))(net + term)
    return net
