"""PointNet encoders: a set of points (b, n, 3) -> code (b, c) (device, jnp)."""

import flax.linen as nn
from jaxtyping import Array, Float

from occnet_jax.nn.linear import Linear
from occnet_jax.nn.pooling import max_over
from occnet_jax.nn.positional import fourier_features
from occnet_jax.nn.residual import ResnetBlockFC


class ResnetPointnet(nn.Module):
  """PointNet of five residual blocks, max-pooled over points after each.

  After every block but the last each point's features are joined with their maximum
  over the set. Paper, section 4.3 (point cloud completion) and supplementary;
  "pointnet_resnet" in the reference.

  Attributes:
    c_dim: size of the code.
    hidden_dim: features of a block's result; its input has twice as many.
    octaves: number of octaves of Fourier features of the points; 0 for coordinates.
  """

  c_dim: int = 512
  hidden_dim: int = 512
  octaves: int = 0

  @nn.compact
  def __call__(
    self, points: Float[Array, "b n 3"], *, train: bool
  ) -> Float[Array, "b c"]:
    """The code of each cloud, whatever the order of its points."""
    del train  # no layer behaves differently
    net = Linear(2 * self.hidden_dim, name="fc_pos")(
      fourier_features(points, self.octaves)
    )
    parts = (net,)
    for i in range(5):
      net = ResnetBlockFC(self.hidden_dim, name=f"block_{i}")(*parts)
      pooled = max_over(net, 1)
      parts = net, pooled
    return Linear(self.c_dim, name="fc_c")(nn.relu(pooled))


class PointnetSimple(nn.Module):
  """PointNet of four linear layers, max-pooled over points after each.

  After every layer but the last each point's features are joined with their maximum
  over the set; "pointnet_simple" in the reference.

  Attributes: those of `ResnetPointnet`.
  """

  c_dim: int = 512
  hidden_dim: int = 512
  octaves: int = 0

  @nn.compact
  def __call__(
    self, points: Float[Array, "b n 3"], *, train: bool
  ) -> Float[Array, "b c"]:
    """The code of each cloud, whatever the order of its points."""
    del train  # no layer behaves differently
    net = Linear(2 * self.hidden_dim, name="fc_pos")(
      fourier_features(points, self.octaves)
    )
    parts = (nn.relu(net),)
    for i in range(4):
      net = Linear(self.hidden_dim, name=f"fc_{i}")(*parts)
      pooled = nn.relu(max_over(net, 1))
      parts = nn.relu(net), pooled
    return Linear(self.c_dim, name="fc_c")(pooled)
