"""Progress bar, metric log and the check for non-finite losses (host).

Scalars stay on the device until `flush`, so that no step is waited for. Where stdout is
no terminal, a line per minute takes the place of the bar.
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

# Warn once the device has waited for data in more than this share of the time, in so
# many flushes in a row.
STARVED_FRACTION, STARVED_FLUSHES = 0.2, 3
MAX_SKIPPED_IN_A_ROW = 100  # skipped steps in a row after which the run ends
LINE_SECONDS = 60.0  # between two lines where there is no bar
Rows = Sequence[Sequence[Any]]  # pairs of a step and its scalars


class NotFinite(FloatingPointError):
  """A step whose loss or gradient is not finite.

  Attributes:
    step: the number of the bad step.
    state: the state of the run, which that step and those after it left unchanged.
  """

  def __init__(self, reason: str, step: int, state: TrainState):
    super().__init__(reason)
    self.step, self.state = step, state


class Progress:
  """Follows a run from step `start` to `steps`.

  Args:
    directory: folder of the log.
    start: first step of this call.
    steps: number of steps of the run.
    shapes: number of shapes per step.
    pending_rows: rows that the method `pending_rows` returned when the run stopped at
      `start`.
    validation_pending: whether the state at `start` is still to be validated.
    sinks: names of further sinks of the log, see `log_sinks`.
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
    sinks: Sequence[str] = (),
  ):
    self._log: MetricLog | NoMetricLog = NoMetricLog()
    if is_main := multihost.is_main_process():
      self._log = MetricLog(
        directory, start=start, validation_pending=validation_pending, sinks=sinks
      )
    self._waits = DataWait(self._stalled)
    self._pending: list[tuple[int, dict[str, Any]]] = []  # scalars on the device
    self._rows = [(step, row) for step, row in pending_rows]  # fetched, not yet logged
    self._since, self._steps = time.perf_counter(), 0  # of the rate
    self._slow = -1  # starved flushes in a row; the first one has the compilation
    self._skipped = 0  # skipped steps in a row
    self._shapes, self._total = shapes, steps
    self._evaluated: dict[str, float] = {}
    self._evaluated_at = start
    self._is_main = is_main
    has_bar = is_main and sys.stdout.isatty()
    self._has_lines, self._line_due = is_main and not has_bar, time.monotonic()
    self._bar = tqdm.tqdm(
      total=steps,
      initial=start,
      desc="train",
      unit="step",
      file=sys.stdout,
      mininterval=0.5,
      disable=not has_bar,
    )

  def draw(self, batches: Iterator[Any]) -> Any:
    """The next batch; measures how long the device waits for it."""
    return self._waits.draw(batches)

  def add(self, step: int, scalars: dict[str, Any]) -> None:
    """Adds the scalars of one step, or arrays (k,) of the k steps from `step` on."""
    self._pending.append((step, scalars))
    self._waits.dispatched(scalars["loss"])

  def pending_rows(self, state: TrainState) -> Rows:
    """Steps since the last flush and their scalars, for the run that resumes this one.

    Raises:
      NotFinite: as of `flush`.
    """
    self._fetch(state)
    return self._rows

  def flush(self, state: TrainState) -> None:
    """Logs means over the steps since the last flush, and the number of skipped ones.

    Raises:
      NotFinite: a step's loss or gradient is not finite, and either the step was not
        skipped or too many were skipped in a row.
    """
    self._fetch(state)
    if not self._rows:
      return
    finite = [row for _, row in self._rows if not row.get("skipped")]
    names = finite[0] if finite else ()
    means = {f"train/{k}": float(np.mean([row[k] for row in finite])) for k in names}
    if "skipped" in self._rows[0][1]:
      means["train/skipped"] = float(len(self._rows) - len(finite))
    step, timing = self._rows[-1][0] + 1, self._timing()
    self._log.write(step, means | timing)
    self._rows = []
    self._show(step, means, timing)

  def _show(self, step: int, means: dict[str, float], timing: dict[str, float]) -> None:
    """Shows a flush in the bar or, once a minute, on a line."""
    loss = means.get("train/loss", float("nan"))
    iou = f" iou {means['train/iou']:.3f}" if "train/iou" in means else ""
    text = (
      f"loss {loss:.4g}{iou} | {timing['train/shapes_per_second']:.0f} shapes/s, "
      f"{timing['train/waiting_for_data']:.0%} waiting for data"
      f"{self._evaluation_text(step)}"
    )
    self._bar.set_postfix_str(text, refresh=False)
    is_due = time.monotonic() >= self._line_due or step == self._total
    if self._has_lines and is_due:
      self._bar.write(f"step {step} of {self._total}: {text}", file=sys.stdout)
      self._line_due = time.monotonic() + LINE_SECONDS

  def _fetch(self, state: TrainState) -> None:
    """Copies scalars to the host, and checks that they are finite."""
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
    """Rates since the last flush, and the share of the time spent waiting for data."""
    seconds = max(time.perf_counter() - self._since, 1e-9)
    rate, waiting = self._steps / seconds, self._waits.take() / seconds
    self._restart_clock()
    self._slow = self._slow + 1 if waiting > STARVED_FRACTION or self._slow < 0 else 0
    if self._slow == STARVED_FLUSHES:
      self.say(
        f"warning: the device waits for data in {waiting:.0%} of the time; keep the "
        "data in memory (config.data.placement = host or device) or read it with more "
        "processes (config.data.workers)"
      )
    return {
      "train/steps_per_second": rate,
      "train/shapes_per_second": rate * self._shapes,
      "train/waiting_for_data": waiting,
    }

  def _evaluation_text(self, step: int) -> str:
    if not self._evaluated:
      return ""
    at = "" if self._evaluated_at == step else f"at step {self._evaluated_at}: "
    return f" | {at}{_text(self._evaluated)}"

  def _stalled(self, seconds: float) -> None:
    self.say(
      f"warning: no batch for {seconds:.0f} s: the storage of the data stalls, and the "
      "run waits for it; Ctrl-C ends the run, and the same command resumes it"
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
    """Logs the results of an evaluator for state `step`; shows those of the last."""
    if numbers:
      self._log.write(step, {f"{group}/{name}": x for name, x in numbers.items()})
      named = {f"{group} {name}": x for name, x in numbers.items()}
      self._evaluated |= named
      self._evaluated_at = step
      if self._is_main and step == self._total:
        line = f"step {step} of {self._total}: {_text(named)}"
        self._bar.write(line, file=sys.stdout)
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
  """The scalars of each step, from scalars or from arrays (k,) of k steps."""
  count = max(np.size(value) for value in row.values())
  columns = {name: np.ravel(value) for name, value in row.items()}
  return [{k: float(v[i]) for k, v in columns.items()} for i in range(count)]


def _text(numbers: dict[str, float]) -> str:
  return ", ".join(f"{name} {x:.3g}" for name, x in numbers.items())
