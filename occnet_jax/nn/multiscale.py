"""Feature grids at several scales, and a decoder that reads them at points (device).

The networks of IF-Net (Chibane et al., "Implicit functions in feature space for 3D
shape reconstruction and completion", CVPR 2020, section 3 and supplementary).

Grids are indexed (x, y, z), features are the last axis. All of them span the unit cube
with a node in each corner, so node i of r along an axis lies at -0.5 + i / (r - 1):

  z                   level 0   o o o o o o o o   r nodes, the input
  |  y                level 1   o o o o o o o o   r nodes
  | /                 level 2   o  o   o    o     r / 2 nodes
  |/____ x            level 3   o           o     r / 4 nodes
                              -0.5         0.5

The cells of an occupancy grid have their centres elsewhere, at -0.5 + (i + 1/2) / r.
The published networks read them at the nodes all the same, and so do these.

Shape letters: b shapes, n input points, t query points, r nodes along an axis, c and f
features.
"""

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from occnet_jax.nn import interpolate
from occnet_jax.nn.conv import Conv
from occnet_jax.nn.linear import Linear, multiply_parts, uniform_by_fan_in
from occnet_jax.nn.norm import BatchNorm, NormSettings
from occnet_jax.nn.pooling import max_pool

# A point and its neighbours against and along each axis. The published code counts the
# axes of PyTorch's grid_sample, from the last of the grid to the first: z, y, x.
NEIGHBOURS = np.array(
  [
    (0, 0, 0),
    (0, 0, -1),
    (0, 0, 1),
    (0, -1, 0),
    (0, 1, 0),
    (-1, 0, 0),
    (1, 0, 0),
  ],
  np.float32,
)


def voxelise(cloud: Float[Array, "b n 3"], side: int) -> Float[Array, "b r r r"]:
  """Grids that are 1 at the nodes nearest to a point and 0 elsewhere.

  Args:
    cloud: points in the unit cube; those outside count at its border, and rows of NaN,
      which pad, do not.
    side: r.
  """
  b, n, _ = cloud.shape
  nodes = jnp.clip(jnp.round((cloud + 0.5) * (side - 1)), 0, side - 1)
  # A node beyond the last is left out by the scatter.
  nodes = jnp.where(jnp.isfinite(cloud), nodes, side)
  x, y, z = jnp.moveaxis(nodes.astype(jnp.int32), -1, 0)
  shapes = jnp.broadcast_to(jnp.arange(b)[:, None], (b, n))
  # Points that share a node write the same value, so their order does not matter.
  grid = jnp.zeros((b, side, side, side), cloud.dtype)
  return grid.at[shapes, x, y, z].set(1, mode="drop")


class Level(nn.Module):
  """Convolutions of width 3, each with a ReLU, and batch norm after the last.

  Attributes:
    features: features after each convolution.
    norm: what all norms of the network share.
  """

  features: tuple[int, ...]
  norm: NormSettings = NormSettings()

  @nn.compact
  def __call__(
    self, x: Float[Array, "b r r r c"], *, train: bool
  ) -> Float[Array, "b r r r f"]:
    for k, features in enumerate(self.features):
      x = nn.relu(Conv(features, padding=1, name=f"conv_{k}")(x))
    return BatchNorm(self.norm, name="bn")(x, train=train)


class MultiscaleEncoder(nn.Module):
  """From a grid to the grids of all levels, each but the first of half the side.

  Attributes:
    levels: features after each convolution of each level.
    norm: what all norms of the network share.
  """

  levels: tuple[tuple[int, ...], ...]
  norm: NormSettings = NormSettings()

  @nn.compact
  def __call__(
    self, grid: Float[Array, "b r r r"], *, train: bool
  ) -> tuple[Float[Array, "..."], ...]:
    """The input (b, r, r, r, 1), then a grid (b, r', r', r', f) of each level.

    Raises:
      ValueError: the side cannot be halved as often as there are levels.
    """
    check_side(grid.shape[-1], len(self.levels))
    x = grid[..., None]
    volumes = [x]
    for k, features in enumerate(self.levels):
      if k:
        x = max_pool(x, 2, 0)
      x = Level(features, self.norm, name=f"level_{k}")(x, train=train)
      volumes.append(x)
    return tuple(volumes)


