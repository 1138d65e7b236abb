"""Scalars over steps, as JSON lines and as TensorBoard events (host)."""

import json
import pathlib
from typing import Any

import tensorboardX

from occnet_jax.files import atomic_write
from occnet_jax.types import Picture

# What differs from run to run; all else is the same for a run that was resumed.
TIMING = (
  "train/steps_per_second",
  "train/shapes_per_second",
  "train/waiting_for_data",
)


class MetricLog:
  """Writes scalars to <directory>/metrics.jsonl and to TensorBoard files beside it.

  A run that resumes at `start` first drops the lines of later steps, which it is about
  to write again, so that every step is there once. With `validation_pending` it also
  drops what evaluators wrote for `start`.
  """

  def __init__(
    self, directory: pathlib.Path, *, start: int, validation_pending: bool = False
  ):
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "metrics.jsonl"
    kept = [
      row
      for row in read(path)
      if row["step"] <= start
      and not (validation_pending and row["step"] == start and _is_evaluation(row))
    ]
    with atomic_write(path) as scratch:
      scratch.write_text("".join(json.dumps(row) + "\n" for row in kept))
    self._file = path.open("a")
    self._events = tensorboardX.SummaryWriter(str(directory), purge_step=start + 1)

  def write(self, step: int, scalars: dict[str, Any]) -> None:
    """Adds one line; names such as train/loss become groups in TensorBoard."""
    scalars = {name: float(value) for name, value in scalars.items()}
    self._file.write(json.dumps({"step": step, **scalars}) + "\n")
    self._file.flush()
    for name, value in scalars.items():
      self._events.add_scalar(name, value, step)

  def show(self, step: int, name: str, picture: Picture) -> None:
    """Adds a picture, to TensorBoard only."""
    self._events.add_image(name, picture, step, dataformats="HWC")

  def close(self) -> None:
    self._file.close()
    self._events.close()


class NoMetricLog:
  """In place of `Log` in a process that does not write."""

  def write(self, step: int, scalars: dict[str, Any]) -> None:
    pass

  def show(self, step: int, name: str, picture: Picture) -> None:
    pass

  def close(self) -> None:
    pass


def read(path: pathlib.Path) -> list[dict[str, Any]]:
  """The lines of metrics.jsonl; [] if there is none. A last, torn line is left out."""
  if not path.exists():
    return []
  rows = []
  for line in path.read_text().splitlines():
    try:
      rows.append(json.loads(line))
    except json.JSONDecodeError:
      break
  return rows


def _is_evaluation(row: dict[str, Any]) -> bool:
  return not any(name.startswith("train/") for name in row)


def timeless(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
  """The rows without what differs from run to run."""
  return [{k: v for k, v in row.items() if k not in TIMING} for row in rows]


def curve(rows: list[dict[str, Any]], name: str) -> tuple[list[int], list[float]]:
  """Steps and values of one scalar."""
  found = [(row["step"], row[name]) for row in rows if name in row]
  return [step for step, _ in found], [value for _, value in found]
