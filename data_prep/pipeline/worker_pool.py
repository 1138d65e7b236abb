"""A pool of worker processes with limits of time and memory for each task (host).

Every process has a pipe of its own, so one that dies, hangs or fills the memory costs
the task that it was given and no other. Processes stay warm between tasks. Neither
ProcessPoolExecutor nor Pebble offers this: the first loses all open tasks when one
process dies; the second has no limit of memory, and its processes share a pipe and a
lock, which a killed process may keep.
"""

import contextlib
import itertools
import math
import multiprocessing
import os
import pickle
import queue
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from multiprocessing import connection
from typing import Any, NamedTuple

import psutil

_PRELOAD = ["data_prep.sampling.example"]  # in the fork server: it takes seconds
_THREADS = ("OMP", "OPENBLAS", "MKL", "VECLIB_MAXIMUM", "NUMEXPR", "IGL")
_TICK = 0.05  # seconds between checks of a process that computes
_STARTS = 3  # attempts to start a process that ends at once
_GIB = 2**30


class Limits(NamedTuple):
  """Limits of one task; 0 for no limit.

  Attributes:
    seconds: wall time.
    gibibytes: resident memory of the process. It is measured from outside, because the
      limit of the operating system is one on address space: that counts memory which
      libraries reserve and never use, and native code that meets the limit ends the
      process without a message.
  """

  seconds: float = 0.0
  gibibytes: float = 0.0


UNLIMITED = Limits()


class WorkerLostError(Exception):
  """A task ended its process, or was ended at a limit.

  Attributes:
    outcome: "crash", "timeout" or "memory".
    seconds: wall time from its start.
  """

  def __init__(self, outcome: str, reason: str, seconds: float):
    super().__init__(reason)
    self.outcome = outcome
    self.seconds = seconds


def count_cores() -> int:
  """Cores that this process may use."""
  if hasattr(os, "sched_getaffinity"):
    return len(os.sched_getaffinity(0))
  return os.cpu_count() or 1


def run_tasks(
  function: Callable[[Any], Any],
  tasks: Iterable[Any],
  *,
  workers: int,
  limits: Limits = UNLIMITED,
) -> Iterator[tuple[Any, Any]]:
  """Yields (task, result) as tasks are done, in any order.

  A result is the value that the function returned, the exception that it raised, or
  WorkerLostError. Each process computes on one thread. The processes end when the
  caller closes the iterator or dies.

  Args:
    function: function of one task. It can be imported; tasks and results can be
      pickled.
    tasks: tasks, drawn as they are needed.
    workers: number of processes; 0 for one per core.
    limits: limits of each task.

  Raises:
    RuntimeError: processes cannot be started.
  """
  workers = workers or count_cores()
  tasks = iter(tasks)
  pool = [Worker(function, limits) for _ in range(workers)]
  free: queue.SimpleQueue[Worker] = queue.SimpleQueue()
  for worker in pool:
    free.put(worker)

  def run(task: Any) -> Any:
    worker = free.get()
    try:
      return worker.run(task)
    finally:
      free.put(worker)

  pending: dict[Future, Any] = {}
  with ThreadPoolExecutor(workers) as threads:  # one waits on each process
    try:
      while True:
        # Twice the workers, so that none is idle while the caller is busy.
        for task in itertools.islice(tasks, 2 * workers - len(pending)):
          pending[threads.submit(run, task)] = task
        if not pending:
          return
        for future in wait(pending, return_when=FIRST_COMPLETED).done:
          yield pending.pop(future), future.result()
    finally:
      for worker in pool:
        worker.stop()
      threads.shutdown(cancel_futures=True)
      for worker in pool:
        worker.close()


