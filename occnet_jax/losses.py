"""Losses and the scalars that go with them (device, jnp)."""

import math

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float


def occupancy_cross_entropy(
  logits: Float[Array, "b t"], occupancies: Float[Array, "b t"]
) -> Float[Array, ""]:
  """Cross-entropy, summed over points and averaged over shapes (paper, Eq. 3)."""
  return optax.sigmoid_binary_cross_entropy(logits, occupancies).sum(-1).mean()


def kl_to_standard_normal(
  mean: Float[Array, "b z"], logstd: Float[Array, "b z"]
) -> Float[Array, ""]:
  """KL(N(mean, exp(logstd)^2) || N(0, 1)), summed over z, averaged over shapes (Eq. 4).

  (Kingma & Welling 2014, appendix B.)
  """
  variance = jnp.exp(2 * logstd)
  return (0.5 * (variance + jnp.square(mean) - 1) - logstd).sum(-1).mean()


def batch_iou(
  logits: Float[Array, "b t"],
  occupancies: Float[Array, "b t"],
  level: float | Float[Array, ""],
) -> Float[Array, ""]:
  """Mean over shapes of the IoU of {logit >= level} and the occupancies at the points.

  A shape with no point inside either set counts as 1.
  """
  predicted, inside = logits >= level, occupancies >= 0.5
  both = (predicted & inside).sum(-1)
  either = (predicted | inside).sum(-1)
  return jnp.where(either == 0, 1.0, both / jnp.maximum(either, 1)).mean()


def iou_at_levels(
  values: Float[Array, "b t"],
  occupancies: Float[Array, "b t"],
  levels: tuple[float, ...],
) -> Float[Array, "b k"]:
  """IoU of every shape at every level, one level in memory at a time."""
  iou = jax.vmap(batch_iou, in_axes=(0, 0, None))
  ious = jax.lax.map(
    lambda level: iou(values[:, None], occupancies[:, None], level), jnp.asarray(levels)
  )
  return ious.T


def logit(tau: float) -> float:
  """The logit at which the occupancy probability is tau, 0 < tau < 1."""
  if not 0 < tau < 1:
    raise ValueError(f"threshold tau is {tau}; want a probability between 0 and 1")
  return math.log(tau / (1 - tau))
