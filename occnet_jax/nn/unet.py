"""U-Nets of planes (b, h, w, c) and of grids (b, r, r, r, c) (device, jnp).

Both halve the sides level by level and double the features, then go back up and join
every level with the one of the same side on the way down (Ronneberger et al., MICCAI
2015; Cicek et al., MICCAI 2016), in the forms that Peng et al. published with
"Convolutional Occupancy Networks", ECCV 2020. The two differ in more than a dimension:
the first has no norms, upsamples by learned kernels and puts the upsampled features
before those of the way down; the second has group norms, repeats cells and puts them
after. Modules have the published names, in which the members of a list are numbered;
the patches of the second and its sum of the two ways are not published.
"""

from collections.abc import Sequence
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from occnet_jax.nn.conv import Conv, ConvTranspose
from occnet_jax.nn.pooling import max_pool

MERGES = {  # upsampled features, features of the way down -> what goes on
  "add": jnp.add,
  "concat": lambda up, skip: jnp.concatenate([up, skip], -1),
}
UPSAMPLINGS = ("transposed", "bilinear")  # by a learned kernel, or not, of the 2D one
GROUPS = 8  # of features that a group norm takes together
_ZEROS = nn.initializers.zeros_init()
_UNEVEN = (
  "the grid's U-Net has {} features at a level; its group norms want a multiple of "
  "8: change config.model.c_dim or unet3d_filters"
)


class Start(NamedTuple):
  """Initial kernels, None for PyTorch's default.

  Attributes:
    conv: of convolutions of images.
    up: of the upsampling of images and of patches, whose windows do not overlap.
    grid: of convolutions of grids.
  """

  conv: nn.initializers.Initializer
  up: nn.initializers.Initializer | None
  grid: nn.initializers.Initializer | None


# As published, a ReLU halves the mean square of what it passes on, and upsampling
# divides it by six, so at first about 1e-3 of the result comes from the coarsest level.
# "he" (He et al., ICCV 2015) keeps mean squares; the kernel (*window, o, i) sums over i
# alone, and its scale is by the whole window of 2 x 2.
_HE = nn.initializers.variance_scaling(2.0, "fan_in", "normal")
STARTS = {
  "xavier": Start(
    nn.initializers.variance_scaling(1.0, "fan_avg", "normal"), None, None
  ),
  "he": Start(
    _HE,
    nn.initializers.variance_scaling(4.0, "fan_in", "normal", in_axis=-1, out_axis=-2),
    _HE,
  ),
}


class UNet(nn.Module):
  """A U-Net of images without norms: convolution and ReLU, twice a level.

  Attributes:
    features: size of the last axis of the result.
    depth: number of levels; 2^(depth - 1) divides the sides.
    filters: features of the first level.
    merge: a key of `MERGES`, how the two ways meet.
    start: a key of `STARTS`, the initial kernels.
    up: one of `UPSAMPLINGS`.
  """

  features: int
  depth: int = 4
  filters: int = 32
  merge: str = "concat"
  start: str = "xavier"
  up: str = "transposed"

  @nn.compact
  def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w o"]:
    filters = [self.filters * 2**level for level in range(self.depth)]
    start = STARTS[self.start]
    *skips, x = _DownConvs(filters, start, name="down_convs")(x)
    up_convs = _UpConvs(filters[-2::-1], self.merge, start, self.up, name="up_convs")
    x = up_convs(x, skips[::-1])
    return _conv(self.features, 1, "conv_final", start)(x)


