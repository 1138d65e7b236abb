"""Plain convolutional encoders of images (b, h, w, 3) -> code (b, c) (device, jnp).

SimpleConv is the reference's smallest image encoder; the R2N2 pair follows Choy et al.,
"3D-R2N2", ECCV 2016. Modules have the reference's names, whose numbers also count
activations and poolings.
"""

import flax.linen as nn
from jaxtyping import Array, Float

from occnet_jax.nn.conv import Conv, flatten_channels_first, standardise_colours
from occnet_jax.nn.linear import Linear
from occnet_jax.nn.pooling import max_pool


class SimpleConv(nn.Module):
  """Five unpadded convolutions of stride 2, averaged over the image.

  "simple_conv" in the reference.

  Attributes:
    c_dim: size of the code.
  """

  c_dim: int = 256

  @nn.compact
  def __call__(
    self, images: Float[Array, "b h w 3"], *, train: bool
  ) -> Float[Array, "b c"]:
    """The code of each image.

    Raises:
      ValueError: a side of less than 63 pixels, too small for five convolutions.
    """
    del train  # no layer behaves differently
    h, w = images.shape[1:3]
    if min(h, w) < 63:
      raise ValueError(
        f"images of {h} x {w} pixels, want at least 63 x 63 for five unpadded "
        "convolutions of stride 2; use larger images or another encoder"
      )
    net = Conv(32, stride=2, name="conv0")(images)
    for i in range(1, 5):
      net = Conv(32 * 2**i, stride=2, name=f"conv{i}")(nn.relu(net))
    return Linear(self.c_dim, name="fc_out")(nn.relu(net.mean((1, 2))))


class R2N2Simple(nn.Module):
  """Six convolutions, each max-pooled, and a linear layer; made for 127 x 127 pixels.

  "r2n2_simple" in the reference.

  Attributes:
    c_dim: size of the code.
  """

  c_dim: int = 256

  @nn.compact
  def __call__(
    self, images: Float[Array, "b h w 3"], *, train: bool
  ) -> Float[Array, "b c"]:
    """The code of each image, whose colours are in [0, 1].

    Raises:
      ValueError: a side that six poolings do not reduce to 3.
    """
    del train  # no layer behaves differently
    _check_size(*images.shape[1:3])
    net = _PlainTrunk(name="convnet")(standardise_colours(images))
    return Linear(self.c_dim, name="fc_out")(flatten_channels_first(net))


class R2N2Resnet(nn.Module):
  """Two convolutions, five residual blocks, six poolings; made for 127 x 127 pixels.

  "r2n2_resnet" in the reference.

  Attributes:
    c_dim: size of the code.
  """

  c_dim: int = 256

  @nn.compact
  def __call__(
    self, images: Float[Array, "b h w 3"], *, train: bool
  ) -> Float[Array, "b c"]:
    """The code of each image, whose colours are in [0, 1].

    Raises:
      ValueError: a side that six poolings do not reduce to 3.
    """
    del train  # no layer behaves differently
    _check_size(*images.shape[1:3])
    net = _ResidualTrunk(name="convnet")(standardise_colours(images))
    return Linear(self.c_dim, name="fc_out")(flatten_channels_first(net))


def _check_size(h: int, w: int) -> None:
  """Raises for a side that six poolings, each n -> n // 2 + 1, do not reduce to 3."""
  if not (66 <= h <= 129 and 66 <= w <= 129):
    raise ValueError(
      f"images of {h} x {w} pixels, want sides of 66 to 129 (the reference's are 127), "
      "which six poolings bring to the 3 x 3 that the last layer takes; resize the "
      "images to 127 x 127 or use another encoder"
    )


class _PlainTrunk(nn.Module):
  @nn.compact
  def __call__(self, x: Float[Array, "b h w 3"]) -> Float[Array, "b k l f"]:
    for i, features in enumerate((96, 128, 256, 256, 256, 256)):
      kernel_size = 3 if i else 7
      x = Conv(features, kernel_size, padding=kernel_size // 2, name=str(3 * i))(x)
      x = nn.leaky_relu(max_pool(x, 2, 1))
    return x


class _ResidualTrunk(nn.Module):
  @nn.compact
  def __call__(self, x: Float[Array, "b h w 3"]) -> Float[Array, "b k l f"]:
    x = max_pool(_two_convolutions(x, 96, 7), 2, 1)
    for i, features in enumerate((128, 256, 256, 256, 256)):
      block = _ResidualBlock(features, name=str(5 + 2 * i))
      x = max_pool(block(x), 2, 1)
    return x


class _ResidualBlock(nn.Module):
  features: int

  @nn.compact
  def __call__(self, x: Float[Array, "b h w i"]) -> Float[Array, "b h w o"]:
    shortcut = Conv(self.features, 1, name="shortcut")(x)
    return shortcut + _Pair(self.features, name="convnet")(x)


class _Pair(nn.Module):
  features: int

  @nn.compact
  def __call__(self, x: Float[Array, "b h w i"]) -> Float[Array, "b h w o"]:
    return _two_convolutions(x, self.features, 3)


def _two_convolutions(
  x: Float[Array, "b h w i"], features: int, kernel_size: int
) -> Float[Array, "b h w o"]:
  conv = Conv(features, kernel_size, padding=kernel_size // 2, name="0")
  x = nn.leaky_relu(conv(x))
  return nn.leaky_relu(Conv(features, padding=1, name="2")(x))
