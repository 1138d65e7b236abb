"""Time that the device waits for data (host).

Steps are dispatched ahead of the device, so the time that the loop waits for a batch is
lost only as far as the device had finished the step before. A thread notes when each
step is done, so that the loop itself waits for nothing else; while no step is running
it also watches how long a draw takes, and warns of storage that stalls.
"""

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax

# Warn after this many seconds without a batch, and again at each doubling.
STALL_WARNING_SECONDS = 30.0


class DataWait:
  """Follows draws of batches and the steps that take them.

  Args:
    on_stall: called in another thread with the seconds that a draw has taken so far.
  """

  def __init__(self, on_stall: Callable[[float], None] = lambda seconds: None):
    self._steps: queue.Queue = queue.Queue()
    self._seconds = 0.0
    self._drawn: tuple[float, float] | None = None
    self._on_stall = on_stall
    self._draw_began = float("inf")  # no draw is running
    threading.Thread(target=self._follow, daemon=True).start()

  def draw(self, batches: Iterator[Any]) -> Any:
    """The next batch."""
    begin = self._draw_began = time.perf_counter()
    try:
      batch = next(batches)
    finally:
      self._draw_began = float("inf")
    self._drawn = begin, time.perf_counter()
    return batch

  def dispatched(self, result: Any) -> None:
    """Notes that a step takes the batch that was drawn last, if one was drawn."""
    if self._drawn is not None:
      self._steps.put((*self._drawn, result))
    self._drawn = None

  def take(self) -> float:
    """Seconds since the last call; waits until all dispatched steps are done."""
    self._steps.join()
    seconds, self._seconds = self._seconds, 0.0
    return seconds

  def close(self) -> None:
    """Ends the thread."""
    self._steps.put(None)

  def _follow(self) -> None:
    done, limit = 0.0, STALL_WARNING_SECONDS
    while True:
      try:
        step = self._steps.get(timeout=STALL_WARNING_SECONDS / 10)
      except queue.Empty:
        limit = self._watch(limit)
        continue
      if step is None:
        return
      begin, end, result = step
      self._seconds += max(0.0, end - max(begin, done))
      with contextlib.suppress(Exception):  # the loop meets the same error
        jax.block_until_ready(result)
      done, limit = time.perf_counter(), STALL_WARNING_SECONDS
      self._steps.task_done()

  def _watch(self, limit: float) -> float:
    """Warns if a draw has taken longer than `limit`; returns the next limit."""
    seconds = time.perf_counter() - self._draw_began
    if seconds <= limit:
      return limit
    self._on_stall(seconds)
    return 2 * seconds
