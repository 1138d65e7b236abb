"""Where scalars of a training go besides metrics.jsonl, by config.train.sinks (host).

metrics.jsonl is what a run resumes from and what its report shows. Sinks are for those
who watch; each begins, when a run is resumed, with what it lacks.
"""

import csv
import hashlib
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import tensorboardX

from occnet_jax.files import atomic_write
from occnet_jax.types import Picture

Row = dict[str, Any]


@runtime_checkable
class Sink(Protocol):
  """A place of scalars and pictures."""

  def write(self, step: int, scalars: Mapping[str, float]) -> None:
    """Adds scalars; names such as train/loss have a group and a name."""

  def show(self, step: int, name: str, picture: Picture) -> None:
    """Adds a picture, where the sink has a place for it."""

  def close(self) -> None:
    """Ends the last file."""


class TensorBoard:
  """Event files, with pictures; `tensorboard --logdir` shows them."""

  def __init__(self, directory: pathlib.Path, start: int, rows: Sequence[Row]):
    del rows  # the events up to this step are kept
    self._events = tensorboardX.SummaryWriter(str(directory), purge_step=start + 1)

  def write(self, step: int, scalars: Mapping[str, float]) -> None:
    for name, value in scalars.items():
      self._events.add_scalar(name, value, step)

  def show(self, step: int, name: str, picture: Picture) -> None:
    self._events.add_image(name, picture, step, dataformats="HWC")

  def close(self) -> None:
    self._events.close()


class Csv:
  """metrics.csv, a line for each scalar: step, name, value. It has no pictures."""

  def __init__(self, directory: pathlib.Path, start: int, rows: Sequence[Row]):
    del start
    path = directory / "metrics.csv"
    with atomic_write(path) as scratch, scratch.open("w", newline="") as stream:
      writer = csv.writer(stream)
      writer.writerow(["step", "name", "value"])
      for row in rows:
        writer.writerows([row["step"], k, v] for k, v in row.items() if k != "step")
    self._file = path.open("a", newline="")
    self._writer = csv.writer(self._file)

  def write(self, step: int, scalars: Mapping[str, float]) -> None:
    self._writer.writerows([step, name, value] for name, value in scalars.items())
    self._file.flush()

  def show(self, step: int, name: str, picture: Picture) -> None:
    pass

  def close(self) -> None:
    self._file.close()


class WeightsAndBiases:
  """A run of Weights & Biases; WANDB_MODE=offline keeps it in the log's directory."""

  def __init__(self, directory: pathlib.Path, start: int, rows: Sequence[Row]):
    del start, rows  # it keeps what it has, and takes no step again
    try:
      import wandb  # an extra
    except ImportError as error:
      raise ValueError(
        "config.train.sinks has 'wandb', which is not installed; pip install wandb, or "
        "leave it out"
      ) from error
    workdir = directory.resolve().parent
    self._image = wandb.Image
    # The same id when the run is resumed; it may not hold characters of paths.
    self._run = wandb.init(
      project="occnet-jax",
      name=workdir.name,
      id=hashlib.sha256(str(workdir).encode()).hexdigest()[:16],
      dir=str(directory),
      resume="allow",
    )

  def write(self, step: int, scalars: Mapping[str, float]) -> None:
    self._run.log(dict(scalars), step=step)

  def show(self, step: int, name: str, picture: Picture) -> None:
    self._run.log({name: self._image(picture)}, step=step)

  def close(self) -> None:
    self._run.finish()


SINKS: dict[str, Callable[[pathlib.Path, int, Sequence[Row]], Sink]] = {
  "tensorboard": TensorBoard,
  "csv": Csv,
  "wandb": WeightsAndBiases,
}


def check(names: Sequence[str]) -> None:
  """Raises ValueError for a name that is none of `SINKS`."""
  if wrong := [name for name in names if name not in SINKS]:
    raise ValueError(
      f"config.train.sinks has {wrong[0]!r}; want some of {', '.join(SINKS)}"
    )


def open_sinks(
  names: Sequence[str], directory: pathlib.Path, start: int, rows: Sequence[Row]
) -> list[Sink]:
  """Opens sinks by their names.

  Args:
    names: of `SINKS`.
    directory: folder of their files.
    start: first step of this call; later ones are written again.
    rows: what has been logged up to it.
  """
  return [SINKS[name](directory, start, rows) for name in names]