def check_side(side: int, levels: int) -> None:
  """Raises ValueError for a grid that has no two nodes at the last of the levels."""
  pools = levels - 1
  if side < 2 ** (pools + 1):
    raise ValueError(
      f"a grid of {side} nodes a side is halved {pools} times and would end below 2; "
      f"want a multiple of {2**pools} from {2 ** (pools + 1)} on, or fewer "
      "config.model.levels"
    )
  if side % 2**pools:
    raise ValueError(
      f"a grid of {side} nodes a side is halved {pools} times and would lose nodes; "
      f"want a multiple of {2**pools}, or fewer config.model.levels"
    )


class MultiscaleDecoder(nn.Module):
  """An MLP of the features that all grids have at a point and at its six neighbours.

  Attributes:
    hidden_sizes: widths of the hidden layers.
    displacement: distance of the neighbours, in units of half the cube's side.
    border: whether grids continue outside with their border, or else with zeros.
    coordinates: whether the MLP sees the point itself, too.
  """

  hidden_sizes: tuple[int, ...] = (256, 256, 256)
  displacement: float = 0.0722
  border: bool = True
  coordinates: bool = False

  @nn.compact
  def __call__(
    self, points: Float[Array, "b t 3"], volumes: tuple[Float[Array, "..."], ...]
  ) -> Float[Array, "b t"]:
    """Logits of occupancy.

    Args:
      points: in the cube [-0.5, 0.5]^3 that the grids span, or near it.
      volumes: grids (b, r, r, r, f) of the encoder.
    """
    b, t, _ = points.shape
    # grid_sample's cube is [-1, 1]^3, so a displacement there is half as long here.
    offsets = jnp.asarray(NEIGHBOURS * self.displacement / 2, points.dtype)
    probes = (points[:, :, None] + offsets[None, None]).reshape(b, -1, 3)
    features = []
    for volume in volumes:
      positions = (probes + 0.5) * (volume.shape[1] - 1)
      sampled = interpolate.linear(volume, positions, border=self.border)
      features.append(sampled.reshape(b, t, -1))
    if self.coordinates:  # as grid_sample has them
      features.append(2 * points[..., ::-1])
    counts = tuple(volume.shape[-1] for volume in volumes)
    h = NeighbourhoodLinear(self.hidden_sizes[0], counts, name="fc_0")(*features)
    for k, size in enumerate(self.hidden_sizes[1:], 1):
      h = Linear(size, name=f"fc_{k}")(nn.relu(h))
    return Linear(1, name="fc_out")(nn.relu(h)).squeeze(-1)


class NeighbourhoodLinear(nn.Module):
  """Linear map of the features of a point and its neighbours.

  The features of a level are sampled as rows (neighbour, channel), while the kernel has
  the published order of rows (channel, neighbour). Transposing the kernel costs less
  than transposing the features of thousands of points.

  Attributes:
    features: size of the last axis of the result.
    channels: channels of each level.
  """

  features: int
  channels: tuple[int, ...]

  @nn.compact
  def __call__(self, *parts: Float[Array, "b t ..."]) -> Float[Array, "b t o"]:
    """The map of the levels, and of further features behind them, side by side."""
    fan_in = sum(part.shape[-1] for part in parts)
    default = uniform_by_fan_in(fan_in)
    kernel = self.param("kernel", default, (fan_in, self.features))
    bias = self.param("bias", default, (self.features,))
    rows, start = [], 0
    for channels in self.channels:
      # Row 7 c + k of the level belongs to channel c at neighbour k.
      end = start + channels * len(NEIGHBOURS)
      level = kernel[start:end].reshape(channels, len(NEIGHBOURS), -1)
      rows.append(level.swapaxes(0, 1).reshape(end - start, -1))
      start = end
    ordered = jnp.concatenate([*rows, kernel[start:]])
    return multiply_parts(parts, ordered) + bias[None, None]