class Worker:
  """A process that does one task after another, and is replaced when it is lost.

  One thread at a time runs tasks; any may call `stop`.
  """

  def __init__(self, function: Callable[[Any], Any], limits: Limits = UNLIMITED):
    self._function = function
    self._limits = limits
    self._stopped = threading.Event()
    self._process: Any = None

  def run(self, task: Any) -> Any:
    """The function's value, the exception that it raised, or WorkerLostError.

    Raises:
      RuntimeError: a process cannot be started.
    """
    if self._stopped.is_set():
      return WorkerLostError("crash", "stopped", 0.0)
    if self._process is not None and not self._process.is_alive():
      self.close()  # killed while it was idle
    if self._process is None:
      self._start()
    start = time.monotonic()
    try:
      self._pipe.send(task)
      fault = self._wait(start)
      if fault is None:
        result = self._pipe.recv()
        if self._memory() > 0.5 * (self._limits.gibibytes or math.inf):
          self.close()  # memory that it keeps must not count against the next task
        return result
    except (EOFError, OSError):
      self._process.join(1)  # until its exit code is known
      fault = "crash", f"the process ended at it: {_cause(self._process.exitcode)}"
    self.close()
    return WorkerLostError(*fault, time.monotonic() - start)

  def _wait(self, start: float) -> tuple[str, str] | None:
    """None once a result has come, or the outcome and the reason why none will."""
    while not self._pipe.poll(_TICK):
      if self._stopped.is_set():
        return "crash", "stopped"
      limit = self._limits.seconds
      if limit and time.monotonic() - start > limit:
        return "timeout", f"not done after {limit:g} s; see prep.time_limit, prep.retry"
      limit = self._limits.gibibytes
      if limit and (used := self._memory()) > limit:
        return "memory", (
          f"took {used:.1f} GiB, more than {limit:g}; see prep.memory_limit, prep.retry"
        )
    return None

  def _memory(self) -> float:
    """Resident memory of the process in GiB."""
    try:
      return self._watched.memory_info().rss / _GIB
    except psutil.Error:  # it has ended, and the pipe will raise EOFError
      return 0.0

  def _start(self) -> None:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOAD)
    for _ in range(_STARTS):
      self._pipe, theirs = context.Pipe()
      args = theirs, self._function
      self._process = context.Process(target=_serve, args=args, daemon=True)
      with _one_thread_each():
        self._process.start()
      theirs.close()
      try:
        self._pipe.recv()  # sent once it has imported everything: now time counts
        self._watched = psutil.Process(self._process.pid)
        return
      except (EOFError, OSError, psutil.Error):
        self.close()
    raise RuntimeError(
      f"{_STARTS} worker processes ended before they could work, see above; a script "
      "must call this below `if __name__ == '__main__':`"
    )

  def stop(self) -> None:
    """Makes a task that another thread runs here end soon."""
    self._stopped.set()

  def close(self) -> None:
    """Kills the process and waits for its end."""
    if self._process is not None:
      self._process.kill()
      self._process.join()
      self._pipe.close()
      self._process = None


def _cause(code: int | None) -> str:
  if code is None or code >= 0:
    return f"exit code {code}"
  if code == -signal.SIGKILL:
    return "killed, perhaps because the machine had no memory left"
  return f"crash ({signal.Signals(-code).name})"


def _serve(pipe: connection.Connection, function: Callable[[Any], Any]) -> None:
  """Main loop of a worker process: answers tasks until the parent ends."""
  # A terminal sends Ctrl-C to all processes; the parent alone reacts to it.
  signal.signal(signal.SIGINT, signal.SIG_IGN)
  for name in _THREADS:
    os.environ[f"{name}_NUM_THREADS"] = "1"
  parent = multiprocessing.parent_process()
  assert parent is not None

  def watch() -> None:
    connection.wait([parent.sentinel])
    os._exit(1)

  threading.Thread(target=watch, daemon=True).start()
  with contextlib.suppress(EOFError, OSError):
    pipe.send(None)
    while True:
      task = pipe.recv()
      try:
        result = pickle.dumps(function(task))
      except Exception as error:
        result = _pack(error)
      pipe.send_bytes(result)


def _pack(error: Exception) -> bytes:
  """A pickled exception, or its message where it cannot be pickled."""
  try:
    packed = pickle.dumps(error)
    pickle.loads(packed)
  except Exception:
    packed = pickle.dumps(RuntimeError(f"{type(error).__name__}: {error}"))
  return packed


_environment = threading.Lock()


@contextlib.contextmanager
def _one_thread_each() -> Iterator[None]:
  """Sets the environment from which a new process limits its libraries' threads."""
  names = [f"{name}_NUM_THREADS" for name in _THREADS]
  with _environment:
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
