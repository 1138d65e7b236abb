"""Batch norm's statistics, computed anew for variables that no batch has seen (device).

An average of parameters is another network than those it is of: the average of their
running statistics need not be its own (Izmailov et al. 2018, section 3.2).
"""

import functools
from collections.abc import Iterable

import jax
import jax.numpy as jnp

from occnet_jax.nn.norm import MOMENTUM
from occnet_jax.types import Batch, Key, Method, Variables


def recompute(
  method: Method, variables: Variables, batches: Iterable[Batch], key: Key
) -> Variables:
  """The variables with the means of the statistics that they have on some batches.

  Args:
    method: built without a device axis.
    variables: their statistics do not count.
    batches: whole ones; at least one.
    key: of what the loss draws, such as z.
  """
  total, count = jax.tree.map(jnp.zeros_like, variables["batch_stats"]), 0
  for count, batch in enumerate(batches, 1):
    found = _of_batch(method, variables, batch, jax.random.fold_in(key, count))
    total = jax.tree.map(jnp.add, total, found)
  return {**variables, "batch_stats": jax.tree.map(lambda x: x / count, total)}


@functools.partial(jax.jit, static_argnums=0)
def _of_batch(method, variables, batch, key):
  """One step from zero moves running statistics by a known share of the batch's."""
  zero = jax.tree.map(jnp.zeros_like, variables["batch_stats"])
  _, (moved, _) = method.loss({**variables, "batch_stats": zero}, batch, key, True)
  return jax.tree.map(lambda x: x / (1 - MOMENTUM), moved)
