"""Residual networks for images (b, h, w, 3) -> code (b, c) (device, jnp).

He et al., "Deep residual learning for image recognition", CVPR 2016, in the variant of
torchvision: a bottleneck has its stride in the 3 x 3 convolution. Parameters have
torchvision's names, but layer1.0 is layer1_0 and downsample.0 is downsample_0. An image
of 224 pixels becomes 112 (conv1), 56 (pooling, layer1), 28, 14 and 7 (layers 2 to 4).
"""

import flax.linen as nn
from jaxtyping import Array, Float

from occnet_jax.nn.conv import Conv, standardise_colours
from occnet_jax.nn.linear import Linear
from occnet_jax.nn.norm import BatchNorm, NormSettings
from occnet_jax.nn.pooling import max_pool

BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}
BOTTLENECK_DEPTHS = (50, 101)
EXPANSION = 4  # features of a bottleneck's result per feature of its 3 x 3 convolution

HE_NORMAL = nn.initializers.variance_scaling(2.0, "fan_out", "normal")


class Resnet(nn.Module):
  """A residual network, averaged over the image, and a linear layer.

  Attributes:
    depth: 18, 34, 50 or 101.
    c_dim: size of the code.
    normalize: whether colours are standardised by ImageNet's mean and deviation.
    use_linear: whether the linear layer exists; without it the code is the features.
    norm: settings that all batch norms share.
  """

  depth: int
  c_dim: int = 256
  normalize: bool = True
  use_linear: bool = True
  norm: NormSettings = NormSettings()

  @nn.compact
  def __call__(
    self, images: Float[Array, "b h w 3"], *, train: bool
  ) -> Float[Array, "b c"]:
    """The code of each image, whose colours are in [0, 1].

    Raises:
      ValueError: an unknown depth, or without a linear layer a c_dim that differs from
        the number of features.
    """
    if self.depth not in BLOCKS:
      raise ValueError(
        f"a residual network of depth {self.depth}, want one of {sorted(BLOCKS)}"
      )
    size = 512 * (EXPANSION if self.depth in BOTTLENECK_DEPTHS else 1)
    if not self.use_linear and self.c_dim != size:
      raise ValueError(
        f"c_dim is {self.c_dim} without a linear layer, want the {size} features of "
        f"depth {self.depth}; set c_dim={size} or use_linear=True"
      )
    if self.normalize:
      images = standardise_colours(images)
    features = ResnetFeatures(self.depth, self.norm, name="features")
    net = features(images, train=train)
    return Linear(self.c_dim, name="fc")(net) if self.use_linear else net


class ResnetFeatures(nn.Module):
  """All layers of a residual network but the last, averaged over the image.

  Attributes: those of `Resnet`.
  """

  depth: int
  norm: NormSettings = NormSettings()

  @nn.compact
  def __call__(self, x: Float[Array, "b h w 3"], *, train: bool) -> Float[Array, "b f"]:
    block = Bottleneck if self.depth in BOTTLENECK_DEPTHS else BasicBlock
    net = _conv(64, 7, stride=2, name="conv1")(x)
    net = nn.relu(BatchNorm(self.norm, name="bn1")(net, train=train))
    net = max_pool(net, 3, 1)
    for i, count in enumerate(BLOCKS[self.depth]):
      for j in range(count):
        stride = 2 if i > 0 and j == 0 else 1
        layer = block(64 * 2**i, stride, self.norm, name=f"layer{i + 1}_{j}")
        net = layer(net, train=train)
    return net.mean((1, 2))


class BasicBlock(nn.Module):
  """Two 3 x 3 convolutions around a shortcut.

  Attributes:
    features: size of the last axis after each convolution.
    stride: stride of the first convolution.
    norm: settings that all batch norms share.
  """

  features: int
  stride: int = 1
  norm: NormSettings = NormSettings()

  @nn.compact
  def __call__(
    self, x: Float[Array, "b h w i"], *, train: bool
  ) -> Float[Array, "b k l o"]:
    net = _conv(self.features, 3, stride=self.stride, name="conv1")(x)
    net = nn.relu(BatchNorm(self.norm, name="bn1")(net, train=train))
    net = _conv(self.features, 3, name="conv2")(net)
    net = BatchNorm(self.norm, name="bn2")(net, train=train)
    return nn.relu(net + _shortcut(x, self.features, self.stride, self.norm, train))


class Bottleneck(nn.Module):
  """1 x 1, 3 x 3 and 1 x 1 convolutions around a shortcut.

  Attributes:
    features: size of the last axis after the first two convolutions; after the third it
      is four times as large.
    stride: stride of the 3 x 3 convolution.
    norm: settings that all batch norms share.
  """

  features: int
  stride: int = 1
  norm: NormSettings = NormSettings()

  @nn.compact
  def __call__(
    self, x: Float[Array, "b h w i"], *, train: bool
  ) -> Float[Array, "b k l o"]:
    size = EXPANSION * self.features
    net = _conv(self.features, 1, name="conv1")(x)
    net = nn.relu(BatchNorm(self.norm, name="bn1")(net, train=train))
    net = _conv(self.features, 3, stride=self.stride, name="conv2")(net)
    net = nn.relu(BatchNorm(self.norm, name="bn2")(net, train=train))
    net = _conv(size, 1, name="conv3")(net)
    net = BatchNorm(self.norm, name="bn3")(net, train=train)
    return nn.relu(net + _shortcut(x, size, self.stride, self.norm, train))


def _conv(features: int, kernel_size: int, *, stride: int = 1, name: str) -> Conv:
  padding = kernel_size // 2
  return Conv(features, kernel_size, stride, padding, False, HE_NORMAL, name=name)


def _shortcut(
  x: Float[Array, "b h w i"],
  features: int,
  stride: int,
  norm: NormSettings,
  train: bool,
) -> Float[Array, "b k l o"]:
  """x itself, or its projection where the block changes the shape."""
  if stride == 1 and x.shape[-1] == features:
    return x
  x = _conv(features, 1, stride=stride, name="downsample_0")(x)
  return BatchNorm(norm, name="downsample_1")(x, train=train)
