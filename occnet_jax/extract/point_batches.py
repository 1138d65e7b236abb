"""Batches of points through a compiled function (host).

Shape letters: n rows, t points of a batch.
"""

import functools
import itertools
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import jax
import numpy as np
from jaxtyping import Array, Float


def padded_batches(
  rows: Float[np.ndarray, "n ..."], size: int
) -> Iterator[Float[np.ndarray, "size ..."]]:
  """Cuts rows into batches of one size; copies of the last row fill the last batch."""
  for start in range(0, len(rows), size):
    batch = rows[start : start + size]
    if missing := size - len(batch):
      batch = np.concatenate([batch, np.repeat(batch[-1:], missing, axis=0)])
    yield batch


def map_batches(
  compiled: Callable, batches: Iterable[Float[np.ndarray, "t 3"]]
) -> list[Array | np.ndarray]:
  """The results of a compiled function for each batch, in their order.

  XLA spreads a batch of this size over few of a CPU's cores. Where JAX dispatches
  without a queue (`runs_in_caller`), a thread for each core evaluates whole batches
  instead; otherwise JAX queues all of them before the first ends.
  """
  batches = iter(batches)
  if not runs_in_caller():
    return [compiled(batch) for batch in batches]
  first = [compiled(batch) for batch in itertools.islice(batches, 1)]  # compiles once
  return first + list(_threads().map(compiled, batches))


def runs_in_caller() -> bool:
  """Whether a compiled function runs in the thread that calls it."""
  queued = jax.config.read("jax_cpu_enable_async_dispatch")
  return jax.default_backend() == "cpu" and not queued


@functools.cache
def _threads() -> ThreadPoolExecutor:
  has_affinity = hasattr(os, "sched_getaffinity")
  return ThreadPoolExecutor(len(os.sched_getaffinity(0)) if has_affinity else None)
