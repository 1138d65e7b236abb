"""Scalars over steps, as JSON lines and in further sinks (host)."""

import json
import logging
import pathlib
from collections.abc import Sequence
from typing import Any

from occnet_jax.files import atomic_write
from occnet_jax.train import log_sinks
from occnet_jax.types import Picture

_LOGGER = logging.getLogger(__name__)
# Scalars that differ between equal runs; all others are equal in a resumed run.
TIMING = (
  "train/steps_per_second",
  "train/shapes_per_second",
  "train/waiting_for_data",
)


class MetricLog:
  """Writes scalars to <directory>/metrics.jsonl and to sinks.

  A run that resumes at `start` first drops the lines of later steps, which it is about
  to write again, so that every step has one line.

  Args:
    directory: folder of the files.
    start: first step of this call.
    validation_pending: whether the state of step `start` is still to be validated,
      whose scores are then dropped as well.
    sinks: names of further sinks, see `log_sinks`.
  """

  def __init__(
    self,
    directory: pathlib.Path,
    *,
    start: int,
    validation_pending: bool = False,
    sinks: Sequence[str] = (),
  ):
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "metrics.jsonl"
    rows = [row for row in read(path) if row["step"] <= start]
    if validation_pending:
      rows = [row for row in rows if row["step"] < start or not _is_evaluation(row)]
    with atomic_write(path) as scratch:
      scratch.write_text("".join(json.dumps(row) + "\n" for row in rows))
    self._sinks = log_sinks.open_sinks(sinks, directory, start, rows)
    self._file = path.open("a")

  def write(self, step: int, scalars: dict[str, Any]) -> None:
    """Adds one line."""
    scalars = {name: float(value) for name, value in scalars.items()}
    self._file.write(json.dumps({"step": step, **scalars}) + "\n")
    self._file.flush()
    for sink in self._sinks:
      sink.write(step, scalars)

  def show(self, step: int, name: str, picture: Picture) -> None:
    """Adds a picture to the sinks that have a place for it."""
    for sink in self._sinks:
      sink.show(step, name, picture)

  def close(self) -> None:
    self._file.close()
    for sink in self._sinks:
      sink.close()


class NoMetricLog:
  """A metric log of a process that does not write."""

  def write(self, step: int, scalars: dict[str, Any]) -> None:
    pass

  def show(self, step: int, name: str, picture: Picture) -> None:
    pass

  def close(self) -> None:
    pass


def read(path: pathlib.Path) -> list[dict[str, Any]]:
  """The lines of metrics.jsonl; [] if there is no such file.

  A last line that a killed process left unfinished is dropped silently, a damaged line
  before it with a warning.
  """
  if not path.exists():
    return []
  rows, damaged = [], []
  lines = path.read_text(errors="replace").splitlines()
  for number, line in enumerate(lines, 1):
    try:
      row = json.loads(line)
    except json.JSONDecodeError:
      row = None
    if isinstance(row, dict) and isinstance(row.get("step"), int):
      rows.append(row)
    elif number < len(lines):
      damaged.append(number)
  if damaged:
    _LOGGER.warning(
      "%s: %d damaged lines are left out, the first is line %d",
      path,
      len(damaged),
      damaged[0],
    )
  return rows


def _is_evaluation(row: dict[str, Any]) -> bool:
  return not any(name.startswith("train/") for name in row)


def timeless(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
  """The rows without the scalars that differ between equal runs."""
  return [{k: v for k, v in row.items() if k not in TIMING} for row in rows]


def curve(rows: list[dict[str, Any]], name: str) -> tuple[list[int], list[float]]:
  """Steps and values of one scalar."""
  rows = [row for row in rows if name in row]
  return [row["step"] for row in rows], [row[name] for row in rows]
