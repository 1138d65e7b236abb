"""Work in other processes that survives the death of one of them (host)."""

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import connection
from typing import Any

_PRELOAD = ["data_prep.example"]  # once for all workers, for it takes seconds
_THREADS = ("OMP", "OPENBLAS", "MKL", "VECLIB_MAXIMUM", "NUMEXPR", "IGL")


class WorkerDied(Exception):
  """A worker process ended in the middle of a task: a crash, or no memory left."""


def run_tasks(
  function: Callable[[Any], Any], tasks: Iterable[Any], *, workers: int
) -> Iterator[tuple[Any, Any]]:
  """Yields (task, result) as tasks are done, in any order.

  A result is what the function returned or the exception that it raised; a task that
  kills its process yields WorkerDied, and the others go on. Each process computes on
  one thread. When the caller stops, or dies, its workers end.

  Args:
    function: importable, as are tasks and results.
    tasks: drawn as they are needed.
    workers: processes; 0 for one per core.
  """
  workers = workers or os.cpu_count() or 1
  tasks = iter(tasks)
  with _one_thread_each():
    while True:
      suspects: list[Any] = []
      yield from _run_until_broken(function, tasks, workers, suspects)
      if not suspects:
        return
      # One of these killed its process; alone, each answers for itself.
      for task in suspects:
        alone: list[Any] = []
        yield from _run_until_broken(function, iter([task]), 1, alone)
        if alone:
          yield task, WorkerDied("the process died at it: a crash, or out of memory")


def _run_until_broken(
  function: Callable[[Any], Any],
  tasks: Iterator[Any],
  workers: int,
  suspects: list[Any],
) -> Iterator[tuple[Any, Any]]:
  """Runs tasks until they end or a worker dies; then `suspects` holds what was open."""
  context = multiprocessing.get_context("forkserver")
  context.set_forkserver_preload(_PRELOAD)
  executor = ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker)
  pending: dict[Future, Any] = {}
  try:
    while True:
      while len(pending) < 2 * workers:
        try:
          task = next(tasks)
        except StopIteration:
          break
        try:
          pending[executor.submit(function, task)] = task
        except BrokenProcessPool:
          suspects.append(task)
          break
      if not pending:
        return
      for future in wait(pending, return_when=FIRST_COMPLETED).done:
        task = pending.pop(future)
        error = future.exception()
        if isinstance(error, BrokenProcessPool):
          suspects.append(task)
        else:
          yield task, error if error is not None else future.result()
      if suspects:
        # The pool fails everything that it still held.
        suspects.extend(pending.values())
        return
  finally:
    executor.shutdown(wait=True, cancel_futures=True)


def _start_worker() -> None:
  """Leaves Ctrl-C to the parent, and ends with the parent even if that is killed."""
  signal.signal(signal.SIGINT, signal.SIG_IGN)
  for name in _THREADS:
    os.environ[f"{name}_NUM_THREADS"] = "1"
  parent = multiprocessing.parent_process()
  assert parent is not None

  def watch() -> None:
    connection.wait([parent.sentinel])
    os._exit(1)

  threading.Thread(target=watch, daemon=True).start()


@contextlib.contextmanager
def _one_thread_each() -> Iterator[None]:
  """Sets what libraries read when they load; workers inherit it."""
  names = [f"{name}_NUM_THREADS" for name in _THREADS]
  before = {name: os.environ.get(name) for name in names}
  os.environ.update(dict.fromkeys(names, "1"))
  try:
    yield
  finally:
    for name, value in before.items():
      if value is None:
        os.environ.pop(name, None)
      else:
        os.environ[name] = value