class UNet3D(nn.Module):
  """A U-Net of grids: group norm, convolution and ReLU, twice a level.

  Sides may be odd: pooling drops the last cell of an odd side, and upsampling goes to
  the side of the level that it meets.

  Attributes:
    features: size of the last axis of the result.
    levels: number of levels.
    filters: features of the first level.
    norm: whether there are group norms; without them, what lies far away has no effect.
    patch: p > 1 for a network of patches of p^3 cells, made by a convolution of stride
      p, whose result is a change of each of these cells. The sides are multiples of p,
      and `features` is the size of x's last axis.
    start: a key of `STARTS`, the initial kernels.
    merge: how the two ways meet: "concat", or "add" of learned upsampling, after which
      convolutions have a third of the features. The sides are then even at each level.
  """

  features: int
  levels: int = 3
  filters: int = 32
  norm: bool = True
  patch: int = 1
  start: str = "xavier"
  merge: str = "concat"

  @nn.compact
  def __call__(self, x: Float[Array, "b *r c"]) -> Float[Array, "b *r o"]:
    cells, start = x, STARTS[self.start]
    filters = [self.filters * 2**level for level in range(self.levels)]
    if self.patch > 1:
      window = self.patch, self.patch
      conv = Conv(self.filters, *window, kernel_init=start.grid, name="patch_conv")
      x = nn.relu(conv(x))
    form = self.norm, start.grid
    *skips, x = _Encoders(filters, *form, name="encoders")(x)
    decoders = _Decoders(filters[-2::-1], *form, self.merge, start.up, name="decoders")
    x = decoders(x, skips[::-1])
    if self.patch == 1:
      return Conv(self.features, 1, name="final_conv")(x)
    whole = {"padding": 0, "output_padding": 0, "kernel_init": start.up}
    return cells + ConvTranspose(self.features, *window, **whole, name="patch_upconv")(
      x
    )


class _DownConvs(nn.Module):
  """The way down; returns the features of every level."""

  filters: Sequence[int]
  start: Start

  @nn.compact
  def __call__(self, x: Float[Array, "b h w c"]) -> list[Float[Array, "b _ _ _"]]:
    levels = []
    for i, filters in enumerate(self.filters):
      x = max_pool(x, 2, 0) if i else x
      x = _DownConv(filters, self.start, name=str(i))(x)
      levels.append(x)
    return levels


class _DownConv(nn.Module):
  filters: int
  start: Start

  @nn.compact
  def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w o"]:
    x = nn.relu(_conv(self.filters, 3, "conv1", self.start)(x))
    return nn.relu(_conv(self.filters, 3, "conv2", self.start)(x))


class _UpConvs(nn.Module):
  """The way up, which meets the skips in their order."""

  filters: Sequence[int]
  merge: str
  start: Start
  up: str

  @nn.compact
  def __call__(
    self, x: Float[Array, "b h w c"], skips: list[Float[Array, "b _ _ _"]]
  ) -> Float[Array, "b _ _ _"]:
    for i, (filters, skip) in enumerate(zip(self.filters, skips, strict=True)):
      x = _UpConv(filters, self.merge, self.start, self.up, name=str(i))(x, skip)
    return x


class _UpConv(nn.Module):
  filters: int
  merge: str
  start: Start
  up: str

  @nn.compact
  def __call__(
    self, x: Float[Array, "b h w c"], skip: Float[Array, "b 2*h 2*w o"]
  ) -> Float[Array, "b 2*h 2*w o"]:
    if self.up == "bilinear":
      up = _Bilinear(self.filters, self.start, name="upconv")(x)
    else:
      up = ConvTranspose(
        self.filters,
        2,
        padding=0,
        output_padding=0,
        kernel_init=self.start.up,
        name="upconv",
      )(x)
    x = MERGES[self.merge](up, skip)
    x = nn.relu(_conv(self.filters, 3, "conv1", self.start)(x))
    return nn.relu(_conv(self.filters, 3, "conv2", self.start)(x))


class _Bilinear(nn.Module):
  """Sides doubled by interpolation, then a linear map, which has number 1 there."""

  filters: int
  start: Start

  @nn.compact
  def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b 2*h 2*w o"]:
    b, h, w, c = x.shape
    # Cell i covers [i, i + 1] of both sides, and what lies beyond the outermost centres
    # has their values; PyTorch's Upsample with align_corners=False is the same.
    x = jax.image.resize(x, (b, 2 * h, 2 * w, c), "bilinear")
    return _conv(self.filters, 1, "1", self.start)(x)


