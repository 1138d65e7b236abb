"""Several processes that train one network (host).

Each process reads its own part of every batch and of the validation split, holds the
whole state, and takes every step together with the others. Only the main process
writes. With a single process these functions do nothing.
"""

import jax
import numpy as np
from jax.experimental import multihost_utils
from jaxtyping import Float, PyTree


def initialize(
  address: str, processes: int, process: int, *, heartbeat_timeout: int = 100
) -> None:
  """Joins the processes of a run, on one machine or many; call it before using JAX.

  Args:
    address: host:port at which process 0 listens.
    processes: number of processes.
    process: index of this process, from 0.
    heartbeat_timeout: seconds of silence after which a process counts as gone.

  Raises:
    ValueError: the index is not below the number, or the address has no port.
  """
  if not 0 <= process < processes or ":" not in address:
    raise ValueError(
      f"process {process} of {processes} at {address!r}; want 0 <= process < processes "
      "and host:port of process 0"
    )
  jax.distributed.initialize(
    address, processes, process, heartbeat_timeout_seconds=heartbeat_timeout
  )


def process_index_and_count() -> tuple[int, int]:
  """(index of this process, number of processes)."""
  return jax.process_index(), jax.process_count()


def is_main_process() -> bool:
  """Whether this is the process that writes."""
  return jax.process_index() == 0


def broadcast_from_main(tree: PyTree) -> PyTree:
  """The main process' arrays, on every process; all pass the same structure."""
  if jax.process_count() == 1:
    return tree
  return jax.device_get(multihost_utils.broadcast_one_to_all(tree))


def sum_over_processes(values: Float[np.ndarray, " k"]) -> Float[np.ndarray, " k"]:
  """Element-wise sums over the processes, in float64."""
  if jax.process_count() == 1:
    return values
  return np.asarray(multihost_utils.process_allgather(values), np.float64).sum(0)


def barrier(name: str) -> None:
  """Waits until every process has called it with this name."""
  if jax.process_count() > 1:
    multihost_utils.sync_global_devices(name)
