"""What one sees of a run: progress, logs, and the stop at what is not finite (host).

Scalars stay on the device until `flush`, so that the step is never waited for.
"""

import pathlib
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np
import tqdm

from occnet_jax.train import multihost
from occnet_jax.train.data_wait import DataWait
from occnet_jax.train.metric_log import MetricLog, NoMetricLog
from occnet_jax.train.state import TrainState
from occnet_jax.types import Picture

STARVED_FRACTION = (
  0.2  # share of the time in which the device waits for data that is a warning
)
STARVED_FLUSHES = 3  # flushes in a row
Rows = Sequence[Sequence[Any]]  # of pairs: a step, its scalars
MAX_SKIPPED_IN_A_ROW = 100  # steps in a row that are skipped end the run


class NotFinite(FloatingPointError):
  """A step whose loss or gradient is not finite.

  Attributes:
    step: which.
    state: the run's as it is now; the step leaves it as it was before the bad one.
  """

  def __init__(self, reason: str, step: int, state: TrainState):
    super().__init__(reason)
    self.step, self.state = step, state


class Progress:
  """Follows a run from step `start` to `steps`.

  Args:
    directory: of the log.
    start, steps: the first step of this call, and the last of all.
    shapes: per step.
    pending_rows: result of `pending_rows` when the run was stopped at `start`.
    validation_pending: whether validation at `start` is still to come.
  """

  def __init__(
    self,
    directory: pathlib.Path,
    start: int,
    steps: int,
    *,
    shapes: int,
    pending_rows: Rows = (),
    validation_pending: bool = False,
  ):
    first = multihost.is_main_process()
    self._log = (
      MetricLog(directory, start=start, validation_pending=validation_pending)
      if first
      else NoMetricLog()
    )
    self._waits = DataWait(self._stalled)
    self._pending: list[tuple[int, dict[str, Any]]] = []  # on the device
    self._rows = [(step, row) for step, row in pending_rows]  # fetched, not yet logged
    self._since, self._steps = time.perf_counter(), 0
    self._slow = -1  # flushes in a row that waited; the first has the compilation
    self._skipped = 0  # steps in a row
    self._shapes = shapes
    self._evaluated: dict[str, float] = {}
    self._bar = tqdm.tqdm(
      total=steps,
      initial=start,
      desc="train",
      unit="step",
      file=sys.stdout,
      disable=not first,
    )

  def draw(self, batches: Iterator[Any]) -> Any:
    """The next batch; the time that the device waits for it counts as such."""
    return self._waits.draw(batches)

  def add(self, step: int, scalars: dict[str, Any]) -> None:
    """Notes the scalars of one step, or (k,) of k steps from `step` on."""
    self._pending.append((step, scalars))
    self._waits.dispatched(scalars["loss"])

  def pending_rows(self, state: TrainState) -> Rows:
    """Steps since the last flush and their scalars, for the run that resumes this one.

    Raises:
      NotFinite: as `flush`.
    """
    self._fetch(state)
    return self._rows

  def flush(self, state: TrainState) -> None:
    """Logs the mean of what was noted since the last flush; of skipped steps, the sum.

    Raises:
      NotFinite: a step's loss or gradient is not finite, and it was not skipped or is
        one of too many.
    """
    self._fetch(state)
    if not self._rows:
      return
    good = [row for _, row in self._rows if not row.get("skipped")]
    names = good[0] if good else ()
    means = {f"train/{k}": float(np.mean([row[k] for row in good])) for k in names}
    if "skipped" in self._rows[0][1]:
      means["train/skipped"] = float(len(self._rows) - len(good))
    self._log.write(self._rows[-1][0] + 1, means | self._timing())
    self._rows = []
    loss, iou = (means.get(f"train/{k}", float("nan")) for k in ("loss", "iou"))
    self._bar.set_postfix_str(f"loss {loss:.4g} iou {iou:.3f}{self._seen}")

  def _fetch(self, state: TrainState) -> None:
    """Brings scalars to the host, and looks whether they are finite."""
    for first, row in jax.device_get(self._pending):
      for step, values in enumerate(_unstack(row), first):
        bad = [n for n in ("loss", "gradient_norm") if not np.isfinite(values[n])]
        self._skipped = self._skipped + 1 if bad else 0
        if bad and (not values.get("skipped") or self._skipped == MAX_SKIPPED_IN_A_ROW):
          reason = f"the {bad[0].replace('_', ' ')} is {values[bad[0]]}"
          if values.get("skipped"):
            reason += f", as in the {MAX_SKIPPED_IN_A_ROW - 1} steps before"
          raise NotFinite(f"step {step}: {reason}", int(state.step), state)
        self._rows.append((step, values))
        self._steps += 1
        self._bar.update()
    self._pending.clear()

  def _timing(self) -> dict[str, float]:
    """How fast it goes since the last flush of this call."""
    seconds = max(time.perf_counter() - self._since, 1e-9)
    rate, waiting = self._steps / seconds, self._waits.take() / seconds
    self._restart_clock()
    self._slow = self._slow + 1 if waiting > STARVED_FRACTION or self._slow < 0 else 0
    if self._slow == STARVED_FLUSHES:
      self.say(
        f"warning: the device waits for data in {waiting:.0%} of the time; keep the "
        "data nearer (config.data.placement = host or device) or read it with more "
        "processes (config.data.workers)"
      )
    self._seen = (
      f" | {rate * self._shapes:.0f} shapes/s, {waiting:.0%} waiting for data"
      f"{self._evaluation_text()}"
    )
    return {
      "train/steps_per_second": rate,
      "train/shapes_per_second": rate * self._shapes,
      "train/waiting_for_data": waiting,
    }

  def _evaluation_text(self) -> str:
    shown = ", ".join(f"{name} {x:.3g}" for name, x in self._evaluated.items())
    return f" | {shown}" if shown else ""

  def _stalled(self, seconds: float) -> None:
    self.say(
      f"warning: no batch for {seconds:.0f} s: the storage of the data stalls, and the "
      "run waits for it; Ctrl-C ends it, and the same command goes on"
    )

  def say(self, text: str) -> None:
    """Writes a line to stderr, above the progress bar."""
    self._bar.write(text, file=sys.stderr)

  def _restart_clock(self) -> None:
    self._since, self._steps = time.perf_counter(), 0

  def evaluated(
    self,
    step: int,
    group: str,
    numbers: dict[str, float],
    pictures: dict[str, Picture],
  ) -> None:
    """Logs the results of one evaluator for state `step` under its name."""
    if numbers:
      self._log.write(step, {f"{group}/{name}": x for name, x in numbers.items()})
      self._evaluated |= {f"{group} {name}": x for name, x in numbers.items()}
    for name, picture in pictures.items():
      self._log.show(step, f"{group}/{name}", picture)
    self._restart_clock()

  def __enter__(self) -> "Progress":
    return self

  def __exit__(self, *error) -> None:
    self._bar.close()
    self._waits.close()
    self._log.close()


def _unstack(row: dict[str, Any]) -> list[dict[str, float]]:
  """The scalars of each step, of one step or of several."""
  count = max(np.size(value) for value in row.values())
  columns = {name: np.ravel(value) for name, value in row.items()}
  return [{k: float(v[i]) for k, v in columns.items()} for i in range(count)]
