"""POCO: point convolution for surface reconstruction (Boulch and Marlet, CVPR 2022)
(device, jnp).

encode: cloud (b, n, 3) -> {"points": (b, n, 3), "features": (b, n, c)}, features of
every input point from convolutions of the cloud.
decode: points (b, t, 3) -> logits, from the input points nearest to each alone.

The published logits of the classes outside and inside count by their difference alone.
Its loss is the mean over points, ours the sum as of the other systems: Adam's steps are
the same.
"""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
from jaxtyping import Array, Float

from occnet_jax.models import occupancy
from occnet_jax.nn.fkaconv import FKAConvNetwork, make_pyramid
from occnet_jax.nn.neighbours import AttentionDecoder
from occnet_jax.nn.norm import NormSettings
from occnet_jax.types import BuildOptions, Method

Features = Mapping[str, Float[Array, "b n _"]]


class PointConvolutionOccupancyNetwork(nn.Module):
  """A network of a cloud's points and a decoder of queries.

  Attributes:
    net: (pyramid of the points, train=...) -> features (b, n, c).
    projection: (queries (b, t, 3), points and features) -> class logits (b, t, 2).
  """

  net: FKAConvNetwork
  projection: AttentionDecoder

  def __call__(
    self, inputs: Float[Array, "b n 3"], points: Float[Array, "b t 3"], *, train: bool
  ) -> Float[Array, "b t"]:
    return self.decode(points, self.encode(inputs, train=train), train=train)

  def encode(self, inputs: Float[Array, "b n 3"], *, train: bool) -> Features:
    features = self.net(make_pyramid(inputs), train=train)
    return {"points": inputs, "features": features}

  def decode(
    self, points: Float[Array, "b t 3"], features: Features, *, train: bool
  ) -> Float[Array, "b t"]:
    del train  # the decoder has no layer that behaves differently
    logits = self.projection(points, features)
    return logits[..., 1] - logits[..., 0]


def build(model: Mapping[str, Any], options: BuildOptions) -> Method:
  """The network that the fields of configs/models/poco.py describe.

  Raises:
    ValueError: a setting that this system does not have, or one out of range.
  """
  if options.remat:
    raise ValueError("config.train.remat is set, but poco has no such blocks; unset it")
  for name in ("knn", "heads", "hidden_size"):
    if model[name] < 1:
      raise ValueError(f"config.model.{name} is {model[name]}; want at least 1")
  if model["hidden_size"] % 2:
    raise ValueError(
      f"config.model.hidden_size is {model['hidden_size']}; want an even number, which "
      "the blocks halve"
    )
  norm = NormSettings(options.axis_name, model["unbiased_variance"])
  chosen = options.threshold
  return occupancy.method(
    PointConvolutionOccupancyNetwork(
      FKAConvNetwork(model["c_dim"], model["hidden_size"], norm),
      AttentionDecoder(model["knn"], model["c_dim"], model["heads"]),
    ),
    tau=model["tau"] if chosen is None else chosen,
    candidates=tuple(model["tau_grid"]) if chosen is None else (),
  )
