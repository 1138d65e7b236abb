"""Several processes that train one network: what they share and agree on (host).

Each process reads its own part of every batch and of the splits to judge, holds the
whole state, and steps together with the others. The first one alone writes. With one
process nothing here does anything.
"""

import jax
import numpy as np
from jax.experimental import multihost_utils
from jaxtyping import Float, PyTree


def initialize(address: str, processes: int, process: int) -> None:
  """Makes this one of several processes, on one machine or many; before all else.

  Args:
    address: host:port at which the first process listens.
    processes: how many.
    process: which, from 0.

  Raises:
    ValueError: these do not fit together.
  """
  if not 0 <= process < processes or ":" not in address:
    raise ValueError(
      f"process {process} of {processes} at {address!r}; want 0 <= process < processes "
      "and host:port of the first"
    )
  jax.distributed.initialize(address, processes, process)


def process_index_and_count() -> tuple[int, int]:
  """(which process this is, of how many)."""
  return jax.process_index(), jax.process_count()


def is_main_process() -> bool:
  """Whether this process writes."""
  return jax.process_index() == 0


def broadcast_from_main(tree: PyTree) -> PyTree:
  """The first process' arrays, on every process; all have the same form."""
  if jax.process_count() == 1:
    return tree
  return jax.device_get(multihost_utils.broadcast_one_to_all(tree))


def sum_over_processes(values: Float[np.ndarray, " k"]) -> Float[np.ndarray, " k"]:
  """Sums over the processes."""
  if jax.process_count() == 1:
    return values
  return np.asarray(multihost_utils.process_allgather(values), np.float64).sum(0)


def barrier(name: str) -> None:
  """Returns once every process is here."""
  if jax.process_count() > 1:
    multihost_utils.sync_global_devices(name)
