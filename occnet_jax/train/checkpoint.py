"""Checkpoints that hold all that a restart or a user needs (host).

<workdir>/checkpoints/latest/<step> and .../best/<step>, each written by Orbax, whole or
not at all: the state as host arrays (so that it restores on any number of devices), the
run's config, and a record with the step, the chosen threshold tau, what validation
measured and a digest of all of it, against which every read is checked. The two newest
of each kind stay. A run sets a damaged one aside, under .../damaged/, and goes on from
the one before; a reader refuses it and names the others.
"""

import logging
import pathlib
import shutil
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from flax import serialization

from occnet_jax.train import integrity
from occnet_jax.train import state as state_lib
from occnet_jax.train.integrity import Damaged, Restored, read
from occnet_jax.train.state import TrainState

KINDS = ("best", "latest")
KEPT = 2  # of each kind
METADATA_BYTES = 2**20  # bytes of a checkpoint beside its arrays
# Orbax tells of every file, and of every error that is raised here as well; TFDS of
# every data set.
logging.getLogger("absl").setLevel(logging.WARNING)
logging.getLogger("absl").addFilter(lambda record: "orbax" not in record.pathname)
_LOGGER = logging.getLogger(__name__)


class Checkpoints:
  """The checkpoints of one run, open for saving.

  Raises:
    ValueError: there are checkpoints, but none from which the run can go on is whole.
  """

  def __init__(self, workdir: pathlib.Path, config: dict[str, Any], keep_period: int):
    self._config = config
    self._newest = _newest_whole(workdir)
    for kind in KINDS:
      _directory(workdir, kind).mkdir(parents=True, exist_ok=True)
    self._managers = {
      kind: ocp.CheckpointManager(
        _directory(workdir, kind),
        options=ocp.CheckpointManagerOptions(
          create=False,
          multiprocessing_options=integrity.single_process_options(),
          max_to_keep=KEPT,
          keep_period=keep_period or None if kind == "latest" else None,
          cleanup_tmp_directories=True,
        ),
      )
      for kind in KINDS
    }

  def save(self, kind: str, state: TrainState, record: dict[str, Any]) -> None:
    """Saves in the background; the state may be donated as soon as this returns.

    Raises:
      OSError: the disk has too little space, or an earlier save failed; what was saved
        before is untouched.
    """
    # A copy: on a CPU, device_get gives the very memory that the next step overwrites.
    arrays = jax.tree.map(np.array, serialization.to_state_dict(jax.device_get(state)))
    step = int(arrays["step"])
    record = {**record, "step": step}
    self.wait()
    self.want_space(state)
    if step in self._managers[kind].all_steps():  # where arithmetic is not exact
      self._managers[kind].delete(step)
    self._managers[kind].save(
      step,
      args=integrity.with_digest(arrays, self._config, record),
      force=True,
    )
    self._newest[kind] = Restored({}, self._config, record)

  def want_space(self, state: TrainState) -> None:
    """Raises OSError if the disk has no space for one more checkpoint."""
    wanted = sum(leaf.nbytes for leaf in jax.tree.leaves(state)) + METADATA_BYTES
    directory = self._managers["latest"].directory
    if (free := shutil.disk_usage(directory).free) < wanted:
      raise OSError(
        f"{directory}: a checkpoint of step {int(state.step)} wants "
        f"{wanted / 2**20:.1f} MiB of disk and {free / 2**20:.1f} MiB are free; what "
        "was saved is untouched: free some space and call again"
      )

  def check(self) -> None:
    """Raises OSError if a save in the background has failed; does not wait."""
    if not any(m.is_saving_in_progress() for m in self._managers.values()):
      self.wait()

  def wait(self) -> None:
    """Waits for saves in the background; raises OSError if one has failed."""
    try:
      for manager in self._managers.values():
        manager.wait_until_finished()
    except Exception as error:
      raise self._failed(error) from error

  def _failed(self, error: Exception) -> OSError:
    return OSError(
      f"{self._managers['latest'].directory.parent}: a checkpoint could not be "
      f"written ({integrity.reason(error)}); those before it are whole: fix the disk "
      "and run the same command"
    )

  def last_step(self, kind: str) -> int:
    """The step of the newest checkpoint of a kind, or -1 if there is none."""
    newest = self._newest[kind]
    return -1 if newest is None else newest.record["step"]

  def record(self, kind: str) -> dict[str, Any] | None:
    """The record of the newest checkpoint of a kind, or None if there is none."""
    newest = self._newest[kind]
    return None if newest is None else newest.record

  def resume(self, fresh: TrainState) -> TrainState:
    """The latest state, in the form of a fresh one; `fresh` if nothing was saved yet.

    Raises:
      ValueError: what was saved does not have the form of `fresh`.
    """
    newest = self._newest["latest"]
    if newest is None:
      return fresh
    self._newest["latest"] = newest._replace(state={})  # memory
    return state_lib.refill(fresh, newest.state)

  def __enter__(self) -> "Checkpoints":
    return self

  def __exit__(self, *error) -> None:
    try:
      self.wait()
    finally:
      for manager in self._managers.values():
        manager.close()


