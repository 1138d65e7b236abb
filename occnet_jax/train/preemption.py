"""Preemption: SIGTERM saves the state and exits with code 75 (host).

Schedulers of clusters send SIGTERM some time before they kill a process.
"""

import os
import signal
from collections.abc import Iterable, Iterator
from typing import Any

import jax
from jax.experimental import multihost_utils


class Preempted(SystemExit):
  """Exit with code 75 after the state was saved; the same command resumes the run."""

  def __init__(self):
    super().__init__(os.EX_TEMPFAIL)


class Preemption:
  """A context in which SIGTERM is noted, without interrupting the running step.

  Several processes agree on the step at which they stop, once one of them has received
  the signal.
  """

  def __init__(self):
    self._asked = False
    self._previous_handler: Any = None

  @property
  def noticed(self) -> bool:
    """Whether this process has received the signal."""
    return self._asked

  def asked(self, step: int) -> bool:
    """Whether to stop before step `step`; every process calls this once per step."""
    if jax.process_count() > 1:
      self._asked |= multihost_utils.reached_preemption_sync_point(step)
    return self._asked

  def until_asked(self, items: Iterable[Any]) -> Iterator[Any]:
    """Yields the items; a run of one process raises Preempted after the signal."""
    for item in items:
      if self._asked and jax.process_count() == 1:
        raise Preempted
      yield item

  def __enter__(self) -> "Preemption":
    if jax.process_count() == 1:  # otherwise JAX handles the signal
      self._previous_handler = signal.signal(signal.SIGTERM, self._note)
    return self

  def __exit__(self, *error) -> None:
    if self._previous_handler is not None:
      signal.signal(signal.SIGTERM, self._previous_handler)

  def _note(self, number: int, frame: Any) -> None:
    self._asked = True
