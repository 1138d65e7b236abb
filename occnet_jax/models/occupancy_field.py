"""Networks of one latent and one logit per point, as a Method (device, jnp)."""

from typing import Any

import flax.linen as nn
import jax

from occnet_jax import losses
from occnet_jax.types import Field, Method


def method(net: nn.Module, *, tau: float, candidates: tuple[float, ...] = ()) -> Method:
  """A network that draws nothing as a Method.

  Args:
    net: module of the methods encode (inputs, train=...) -> latent, decode (points
      (b, t, 3), latent, train=...) -> logits (b, t), and a call (inputs, points,
      train=...) of both.
    tau: occupancy probability of the surface; also of the IoU that training reports.
    candidates: probabilities among which validation chooses; () for tau alone.
  """
  level = losses.logit(tau)
  levels = tuple(losses.logit(candidate) for candidate in candidates) or (level,)

  def init(key, batch):
    return net.init(key, batch["inputs"], batch["points"], train=True)

  def loss(variables, batch, key, train):
    del key  # nothing is drawn
    arguments = batch["inputs"], batch["points"]
    if train:
      logits, changed = net.apply(
        variables, *arguments, train=True, mutable=["batch_stats"]
      )
      stats = changed.get("batch_stats", {})
    else:
      logits = net.apply(variables, *arguments, train=False)
      stats = variables.get("batch_stats", {})
    value = losses.occupancy_cross_entropy(logits, batch["occupancies"])
    scalars = {
      "loss": value,
      "iou": losses.batch_iou(logits, batch["occupancies"], level),
      # Comparable between training and validation, which have other numbers of points.
      "loss_per_point": value / batch["points"].shape[1],
    }
    return value, (stats, scalars)

  def encode(variables, inputs):
    return net.apply(variables, inputs, train=False, method="encode")

  def decode(variables, latent, points):
    return net.apply(variables, points, latent, train=False, method="decode")

  def score(variables, batch):
    logits = decode(variables, encode(variables, batch["inputs"]), batch["points"])
    occupancies = batch["occupancies"]
    cross_entropy = jax.vmap(losses.occupancy_cross_entropy)
    loss = cross_entropy(logits[:, None], occupancies[:, None])
    return {
      "loss": loss,
      "loss_per_point": loss / occupancies.shape[1],
      "iou": losses.iou_at_levels(logits, occupancies, levels),
    }

  def fidelity(variables, latent: Any, batch):
    logits = decode(variables, latent, batch["points"])
    value = losses.occupancy_cross_entropy(logits, batch["occupancies"])
    return value / batch["points"].shape[1]

  return Method(
    init, loss, encode, decode, Field(level, levels), score, fidelity=fidelity
  )
