"""Decoder of points and codes into signed distances (device, jnp)."""

import flax.linen as nn
from jaxtyping import Array, Float

from occnet_jax.nn.linear import Linear, WeightNormLinear

EPSILON = 1e-5  # of the layer norms, as PyTorch has it


class SDFDecoder(nn.Module):
  """A perceptron of code and point, both of which enter again at a layer in the middle.

  Park et al., "DeepSDF", CVPR 2019, section 4 and the decoder of its published code,
  whose names the parameters have. A layer is narrower by what is joined to its features
  before the next layer, so that 512 inputs stay 512. The published configurations use
  the default values; the other options exist in the published code.

  Attributes:
    hidden_sizes: inputs of the layer after each hidden layer: its own features and
      those that are joined to them.
    skip_layers: numbers of the layers that take [features, code, point].
    norm_layers: numbers of the hidden layers with weight norm or, without it, with a
      layer norm before the ReLU; None for all of them.
    weight_norm: whether these layers have weight norm.
    dropout_rate: share of the features of every hidden layer that training drops.
    points_in_all: whether the points enter at every layer but the first and those of
      `skip_layers`.
    extra_tanh: whether the distance passes two tanh instead of one.
  """

  hidden_sizes: tuple[int, ...] = (512,) * 8
  skip_layers: tuple[int, ...] = (4,)
  norm_layers: tuple[int, ...] | None = None
  weight_norm: bool = True
  dropout_rate: float = 0.2
  points_in_all: bool = False
  extra_tanh: bool = False

  @nn.compact
  def __call__(
    self, points: Float[Array, "b t 3"], c: Float[Array, "b c"], *, train: bool
  ) -> Float[Array, "b t"]:
    """Signed distances in (-1, 1), negative inside.

    Training with dropout takes a random key named "dropout".
    """
    depth, code_and_point = len(self.hidden_sizes), (c, points)
    normed = range(depth) if self.norm_layers is None else self.norm_layers
    parts = code_and_point
    for i, size in enumerate(self.hidden_sizes):
      joined = self._joined(i + 1, *code_and_point)
      size -= sum(part.shape[-1] for part in joined)
      linear = WeightNormLinear if self.weight_norm and i in normed else Linear
      net = linear(size, name=f"lin{i}")(*parts)
      if i in normed and not self.weight_norm:
        norm = nn.LayerNorm(EPSILON, use_fast_variance=False, name=f"bn{i}")
        net = norm(net)
      net = nn.Dropout(self.dropout_rate)(nn.relu(net), deterministic=not train)
      parts = (net, *joined)
    distances = nn.tanh(Linear(1, name=f"lin{depth}")(*parts))
    return (nn.tanh(distances) if self.extra_tanh else distances)[..., 0]

  def _joined(self, layer: int, c: Array, points: Array) -> tuple[Array, ...]:
    """The inputs of the decoder that this layer takes beside the features."""
    if layer in self.skip_layers:
      return c, points
    return (points,) if self.points_in_all else ()
