"""Occupancy Networks (Mescheder et al., CVPR 2019), the conditional model (device).

encode: what was seen of a shape -> code c (b, c); decode: points (b, t, 3) -> logits.
"""

from typing import Any

import flax.linen as nn
from jaxtyping import Array, Float

from occnet_jax import losses
from occnet_jax.types import Method


class OccupancyNetwork(nn.Module):
  """An encoder of observations and a decoder of points.

  Attributes:
    encoder: (inputs, train=...) -> code (b, c).
    decoder: (points (b, t, 3), z, c) -> logits (b, t).
  """

  encoder: nn.Module
  decoder: nn.Module

  def __call__(
    self, points: Float[Array, "b t 3"], inputs: Any, *, train: bool
  ) -> Float[Array, "b t"]:
    return self.decode(points, self.encode(inputs, train=train), train=train)

  def encode(self, inputs: Any, *, train: bool) -> Float[Array, "b c"]:
    return self.encoder(inputs, train=train)

  def decode(
    self, points: Float[Array, "b t 3"], c: Float[Array, "b c"], *, train: bool
  ) -> Float[Array, "b t"]:
    return self.decoder(points, None, c, train=train)


def method(net: OccupancyNetwork, *, tau: float) -> Method:
  """The conditional occupancy network as a Method.

  Args:
    net: the module.
    tau: occupancy probability of the surface; also of the IoU that training reports.
  """
  level = losses.logit(tau)

  def init(key, batch):
    return net.init(key, batch["points"], batch["inputs"], train=True)

  def loss(variables, batch, key, train):
    del key  # nothing is drawn: the conditional model has no latent
    args = (batch["points"], batch["inputs"])
    if train:
      logits, changed = net.apply(variables, *args, train=True, mutable=["batch_stats"])
      stats = changed["batch_stats"]
    else:
      logits = net.apply(variables, *args, train=False)
      stats = variables["batch_stats"]
    value = losses.occupancy_cross_entropy(logits, batch["occupancies"])
    iou = losses.batch_iou(logits, batch["occupancies"], level)
    return value, (stats, {"loss": value, "iou": iou})

  def encode(variables, inputs):
    return net.apply(variables, inputs, train=False, method="encode")

  def decode(variables, latent, points):
    return net.apply(variables, points, latent, train=False, method="decode")

  return Method(net, init, loss, encode, decode, "field", level)
