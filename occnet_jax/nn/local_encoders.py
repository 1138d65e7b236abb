"""Encoders of clouds and voxels into features on planes and in grids (device, jnp).

Peng et al., "Convolutional Occupancy Networks", ECCV 2020, section 3.1. The result is a
dict from the names in `grid_features.AXES` to planes (b, r, r, c) and a grid
(b, r, r, r, c). Modules have the published names.

Shape letters: b shapes, n points, r side, c features.
"""

import functools
import operator
from collections.abc import Sequence

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Shaped

from occnet_jax.nn import crops, grid_features
from occnet_jax.nn.conv import Conv
from occnet_jax.nn.grid_features import Cells, Layout
from occnet_jax.nn.linear import Linear
from occnet_jax.nn.residual import ResnetBlockFC
from occnet_jax.nn.unet import UNet, UNet3D

Grids = dict[str, Float[Array, "b ... c"]]
FAR = 1e3  # coordinate of padding, further from every query than any point


class LocalPoolPointnet(nn.Module):
  """PointNet whose pooling is local: over the points that share a cell.

  After every block but the last each point's features are joined with the sum, over
  planes and grid, of what its cell pools; "pointnet_local_pool" in the reference.

  Attributes:
    layout: the planes and grids.
    c_dim: features of every plane and grid.
    hidden_dim: features of a block's result; its input has twice as many.
    n_blocks: number of residual blocks.
    pooling: "max" or "mean".
    unet: refines the planes, all by the same weights; None for none.
    unet3d: refines the grid; None for none.
    keep_points: whether the result also has "points" and "point_features" (b, n, c),
      the points and their features before these are spread over planes and grid.
    octaves: frequencies of Fourier features of the points; 0 as published.
  """

  layout: Layout
  c_dim: int = 32
  hidden_dim: int = 32
  n_blocks: int = 5
  pooling: str = "max"
  unet: UNet | None = None
  unet3d: UNet3D | None = None
  keep_points: bool = False
  octaves: int = 0

  @nn.compact
  def __call__(
    self,
    points: Float[Array, "b n 3"],
    *,
    train: bool,
    positions: Float[Array, "b n k"] | None = None,
  ) -> Grids:
    """The planes and grids of each cloud, in any order of its points.

    Args:
      points: the clouds, in cube units or those of the layout.
      train: ignored, because no layer behaves differently.
      positions: what the first layer gets of each point; None for its coordinates.

    A repeated point counts twice in the mean of its cell, though not in a maximum, so
    clouds must not be padded by repeating some of their points. Rows of NaN have no
    effect and can serve to pad.
    """
    del train  # no layer behaves differently
    valid = jnp.isfinite(points).all(-1)
    padded, points = points, jnp.where(valid[..., None], points, 0)
    cells = _cells_by_name(points, self.layout, valid)
    if positions is None:
      positions = crops.encode_positions(points, self.layout.crop, self.octaves)
    net = Linear(2 * self.hidden_dim, name="fc_pos")(positions)
    blocks = _PooledBlocks(self.n_blocks, self.hidden_dim, self.pooling, name="blocks")
    net = blocks(net, list(cells.values()))
    features = Linear(self.c_dim, name="fc_c")(net)  # no ReLU before it, as published
    grids = _fill_grids(features, cells, self.unet, self.unet3d)
    if self.keep_points:
      far = jnp.where(valid[..., None], padded, FAR)
      grids |= {"points": far, "point_features": features}
    return grids


class LocalVoxelEncoder(nn.Module):
  """A convolution of an occupancy grid, whose cells are then the points.

  "voxel_simple_local" in the reference, which ignores the planes if there is a grid,
  too; here both are filled.

  Attributes: those of `LocalPoolPointnet`, and
    kernel_size: odd side of the convolution's window.
  """

  layout: Layout
  c_dim: int = 32
  kernel_size: int = 3
  unet: UNet | None = None
  unet3d: UNet3D | None = None

  @nn.compact
  def __call__(self, voxels: Shaped[Array, "b s s s"], *, train: bool) -> Grids:
    """The planes and grids of each grid of zeros and ones, indexed (x, y, z)."""
    del train  # no layer behaves differently
    b, side = voxels.shape[:2]
    padding = self.kernel_size // 2
    conv = Conv(self.c_dim, self.kernel_size, padding=padding, name="conv_in")
    features = nn.relu(conv(voxels.astype(float)[..., None]))
    # As published, the first and last cell lie on the faces of the unit cube, where
    # their outer faces should be.
    axis = jnp.linspace(-0.5, 0.5, side)
    centres = jnp.stack(jnp.meshgrid(axis, axis, axis, indexing="ij"), -1)
    points = jnp.broadcast_to(centres.reshape(1, -1, 3), (b, side**3, 3))
    cells = _cells_by_name(points, self.layout)
    features = features.reshape(b, side**3, self.c_dim)
    return _fill_grids(features, cells, self.unet, self.unet3d)


class _PooledBlocks(nn.Module):
  """Residual blocks with local pooling between them, named 0, 1, ... as published."""

  count: int
  hidden_dim: int
  pooling: str

  @nn.compact
  def __call__(
    self, net: Float[Array, "b n f"], cells: Sequence[Cells]
  ) -> Float[Array, "b n h"]:
    parts = (net,)
    for i in range(self.count):
      net = ResnetBlockFC(self.hidden_dim, name=str(i))(*parts)
      if i < self.count - 1:
        pools = (grid_features.pool(net, own, self.pooling) for own in cells)
        parts = net, functools.reduce(operator.add, pools)
    return net


def _cells_by_name(
  points: Float[Array, "b n 3"],
  layout: Layout,
  valid: Bool[Array, "b n"] | None = None,
) -> dict[str, Cells]:
  return {
    name: grid_features.find_cells(points, name, layout, valid) for name in layout.names
  }


def _fill_grids(
  features: Float[Array, "b n c"],
  cells: dict[str, Cells],
  unet: UNet | None,
  unet3d: UNet3D | None,
) -> Grids:
  """Means of the features in every cell, refined by the U-Nets."""
  grids = {
    name: grid_features.scatter_mean(features, own) for name, own in cells.items()
  }
  planes = [name for name in grids if name != "grid"]
  if planes and unet is not None:
    # One batch of all planes, so that the network is compiled and called once.
    refined = unet(jnp.concatenate([grids[name] for name in planes]))
    grids |= zip(planes, jnp.split(refined, len(planes)), strict=True)
  if "grid" in grids and unet3d is not None:
    grids["grid"] = unet3d(grids["grid"])
  return grids
