"""IoU on held-out shapes at many thresholds at once (device and host)."""

import functools
from collections.abc import Iterable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from occnet_jax import losses
from occnet_jax.train import multihost
from occnet_jax.train import step as step_lib
from occnet_jax.types import Batch, Method, Variables


@functools.partial(jax.jit, static_argnums=(0, 4))
def score(
  method: Method,
  variables: Variables,
  batch: Batch,
  levels: Float[Array, " k"],
  posterior_points: int = 0,
) -> tuple[Float[Array, " b"], Float[Array, "b k"]]:
  """Loss of every shape, and its IoU at every logit level.

  With a random z both are those of its posterior's mean, and the loss has its KL. The
  posterior sees `posterior_points` of a shape's points, 0 for all: its encoder pools
  over them by maximum, so it wants as many as in training.
  """
  latent = method.encode(variables, batch["inputs"])
  inside, kl = batch["occupancies"], 0.0
  if method.posterior is not None:
    some = slice(posterior_points or None)
    seen = {name: batch[name][:, some] for name in ("points", "occupancies")}
    mean, logstd = method.posterior(variables, {**batch, **seen})
    latent = method.with_z(latent, mean)
    kl = jax.vmap(losses.kl_to_standard_normal)(mean[:, None], logstd[:, None])
  logits = method.decode(variables, latent, batch["points"])
  loss = jax.vmap(losses.occupancy_cross_entropy)(logits[:, None], inside[:, None]) + kl
  iou = jax.vmap(losses.batch_iou, in_axes=(0, 0, None))
  ious = jax.lax.map(lambda level: iou(logits[:, None], inside[:, None], level), levels)
  return loss, ious.T


def validate(
  method: Method,
  variables: Variables,
  batches: Iterable[tuple[Batch, int]],
  taus: tuple[float, ...],
  *,
  posterior_points: int = 0,
) -> dict[str, float]:
  """Means over shapes, and the threshold that does best.

  Args:
    method: what is judged.
    variables: its variables.
    batches: (batch, how many of its shapes count), as `data.loader` yields them; each
      is spread over the devices, and each process has its own.
    taus: the probabilities to try.
    posterior_points: as of `score`.

  Returns:
    loss (summed over the points of a shape), iou at the best tau, and that tau.

  Raises:
    ValueError: there is no shape.
  """
  levels = jnp.asarray([losses.logit(tau) for tau in taus])
  sums = np.zeros(2 + len(taus))  # of shapes, their loss and their IoU
  for batch, count in batches:
    loss, iou = jax.device_get(
      score(method, variables, step_lib.shard_batch(batch), levels, posterior_points)
    )
    sums += [count, loss[:count].sum(), *iou[:count].sum(0)]
  shapes, loss, *ious = multihost.sum_over_processes(sums)
  if not shapes:
    raise ValueError("the validation split is empty; prepare more shapes")
  best = int(np.argmax(ious))
  return {
    "loss": float(loss / shapes),
    "iou": float(ious[best] / shapes),
    "tau": taus[best],
  }
