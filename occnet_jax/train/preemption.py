"""An end that was asked for: SIGTERM, as schedulers send it before they kill (host)."""

import os
import signal
from collections.abc import Iterable, Iterator
from typing import Any

import jax
from jax.experimental import multihost_utils


class Preempted(SystemExit):
  """The state is saved and the process ends, with code 75: the same call resumes."""

  def __init__(self):
    super().__init__(os.EX_TEMPFAIL)


class Preemption:
  """Notices SIGTERM while it is entered, without interrupting what runs.

  Where there are several processes, they agree on the step at which they stop: JAX
  tells all of them once one has the signal.
  """

  def __init__(self):
    self._asked = False
    self._before: Any = None

  @property
  def noticed(self) -> bool:
    """Whether this process has the signal."""
    return self._asked

  def asked(self, step: int) -> bool:
    """Whether to stop before step `step`; every process asks once for every step."""
    if jax.process_count() > 1:
      self._asked |= multihost_utils.reached_preemption_sync_point(step)
    return self._asked

  def until_asked(self, items: Iterable[Any]) -> Iterator[Any]:
    """The items; raises Stopped in their midst when this one process is asked."""
    for item in items:
      if self._asked and jax.process_count() == 1:
        raise Preempted
      yield item

  def __enter__(self) -> "Preemption":
    if jax.process_count() == 1:  # else the handler is JAX's own
      self._before = signal.signal(signal.SIGTERM, self._note)
    return self

  def __exit__(self, *error) -> None:
    if self._before is not None:
      signal.signal(signal.SIGTERM, self._before)

  def _note(self, number: int, frame: Any) -> None:
    self._asked = True
