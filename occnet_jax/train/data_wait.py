"""How long the device had no work because the next batch was not there (host).

Steps are dispatched ahead of the device, so the time that the loop waits for a batch is
lost only as far as the device was done with the step before. A thread notes when each
step is done, and nothing else is waited for. Another tells of storage that stalls.
"""

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax

STALL_WARNING_SECONDS = (
  30.0  # seconds without a batch until it is told; then told at each doubling
)


class DataWait:
  """Follows draws of batches and the steps that take them.

  Args:
    tell: called, in another thread, with the seconds that a draw takes already.
  """

  def __init__(self, tell: Callable[[float], None] = lambda seconds: None):
    self._steps: queue.Queue = queue.Queue()
    self._seconds = 0.0
    self._drawn: tuple[float, float] | None = None
    self._tell, self._drawing = tell, float("inf")  # since when
    self._closed = threading.Event()
    for work in (self._follow, self._watch):
      threading.Thread(target=work, daemon=True).start()

  def draw(self, batches: Iterator[Any]) -> Any:
    """The next batch."""
    begin = self._drawing = time.perf_counter()
    try:
      batch = next(batches)
    finally:
      self._drawing = float("inf")
    self._drawn = begin, time.perf_counter()
    return batch

  def dispatched(self, result: Any) -> None:
    """Notes that a step takes the batch that was last drawn, if one was."""
    if self._drawn is not None:
      self._steps.put((*self._drawn, result))
    self._drawn = None

  def take(self) -> float:
    """Seconds since the last call; waits until all dispatched steps are done."""
    self._steps.join()
    seconds, self._seconds = self._seconds, 0.0
    return seconds

  def close(self) -> None:
    self._steps.put(None)
    self._closed.set()

  def _watch(self) -> None:
    limit = STALL_WARNING_SECONDS
    while not self._closed.wait(STALL_WARNING_SECONDS / 10):
      seconds = time.perf_counter() - self._drawing
      if seconds < STALL_WARNING_SECONDS:
        limit = STALL_WARNING_SECONDS
      elif seconds > limit:
        self._tell(seconds)
        limit = 2 * seconds

  def _follow(self) -> None:
    done = 0.0
    while (step := self._steps.get()) is not None:
      begin, end, result = step
      self._seconds += max(0.0, end - max(begin, done))
      with contextlib.suppress(Exception):  # the loop meets it too
        jax.block_until_ready(result)
      done = time.perf_counter()
      self._steps.task_done()
