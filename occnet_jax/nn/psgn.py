"""The point set generation network's encoder of images and two decoders (device, jnp).

Fan et al., "A Point Set Generation Network", CVPR 2017, as the code of the occupancy
networks has it, whose names the modules have. A latent of the two-branch network is
{"code": (b, h / 64, w / 64, 32 m), "map_1", "map_2", "map_3"}: the last map of the
encoder and linear maps of three before it, which the decoder adds as it grows them
back to h / 8 and w / 8.
"""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from occnet_jax.nn.conv import Conv, ConvTranspose, flatten_channels_first
from occnet_jax.nn.linear import Linear

HALVED = 64  # by which six halvings of a side divide it
# Features, in units of m, and strides of the convolutions of each block.
_BLOCKS = (
  ((1, 1), (1, 1)),
  ((2, 2), (2, 1), (2, 1)),
  ((4, 2), (4, 1), (4, 1)),
  ((8, 2), (8, 1), (8, 1)),
  ((16, 2), (16, 1), (16, 1)),
  ((32, 2), (32, 1), (32, 1), (32, 1)),
)


class PointSetDecoder(nn.Module):
  """Four linear layers, code -> points; "simple" in the reference.

  Attributes:
    n_points: number of points.
    hidden_size: features of the layers.
  """

  n_points: int = 1024
  hidden_size: int = 512

  @nn.compact
  def __call__(self, code: Float[Array, "b c"]) -> Float[Array, "b n 3"]:
    net = code
    for i in range(3):
      net = nn.relu(Linear(self.hidden_size, name=f"fc_{i}")(net))
    points = Linear(3 * self.n_points, name="fc_out")(net)
    return points.reshape(-1, self.n_points, 3)


class TwoBranchEncoder(nn.Module):
  """Convolutions of an image; "psgn_cond" in the reference.

  Attributes:
    c_dim: features of the last map, 32 m.
  """

  c_dim: int = 512

  @nn.compact
  def __call__(self, images: Float[Array, "b h w 3"]) -> dict[str, Array]:
    """The latent.

    Raises:
      ValueError: sides that six halvings do not divide, so that the decoder's maps
        would not fit.
    """
    h, w = images.shape[1:3]
    if h % HALVED or w % HALVED:
      raise ValueError(
        f"images of {h} x {w} pixels; want sides that are multiples of {HALVED} for "
        "the two-branch network, such as config.data.image_side=192"
      )
    m, net, maps = self.c_dim // 32, images, {}
    for i, block in enumerate(_BLOCKS):
      net = _ConvBlock(m, block, name=f"conv_block{i + 1}")(net)
      if (number := i - 2) > 0:  # after blocks 4, 5 and 6
        linear = Conv(block[0][0] * m // 2, padding=1, name=f"trans_conv{number}")
        maps[f"map_{number}"] = linear(net)
    return maps | {"code": _LastBlock(self.c_dim, name="conv_block7")(net)}


class _ConvBlock(nn.Module):
  """Convolutions with a ReLU after each; a PyTorch Sequential counts both."""

  unit: int
  layers: tuple[tuple[int, int], ...]

  @nn.compact
  def __call__(self, x: Float[Array, "b h w i"]) -> Float[Array, "b k l o"]:
    for i, (units, stride) in enumerate(self.layers):
      conv = Conv(units * self.unit, stride=stride, padding=1, name=str(2 * i))
      x = nn.relu(conv(x))
    return x


class _LastBlock(nn.Module):
  """A convolution with a window of 5 that halves the sides."""

  features: int

  @nn.compact
  def __call__(self, x: Float[Array, "b h w i"]) -> Float[Array, "b k l o"]:
    return nn.relu(Conv(self.features, 5, stride=2, padding=2, name="0")(x))


class TwoBranchDecoder(nn.Module):
  """Points by a linear layer, and one more for each pixel of a map of h / 8 x w / 8.

  "psgn_2branch" in the reference; of images of 192 x 256 pixels the map gives 768.

  Attributes:
    n_points: number of points of both branches.
    published: whether points are formed as by the published code, for its weights: a
      ReLU keeps those of the linear layer out of negative coordinates, three
      neighbouring pixels of one channel are taken for the coordinates of a point, and
      there is a layer, deconv_4, that nothing uses.
  """

  n_points: int = 1024
  published: bool = False

  @nn.compact
  def __call__(self, latent: dict[str, Float[Array, "b h w c"]]) -> Array:
    """The points (b, n, 3).

    Raises:
      ValueError: fewer points than the map has.
    """
    net = latent["code"]
    pixels = latent["map_1"].shape[1] * latent["map_1"].shape[2]
    if self.n_points <= pixels:
      raise ValueError(
        f"config.model.n_points is {self.n_points}; want more than {pixels}, which the "
        "map of the two-branch decoder gives"
      )
    rows = flatten_channels_first(net)
    count = self.n_points - pixels
    linear = _Branch(3 * count, name="fc_branch")(rows)
    features = net.shape[-1]
    for i in range(1, 4):
      features //= 2
      grow = ConvTranspose(features, 5, padding=2, name=f"deconv_{i}")
      net = nn.relu(grow(net) + latent[f"map_{4 - i}"])
      net = nn.relu(_Wrapped(features, name=f"conv_{i}")(net))
    coordinates = Conv(3, padding=1, name="conv_4")(net)
    if not self.published:
      return jnp.concatenate(
        [linear.reshape(-1, count, 3), coordinates.reshape(-1, pixels, 3)], axis=1
      )
    ConvTranspose(3, 5, padding=2, name="deconv_4")(net)
    channels_first = flatten_channels_first(coordinates).reshape(-1, pixels, 3)
    linear = nn.relu(linear).reshape(-1, count, 3)
    return jnp.concatenate([linear, channels_first], axis=1)


class _Branch(nn.Module):
  """A linear layer, the first of a PyTorch Sequential."""

  features: int

  @nn.compact
  def __call__(self, rows: Float[Array, "b k"]) -> Float[Array, "b o"]:
    return Linear(self.features, name="0")(rows)


class _Wrapped(nn.Module):
  """A convolution, the first of a PyTorch Sequential."""

  features: int

  @nn.compact
  def __call__(self, x: Float[Array, "b h w i"]) -> Float[Array, "b h w o"]:
    return Conv(self.features, padding=1, name="0")(x)