class _Encoders(nn.Module):
  """The way down; returns the features of every level."""

  filters: Sequence[int]
  norm: bool
  kernel_init: nn.initializers.Initializer | None

  @nn.compact
  def __call__(self, x: Float[Array, "b *r c"]) -> list[Float[Array, "b *_ _"]]:
    levels = []
    for i, filters in enumerate(self.filters):
      if i:
        x = max_pool(x, 2, 0)
      between = max(filters // 2, x.shape[-1])
      x = _Level(between, filters, self.norm, self.kernel_init, name=str(i))(x)
      levels.append(x)
    return levels


class _Decoders(nn.Module):
  """The way up, which meets the skips in their order."""

  filters: Sequence[int]
  norm: bool
  kernel_init: nn.initializers.Initializer | None
  merge: str
  up_init: nn.initializers.Initializer | None

  @nn.compact
  def __call__(
    self, x: Float[Array, "b *r c"], skips: list[Float[Array, "b *_ _"]]
  ) -> Float[Array, "b *_ _"]:
    for i, (filters, skip) in enumerate(zip(self.filters, skips, strict=True)):
      if self.merge == "add":
        form = {"padding": 0, "output_padding": 0, "kernel_init": self.up_init}
        x = skip + ConvTranspose(filters, 2, **form, name=f"upconv_{i}")(x)
      else:
        x = jnp.concatenate([skip, upsample_nearest(x, skip.shape[1:-1])], -1)
      x = _Level(filters, filters, self.norm, self.kernel_init, name=str(i))(x)
    return x


class _Level(nn.Module):
  """The two convolutions of a level, which the published code calls basic_module."""

  between: int
  filters: int
  norm: bool
  kernel_init: nn.initializers.Initializer | None

  @nn.compact
  def __call__(self, x: Float[Array, "b *r c"]) -> Float[Array, "b *r o"]:
    sizes = self.between, self.filters
    form = self.norm, self.kernel_init
    return _DoubleConv(*sizes, *form, name="basic_module")(x)


class _DoubleConv(nn.Module):
  between: int
  filters: int
  norm: bool
  kernel_init: nn.initializers.Initializer | None

  @nn.compact
  def __call__(self, x: Float[Array, "b *r c"]) -> Float[Array, "b *r o"]:
    form = self.norm, self.kernel_init
    x = _SingleConv(self.between, *form, name="SingleConv1")(x)
    return _SingleConv(self.filters, *form, name="SingleConv2")(x)


class _SingleConv(nn.Module):
  """Group norm, convolution, ReLU; without a norm the convolution has a bias."""

  filters: int
  norm: bool
  kernel_init: nn.initializers.Initializer | None

  @nn.compact
  def __call__(self, x: Float[Array, "b *r c"]) -> Float[Array, "b *r o"]:
    conv = Conv(
      self.filters,
      padding=1,
      use_bias=not self.norm,
      kernel_init=self.kernel_init,
      name="conv",
    )
    if not self.norm:
      return nn.relu(conv(x))
    groups = GROUPS if x.shape[-1] >= GROUPS else 1
    if x.shape[-1] % groups:
      raise ValueError(_UNEVEN.format(x.shape[-1]))
    # The variance about the mean, because E[x^2] - E[x]^2 cancels where a grid is
    # mostly empty.
    norm = nn.GroupNorm(groups, epsilon=1e-5, use_fast_variance=False, name="groupnorm")
    return nn.relu(conv(norm(x)))


def upsample_nearest(
  x: Float[Array, "b *r c"], sides: Sequence[int]
) -> Float[Array, "b *s c"]:
  """Repeats entries to these sides; entry i of a side s is entry floor(i r / s)."""
  for axis, side in enumerate(sides, start=1):
    old = x.shape[axis]
    if side % old == 0:
      x = jnp.repeat(x, side // old, axis)
    else:
      x = x.take(np.arange(side) * old // side, axis)
  return x


def _conv(features: int, kernel_size: int, name: str, start: Start) -> Conv:
  """A convolution of the 2D network, which keeps the sides."""
  padding = kernel_size // 2
  return Conv(
    features,
    kernel_size,
    padding=padding,
    kernel_init=start.conv,
    bias_init=_ZEROS,
    name=name,
  )
