"""Decoder of codes (b, c) into occupancy grids (b, r, r, r) (device, jnp)."""

import flax.linen as nn
from jaxtyping import Array, Float

from occnet_jax.nn.conv import Conv, ConvTranspose, unflatten_channels_first
from occnet_jax.nn.linear import Linear

START = 4  # side of the grid that the linear layer makes


class R2N2Decoder(nn.Module):
  """A linear layer and transposed convolutions that double the side of the grid.

  Choy et al., "3D-R2N2", ECCV 2016, in the form without recurrence that the occupancy
  networks were compared with; "simple" among the reference's decoders of r2n2. It has
  no normalisation. Parameters have the reference's names.

  Attributes:
    channels: features of the grids of side 4, 8, 16, ...; the last of these sides, 32
      in the reference, is r.
  """

  channels: tuple[int, ...] = (256, 128, 64, 32)

  @property
  def resolution(self) -> int:
    """The side r of the grid."""
    return START * 2 ** (len(self.channels) - 1)

  @nn.compact
  def __call__(self, c: Float[Array, "b c"], *, train: bool) -> Float[Array, "b r r r"]:
    """Occupancy logits of the cells of the cube [-0.5, 0.5]^3, indexed (x, y, z)."""
    del train  # no layer behaves differently
    net = Linear(self.channels[0] * START**3, name="fc_in")(c)
    net = unflatten_channels_first(net, START, 3)
    for i, features in enumerate(self.channels[1:]):
      net = ConvTranspose(features, name=f"convtrp_{i}")(nn.relu(net))
    return Conv(1, 1, name="conv_out")(nn.relu(net))[..., 0]
