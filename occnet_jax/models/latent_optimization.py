"""A latent for new observations, by optimisation at test time (device, jnp)."""

import functools

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from occnet_jax import losses
from occnet_jax.types import Latent, Method, Variables


@functools.partial(jax.jit, static_argnums=0, static_argnames="steps")
def fit_latent(
  method: Method,
  variables: Variables,
  start: Latent,
  points: Float[Array, "b t 3"],
  occupancies: Float[Array, "b t"],
  *,
  steps: int,
  learning_rate: float | Float[Array, ""],
  prior: float | Float[Array, ""],
) -> Latent:
  """The latents, one per shape, at which the decoder explains labelled points best.

  Adam with a cosine decay on the mean cross-entropy per point plus
  prior * |latent - start|^2, the network held fixed: an auto-decoder's inference (Park
  et al. 2019, section 4.2; paper, section 4.1 for the code table).

  Args:
    method, variables: the trained network.
    start: latents to begin at, leading axis b.
    points, occupancies: what is known of every shape.
    steps: of Adam.
    learning_rate: at its highest.
    prior: weight of the distance from `start`.
  """
  rate = optax.cosine_decay_schedule(1.0, steps)
  optimizer = optax.adam(lambda count: learning_rate * rate(count))

  def loss(latent):
    logits = method.decode(variables, latent, points)
    fidelity = losses.occupancy_cross_entropy(logits, occupancies) / points.shape[1]
    away = jax.tree.map(lambda a, b: jnp.square(a - b).sum(), latent, start)
    return fidelity + prior * optax.tree.sum(away) / points.shape[0]

  def update(_, carry):
    latent, state = carry
    updates, state = optimizer.update(jax.grad(loss)(latent), state)
    return optax.apply_updates(latent, updates), state

  return jax.lax.fori_loop(0, steps, update, (start, optimizer.init(start)))[0]
