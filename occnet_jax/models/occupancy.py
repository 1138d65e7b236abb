"""What methods whose field is a logit of occupancy have in common (device, jnp)."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
from jaxtyping import Array, Float

from occnet_jax import losses
from occnet_jax.types import Batch, Field, Method, Scalars, ShapeScores, Variables


def field(tau: float, candidates: tuple[float, ...] = ()) -> Field:
  """The field of a network of logits.

  Args:
    tau: occupancy probability of the surface.
    candidates: probabilities among which validation chooses; () for tau alone.
  """
  level = losses.logit(tau)
  levels = tuple(losses.logit(candidate) for candidate in candidates)
  return Field(level, levels or (level,))


def apply(net: nn.Module, variables: Variables, *args: Any, train: bool) -> Any:
  """The network's result and its running statistics, new ones after training."""
  if not train:
    return net.apply(variables, *args, train=False), variables.get("batch_stats", {})
  result, changed = net.apply(variables, *args, train=True, mutable=["batch_stats"])
  return result, changed.get("batch_stats", {})


def scalars(
  logits: Float[Array, "b t"], batch: Batch, output: Field
) -> tuple[Float[Array, ""], Scalars]:
  """The cross-entropy of a batch, and what training logs beside the loss."""
  value = losses.occupancy_cross_entropy(logits, batch["occupancies"])
  return value, {"iou": losses.batch_iou(logits, batch["occupancies"], output.level)}


def loss_result(
  value: Float[Array, ""], stats: Any, scalars: Scalars, batch: Batch
) -> tuple[Float[Array, ""], tuple[Any, Scalars]]:
  """What `Method.loss` returns; losses are logged in total and per point."""
  # Comparable between training and validation, which have other numbers of points.
  per_point = value / batch["points"].shape[1]
  return value, (stats, {"loss": value, **scalars, "loss_per_point": per_point})


def score(
  logits: Float[Array, "b t"],
  batch: Batch,
  output: Field,
  regularisation: float | Float[Array, " b"] = 0.0,
) -> ShapeScores:
  """Loss of every shape, and its IoU at each of the field's candidates."""
  occupancies = batch["occupancies"]
  cross_entropy = jax.vmap(losses.occupancy_cross_entropy)
  loss = cross_entropy(logits[:, None], occupancies[:, None]) + regularisation
  return {
    "loss": loss,
    "loss_per_point": loss / occupancies.shape[1],
    "iou": losses.iou_at_levels(logits, occupancies, output.candidates),
  }


def fidelity(
  decode: Callable[..., Any],
) -> Callable[..., Float[Array, ""]]:
  """The mean cross-entropy per point of a decoder; see `types.Method`."""

  def mean_cross_entropy(variables, latent, batch):
    logits = decode(variables, latent, batch["points"])
    value = losses.occupancy_cross_entropy(logits, batch["occupancies"])
    return value / batch["points"].shape[1]

  return mean_cross_entropy


def method(net: nn.Module, *, tau: float, candidates: tuple[float, ...] = ()) -> Method:
  """A network that draws nothing and has one latent, as a Method.

  Args:
    net: module with the methods encode (inputs, train=...) -> latent, decode (points
      (b, t, 3), latent, train=...) -> logits (b, t), and a call (inputs, points,
      train=...) of both.
    tau: occupancy probability of the surface; also of the IoU that training reports.
    candidates: probabilities among which validation chooses; () for tau alone.
  """
  output = field(tau, candidates)

  def init(key, batch):
    return net.init(key, batch["inputs"], batch["points"], train=True)

  def loss(variables, batch, key, train):
    del key  # nothing is drawn
    logits, stats = apply(net, variables, batch["inputs"], batch["points"], train=train)
    value, logged = scalars(logits, batch, output)
    return loss_result(value, stats, logged, batch)

  def encode(variables, inputs):
    return net.apply(variables, inputs, train=False, method="encode")

  def decode(variables, latent, points):
    return net.apply(variables, points, latent, train=False, method="decode")

  def score_batch(variables, batch):
    logits, _ = apply(net, variables, batch["inputs"], batch["points"], train=False)
    return score(logits, batch, output)

  return Method(
    init, loss, encode, decode, output, score_batch, fidelity=fidelity(decode)
  )
