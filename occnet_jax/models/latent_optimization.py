"""A latent for new observations, by optimisation at test time (device, jnp)."""

import functools

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

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
    variables: its trained variables.
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