class NoCheckpoints:
  """In place of `Checkpoints` in a process that does not write."""

  def __enter__(self) -> "NoCheckpoints":
    return self

  def __exit__(self, *error) -> None:
    pass

  def save(self, kind: str, state: TrainState, record: dict[str, Any]) -> None:
    pass

  def want_space(self, state: TrainState) -> None:
    pass

  def check(self) -> None:
    pass

  def wait(self) -> None:
    pass

  def last_step(self, kind: str) -> int:
    return -1

  def record(self, kind: str) -> None:
    return None

  def resume(self, fresh: TrainState) -> TrainState:
    return fresh


def restore(workdir: str | pathlib.Path, step: int | None = None) -> Restored:
  """Reads one checkpoint of a run, and checks it against its digest.

  Args:
    workdir: the run's directory.
    step: which; None for the best, or the latest where no best was saved.

  Raises:
    ValueError: there is no such checkpoint, or it is damaged; names the others.
  """
  workdir = pathlib.Path(workdir)
  found = available(workdir)
  if not found:
    raise ValueError(
      f"{workdir}: holds no checkpoint; want a directory that was trained in: "
      f"python main.py --mode=train --config=... --workdir={workdir}"
    )
  chosen = found[0][1] if step is None else step
  kinds = [kind for kind, at in found if at == chosen]
  if not kinds:
    raise ValueError(
      f"{workdir}: no checkpoint of step {chosen}; there are: {_names(found)}"
    )
  try:
    return read(_directory(workdir, kinds[0]) / str(chosen))
  except Damaged as error:
    others = _names([other for other in found if other != (kinds[0], chosen)])
    raise Damaged(
      f"{error}; remove it, or name another step; there are: {others or 'no others'}"
    ) from error


def _newest_whole(workdir: pathlib.Path) -> dict[str, Restored | None]:
  """The newest checkpoint of each kind that is whole; sets newer ones aside.

  Where every latest one is damaged, the best becomes the latest.

  Raises:
    ValueError: there are damaged checkpoints and none to go on from.
  """
  whole: dict[str, Restored | None] = dict.fromkeys(KINDS)
  found = available(workdir)
  for kind, step in found:
    if whole[kind] is None:
      path = _directory(workdir, kind) / str(step)
      try:
        whole[kind] = read(path)
      except Damaged as error:
        aside = _set_aside(path)
        _LOGGER.warning("%s; moved to %s", error, aside)
  damaged = any(kind == "latest" for kind, _ in found) and not whole["latest"]
  if damaged and (best := whole["best"]):
    step = str(best.record["step"])
    _LOGGER.warning("no latest checkpoint is whole; going on from the best, %s", step)
    scratch = _directory(workdir, "damaged") / "copy"
    shutil.copytree(_directory(workdir, "best") / step, scratch)
    scratch.rename(_directory(workdir, "latest") / step)
    whole["latest"] = best
  elif damaged:
    raise ValueError(
      f"{workdir}: none of the checkpoints ({_names(found)}) is whole; they are in "
      f"{_directory(workdir, 'damaged')}; begin again by the same command"
    )
  return whole


def _set_aside(path: pathlib.Path) -> pathlib.Path:
  """Moves a damaged checkpoint to where neither runs nor readers look."""
  directory = path.parents[1] / "damaged"
  directory.mkdir(exist_ok=True)
  name, count = f"{path.parent.name}_{path.name}", len(list(directory.iterdir()))
  return path.rename(directory / f"{name}_{count}")


def _names(found: list[tuple[str, int]]) -> str:
  return ", ".join(f"{step} ({kind})" for kind, step in found)


def available(workdir: pathlib.Path) -> list[tuple[str, int]]:
  """(kind, step) of every checkpoint: the best, then the latest, newest first."""
  found = []
  for kind in KINDS:
    steps = [
      int(p.name) for p in _directory(workdir, kind).glob("[0-9]*") if p.name.isdigit()
    ]
    found += [(kind, step) for step in sorted(steps, reverse=True)]
  return found


def _directory(workdir: pathlib.Path, kind: str) -> pathlib.Path:
  return pathlib.Path(workdir).absolute() / "checkpoints" / kind
