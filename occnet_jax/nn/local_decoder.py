"""Decoders of points by the features around them (device, jnp).

At a fixed latent a point costs four reads a plane or eight a grid, and a small MLP:
2 (3 h + n_blocks (c h + 2 h^2) + h) FLOP with h hidden and c features, 31 k with the
published 32, 32 and 5.

Shape letters: b shapes, t points, n input points, r side, c features.
"""

from collections.abc import Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from occnet_jax.nn import crops, grid_features
from occnet_jax.nn.decoders import activation
from occnet_jax.nn.linear import Linear
from occnet_jax.nn.neighbours import NeighbourAttention
from occnet_jax.nn.pointnet2 import squared_distances
from occnet_jax.nn.precision import matmul
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
    padding: planes and grids cover a cube of side 1 + padding; None for [0, 1]^3.
    neighbours: number of nearest input points whose features are added to those of
      planes and grids, see `neighbours.NeighbourAttention`; 0, as published, for none.
    octaves: frequencies of Fourier features of the points; 0 as published.
    crop: planes and grids cover a window of a scene instead; None for the cube.
    read_at: "nodes", as published, or "cells", where features of the cube lie.
    outputs: numbers at each point, as a further axis; 0 for one without that axis.
  """

  hidden_size: int = 32
  n_blocks: int = 5
  leaky: bool = False
  mode: str = "bilinear"
  padding: float | None = 0.1
  neighbours: int = 0
  octaves: int = 0
  crop: crops.Crop | None = None
  read_at: str = "nodes"
  outputs: int = 0

  @nn.compact
  def __call__(
    self,
    points: Float[Array, "b t 3"],
    latent: Mapping[str, Float[Array, "b ... c"]],
    *,
    train: bool,
    positions: Float[Array, "b t k"] | None = None,
  ) -> Float[Array, "b t *o"]:
    """Occupancy logits, or what else is decoded, at points.

    Args:
      points: the queries, in cube units or those of `padding`.
      latent: planes and grids by name; with neighbours also "points" (b, n, 3), the
        input points, and "point_features" (b, n, c).
      train: ignored, because no layer behaves differently.
      positions: what the first layer gets of each point; None for its coordinates.
    """
    del train
    planes_and_grids = {
      name: latent[name] for name in grid_features.AXES if name in latent
    }
    features = grid_features.sample(
      planes_and_grids,
      points,
      padding=self.padding,
      mode=self.mode,
      crop=self.crop,
      read_at=self.read_at,
    )
    if self.neighbours:
      attention = NeighbourAttention(self.neighbours, features.shape[-1], name="knn")
      features += attention(points, latent["points"], latent["point_features"])
    if positions is None:
      positions = crops.encode_positions(points, self.crop, self.octaves)
    sizes = self.hidden_size, self.n_blocks, self.leaky
    values = _decode(positions, features, *sizes, self.outputs or 1)
    return values if self.outputs else values[..., 0]


class LocalPointDecoder(nn.Module):
  """As `LocalDecoder`, from the features of all input points, the near ones most.

  An input point at distance d weighs exp(-(d / sigma)^2), over the sum of all weights;
  "simple_local_point" with Gaussian weights in the reference.

  Attributes:
    hidden_size, n_blocks, leaky: as those of `LocalDecoder`.
    sigma: in cube units.
  """

  hidden_size: int = 32
  n_blocks: int = 5
  leaky: bool = False
  sigma: float = 0.2

  @nn.compact
  def __call__(
    self,
    points: Float[Array, "b t 3"],
    latent: Mapping[str, Float[Array, "b n _"]],
    *,
    train: bool,
  ) -> Float[Array, "b t"]:
    """Occupancy logits at points; the latent has "points" and "features"."""
    del train  # no layer behaves differently
    squares = squared_distances(points, latent["points"])
    # The margins are the published 1e-5 and one for the root's slope at zero.
    distances = jnp.sqrt(jnp.maximum(squares, 1e-20)) + 1e-5
    # A softmax, because far from all points every weight is zero in float32.
    weights = nn.softmax(-jnp.square(distances / self.sigma))
    features = jax.vmap(matmul)(weights, latent["features"])
    sizes = self.hidden_size, self.n_blocks, self.leaky
    return _decode(points, features, *sizes)[..., 0]


def _decode(
  positions: Float[Array, "b t k"],
  features: Float[Array, "b t c"],
  hidden_size: int,
  n_blocks: int,
  leaky: bool,
  outputs: int = 1,
) -> Float[Array, "b t o"]:
  """The MLP of both decoders, whose modules belong to the one that calls it."""
  maps = _Maps(n_blocks, hidden_size, name="fc_c")(features)
  net = Linear(hidden_size, name="fc_p")(positions)
  net = _Blocks(hidden_size, name="blocks")(net, maps)
  return Linear(outputs, name="fc_out")(activation(leaky)(net))


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
