"""A latent for new observations, by optimisation at test time (device, jnp)."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from occnet_jax import ranges
from occnet_jax.types import Batch, Latent, Method, Variables


@functools.partial(jax.jit, static_argnums=0, static_argnames="steps")
def fit_latent(
  method: Method,
  variables: Variables,
  start: Latent,
  batch: Batch,
  *,
  steps: int,
  learning_rate: float | Float[Array, ""],
  prior_weight: float | Float[Array, ""],
) -> Latent:
  """The latents, one per shape, at which the decoder fits labelled points best.

  Adam with a cosine decay on the method's fidelity plus
  prior_weight * |latent - start|^2, the network held fixed: an auto-decoder's inference
  (Park et al. 2019, section 4.2; paper, section 4.1 for the code table).

  Args:
    method: a system with a fidelity.
    variables: trained variables of the method.
    start: first latents, leading axis b.
    batch: labelled points of every shape, as in training but without inputs.
    steps: number of steps of Adam.
    learning_rate: peak learning rate.
    prior_weight: weight of the squared distance from `start`, averaged over shapes.
  """
  rate = optax.cosine_decay_schedule(1.0, steps)
  optimizer = optax.adam(lambda count: learning_rate * rate(count))

  def loss(latent):
    fidelity = method.fidelity(variables, latent, batch)
    away = jax.tree.map(lambda a, b: jnp.square(a - b).sum(), latent, start)
    return fidelity + prior_weight * optax.tree.sum(away) / batch["points"].shape[0]

  def update(_, carry):
    latent, state = carry
    updates, state = optimizer.update(jax.grad(loss)(latent), state)
    return optax.apply_updates(latent, updates), state

  return jax.lax.fori_loop(0, steps, update, (start, optimizer.init(start)))[0]


def fit_labels(
  method: Method,
  variables: Variables,
  latents: Latent,
  points: Any,
  labels: Any,
  **settings: Any,
) -> Latent:
  """As `fit_latent`, from the mean of some latents and arrays of any type.

  Args:
    method, variables: as in `fit_latent`.
    latents: latents with any leading axis, whose mean is the start of every shape.
    points: labelled points (b, t, 3).
    labels: their labels (b, t).
    **settings: the other arguments of `fit_latent`.

  Raises:
    ValueError: a system without a fidelity, or arrays that do not go together.
  """
  if method.fidelity is None:
    raise ValueError(
      "this system has no points whose labels a latent could be fitted to; use encode"
    )
  batch = labelled_batch(points, labels)
  start = repeat_mean(latents, len(batch["points"]))
  return fit_latent(method, variables, start, batch, **settings)


def repeat_mean(latents: Latent, count: int) -> Latent:
  """The mean of latents (b, ...) as latents (count, ...)."""
  return jax.tree.map(
    lambda leaf: jnp.repeat(leaf.mean(0, keepdims=True), count, 0), latents
  )


def labelled_batch(points: Any, labels: Any) -> Batch:
  """A batch for `fit_latent`, from points (b, t, 3) and their labels (b, t).

  Raises:
    ValueError: arrays that do not go together, or numbers that are not finite.
  """
  points = ranges.to_finite(points, np.float32, "points")
  labels = ranges.to_finite(labels, np.float32, "labels")
  if points.ndim != 3 or points.shape[-1] != 3 or labels.shape != points.shape[:2]:
    raise ValueError(
      f"points of shape {points.shape} with labels of shape {labels.shape}; want "
      "(b, t, 3) and (b, t)"
    )
  # A system reads the labels that it was trained with.
  return {"points": points, "occupancies": labels, "distances": labels}
