"""Encoder of occupancy grids (b, r, r, r) -> code (b, c) (device, jnp)."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Shaped

from occnet_jax.nn.conv import Conv, flatten_channels_first
from occnet_jax.nn.linear import Linear


class VoxelSimple(nn.Module):
  """A convolution, then four of stride 2 that double the features.

  Paper, section 4.4 (voxel super-resolution); "voxel_simple" in the reference, which
  takes r = 32 only. The parameters of the last layer grow with (r / 16)^3.

  Attributes:
    c_dim: size of the code.
  """

  c_dim: int = 512

  @nn.compact
  def __call__(
    self, voxels: Shaped[Array, "b r r r"], *, train: bool
  ) -> Float[Array, "b c"]:
    """The code of each grid of zeros and ones.

    Raises:
      ValueError: a side r that is no multiple of 16.
    """
    del train  # no layer behaves differently
    side = voxels.shape[1]
    if side % 16:
      raise ValueError(
        f"voxel grid of side {side}, want a multiple of 16, which four strides of 2 "
        "divide evenly; pad the grid or voxelise at 32 or 64"
      )
    net = voxels.astype(jnp.float32)[..., None]
    net = Conv(32, padding=1, name="conv_in")(net)
    for i in range(4):
      net = Conv(64 * 2**i, stride=2, padding=1, name=f"conv_{i}")(nn.relu(net))
    return Linear(self.c_dim, name="fc")(flatten_channels_first(nn.relu(net)))
