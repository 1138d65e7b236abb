"""The network of Deep Marching Cubes (device, jnp).

Liao et al., CVPR 2018, as the code of the occupancy networks has it, whose names the
modules have. Points are in units of cells, 0 to r, of a grid with r cells a side.

Shape letters: n points, r cells a side, s = r + 1 corners a side, f features.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from occnet_jax.nn.conv import Conv, ConvTranspose
from occnet_jax.nn.linear import Linear
from occnet_jax.nn.norm import BatchNorm, NormSettings


def pool_in_cells(
  points: Float[Array, "n 3"], features: Float[Array, "n f"], side: int
) -> Float[Array, "r r r f"]:
  """The largest features in each cell, or 0 if they are negative or there are none.

  Points outside of the grid are left out. The published kernel starts at 0, too: so
  negative features have no gradient.
  """
  cells = jnp.floor(points).astype(jnp.int32)
  inside = ((cells >= 0) & (cells < side)).all(-1)
  rows = (cells[:, 0] * side + cells[:, 1]) * side + cells[:, 2]
  rows = jnp.where(inside, rows, side**3)  # one row more, for those outside
  largest = jax.ops.segment_max(features, rows, side**3 + 1)[:-1]
  return nn.relu(largest).reshape(side, side, side, -1)


class CellEncoder(nn.Module):
  """Features of points, pooled over cells; "pointnet_local" in the reference.

  Attributes:
    side: r.
    features: number of features.
    hidden_size: features of the layer before.
  """

  side: int = 32
  features: int = 16
  hidden_size: int = 256

  @nn.compact
  def __call__(self, points: Float[Array, "b n 3"]) -> Float[Array, "b s s s f"]:
    """Features at the corners: those of the cell above each, 0 at the upper faces."""
    net = nn.relu(_First(self.hidden_size, name="conv1")(points))
    net = Linear(self.features, name="conv2")(net)
    grid = jax.vmap(lambda p, f: pool_in_cells(p, f, self.side))(points, net)
    return jnp.pad(grid, ((0, 0), (0, 1), (0, 1), (0, 1), (0, 0)))


class _First(nn.Module):
  """A linear layer, the first of a PyTorch Sequential."""

  features: int

  @nn.compact
  def __call__(self, x: Float[Array, "b n i"]) -> Float[Array, "b n o"]:
    return Linear(self.features, name="0")(x)


class CellDecoder(nn.Module):
  """A U-Net from features at the corners to occupancies and offsets there.

  Attributes:
    norm: settings that all batch norms share.
  """

  norm: NormSettings = NormSettings()

  @nn.compact
  def __call__(
    self, features: Float[Array, "b s s s f"], *, train: bool
  ) -> tuple[Float[Array, "b s s s"], Float[Array, "b 3 s s s"]]:
    """Occupancies from 0 to 1, and offsets of vertices from -0.5 to 0.5 by axis."""
    maps, pooled = _Down(self.norm, name="encoder")(features, train=train)
    return _Up(self.norm, name="decoder")(maps, pooled, train=train)


class _Down(nn.Module):
  """Convolutions and poolings; each level's features and the places of its maxima."""

  norm: NormSettings

  @nn.compact
  def __call__(self, x: Float[Array, "b s s s f"], *, train: bool):
    levels = []
    for level, features in enumerate((16, 32, 64), start=1):
      # The first convolution makes four corners more a side, which the last takes back.
      padding = 3 if level == 1 else 1
      x = _layer(self, f"conv{level}_1", Conv(features, 3, padding=padding), x, train)
      x = _layer(self, f"conv{level}_2", Conv(features, 3, padding=1), x, train)
      pooled, places = max_pool_with_places(x)
      levels.append((x, places))
      x = pooled
    return levels, _layer(self, "conv4", Conv(128, 3, padding=1), x, train)


class _Up(nn.Module):
  """Unpooling and convolutions, in two heads from the second level on."""

  norm: NormSettings

  @nn.compact
  def __call__(self, levels, x: Float[Array, "b t t t f"], *, train: bool):
    (first, places_1), (second, places_2), (third, places_3) = levels
    x = _layer(self, "deconv4", Conv(64, 3, padding=1), x, train)
    x = jnp.concatenate([third, unpool(x, places_3, third.shape[1])], -1)
    x = _layer(self, "deconv3_1", _transposed(128), x, train)
    x = _layer(self, "deconv3_2", _transposed(32), x, train)
    x = jnp.concatenate([second, unpool(x, places_2, second.shape[1])], -1)
    results = []
    for head, channels, padding in (("off", 3, 3), ("occ", 1, 3)):
      net = _layer(self, f"deconv2_{head}_1", _transposed(64), x, train)
      net = _layer(self, f"deconv2_{head}_2", _transposed(16), net, train)
      net = jnp.concatenate([first, unpool(net, places_1, first.shape[1])], -1)
      net = _layer(self, f"deconv1_{head}_1", _transposed(32), net, train)
      last = ConvTranspose(
        channels, 3, 1, padding, 0, name=f"deconv1_{head}_2", parent=self
      )
      results.append(nn.sigmoid(last(net)))
    offsets, occupancies = results
    return occupancies[..., 0], jnp.moveaxis(offsets - 0.5, -1, 1)


def _transposed(features: int) -> ConvTranspose:
  return ConvTranspose(features, 3, stride=1, padding=1, output_padding=0, parent=None)


def _layer(module: nn.Module, name: str, conv: nn.Module, x: Array, train: bool):
  """A convolution, batch norm and ReLU, named `name` and `name`_bn in a module."""
  x = conv.clone(name=name, parent=module)(x)
  norm = BatchNorm(module.norm, name=f"{name}_bn", parent=module)
  return nn.relu(norm(x, train=train))


def max_pool_with_places(
  x: Float[Array, "b s s s f"],
) -> tuple[Float[Array, "b t t t f"], Int[Array, "b t t t f"]]:
  """Maxima over windows of 2^3, t = s // 2, and which entry of its window each is.

  Of equal entries it is the first, x slowest: after a ReLU there are many.
  """
  t = x.shape[1] // 2
  windows = x[:, : 2 * t, : 2 * t, : 2 * t].reshape(x.shape[0], t, 2, t, 2, t, 2, -1)
  windows = jnp.transpose(windows, (0, 1, 3, 5, 2, 4, 6, 7))
  windows = windows.reshape(*windows.shape[:4], 8, -1)
  places = jax.lax.stop_gradient(windows).argmax(4)
  return jnp.take_along_axis(windows, places[..., None, :], 4)[..., 0, :], places


def unpool(
  x: Float[Array, "b t t t f"], places: Int[Array, "b t t t f"], side: int
) -> Float[Array, "b s s s f"]:
  """Entries at the places of the maxima, zeros elsewhere; `side` is s."""
  b, t = x.shape[:2]
  entries = jnp.arange(8).reshape(1, 1, 1, 1, 8, 1)
  windows = jnp.where(places[..., None, :] == entries, x[..., None, :], 0)
  windows = windows.reshape(b, t, t, t, 2, 2, 2, -1)
  grid = jnp.transpose(windows, (0, 1, 4, 2, 5, 3, 6, 7)).reshape(b, *(2 * t,) * 3, -1)
  return jnp.pad(grid, ((0, 0), *((0, side - 2 * t),) * 3, (0, 0)))
