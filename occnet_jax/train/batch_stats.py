"""Recomputes batch-norm statistics for averaged weights (device).

An average of parameters is another network than those it is the average of, and the
average of their running statistics need not be its own (SWA: Izmailov et al. 2018,
section 3.2).
"""

import functools
from collections.abc import Iterable

import jax
import jax.numpy as jnp

from occnet_jax.types import Batch, Key, Method, Variables

# A running statistic so large that the batch's is nothing beside it; a power of two, by
# which products and quotients are exact.
_HUGE = 2.0**40


def recompute(
  method: Method, variables: Variables, batches: Iterable[Batch], key: Key
) -> Variables:
  """The variables with the mean of the batches' statistics.

  Args:
    method: a method built without a device axis.
    variables: the variables; their own statistics are not used.
    batches: whole batches, at least one.
    key: random key for the draws of the loss, such as z.
  """
  total, count = jax.tree.map(jnp.zeros_like, variables["batch_stats"]), 0
  for count, batch in enumerate(batches, 1):
    key_of_batch = jax.random.fold_in(key, count)
    stats = _batch_statistics(method, variables, batch, key_of_batch)
    total = jax.tree.map(jnp.add, total, stats)
  return {**variables, "batch_stats": jax.tree.map(lambda x: x / count, total)}


@functools.partial(jax.jit, static_argnums=0)
def _batch_statistics(method, variables, batch, key):
  """The statistics of one batch, whatever the momentum of each layer.

  A layer of momentum m updates its running statistic r to m r + (1 - m) b with the
  batch's b. From r = 0 it comes to (1 - m) b, and from a huge r to m r. The forward
  pass does not depend on r, so that vmap computes it once.
  """

  def update(running):
    stats = jax.tree.map(lambda x: jnp.full_like(x, running), variables["batch_stats"])
    _, (updated, _) = method.loss({**variables, "batch_stats": stats}, batch, key, True)
    return updated

  updated = jax.vmap(update)(jnp.array([0.0, _HUGE]))
  return jax.tree.map(lambda x: x[0] / (1 - x[1] / _HUGE), updated)
