"""Checkpoints that hold everything that a restart or a user needs (host).

<workdir>/checkpoints/latest/<step> and .../best/<step>, each written by Orbax, complete
or not at all: the state as host arrays (so that it restores on any number of devices),
the run's config, and a record with the step, the scores of validation, the level of
the surface that it chose, and a digest of all of it, against which every read is
checked. The newest two of each kind are kept. A run moves a damaged one to .../damaged/
and resumes from the one before; a reader refuses it and names the others.
"""

import logging
import pathlib
import shutil
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from flax import serialization

from occnet_jax import files
from occnet_jax.train import integrity, multihost
from occnet_jax.train import state as state_lib
from occnet_jax.train.integrity import Damaged, Restored, read
from occnet_jax.train.state import TrainState

# A folder and a manager per kind, rather than one manager with Orbax's BestN policy:
# that one judges by metrics which it reads of all checkpoints as it opens, outside the
# digest, so that one damaged file of metrics would keep a run from starting.
KINDS = ("best", "latest")
MAX_TO_KEEP = 2  # of each kind
METADATA_BYTES = 2**20  # bytes of a checkpoint beside its arrays
# Silence the logging of Orbax, whose errors are raised again below, and of TFDS.
logging.getLogger("absl").setLevel(logging.WARNING)
logging.getLogger("absl").addFilter(lambda record: "orbax" not in record.pathname)
_LOGGER = logging.getLogger(__name__)


class Checkpoints:
  """The checkpoints of one run, open for saving.

  Only the main process reads and writes them. In the others saving does nothing, and
  there is nothing to resume from.

  Raises:
    ValueError: there are checkpoints, but the run can resume from none.
    OSError: a checkpoint cannot be read, which is no reason to set it aside.
  """

  def __init__(self, workdir: pathlib.Path, config: dict[str, Any], keep_period: int):
    self._workdir, self._config = workdir, config
    self._newest: dict[str, Restored | None] = dict.fromkeys(KINDS)
    self._managers: dict[str, ocp.CheckpointManager] = {}
    if not multihost.is_main_process():
      return
    self._newest = _newest_whole(workdir)
    for kind in KINDS:
      _directory(workdir, kind).mkdir(parents=True, exist_ok=True)
      options = ocp.CheckpointManagerOptions(
        create=False,
        multiprocessing_options=integrity.single_process_options(),
        max_to_keep=MAX_TO_KEEP,
        keep_period=keep_period or None if kind == "latest" else None,
        cleanup_tmp_directories=True,
      )
      self._managers[kind] = ocp.CheckpointManager(
        _directory(workdir, kind), options=options
      )

  def save(self, kind: str, state: TrainState, record: dict[str, Any]) -> None:
    """Saves in the background; the state may be donated as soon as this returns.

    Raises:
      OSError: the disk has too little space, or this or an earlier save failed; the
        checkpoints before it are untouched.
    """
    if not self._managers:
      return
    # A copy: on a CPU, device_get gives the very memory that the next step overwrites.
    arrays = jax.tree.map(np.array, serialization.to_state_dict(jax.device_get(state)))
    step = int(arrays["step"])
    record = {**record, "step": step}
    self.wait()
    self.require_space(state)
    manager = self._managers[kind]
    if step in manager.all_steps():
      self._replace(kind, arrays, record)
    else:
      args = integrity.with_digest(arrays, self._config, record)
      manager.save(step, args=args, force=True)
    self._newest[kind] = Restored({}, self._config, record)

  def _replace(self, kind: str, arrays: dict[str, Any], record: dict[str, Any]) -> None:
    """Replaces the checkpoint of a step, which stays until the new one is complete.

    A step is saved twice where its validation was interrupted, and where a rerun that
    is not deterministic reaches it again.
    """
    path = _directory(self._workdir, kind) / str(record["step"])
    scratch = _directory(self._workdir, "replacing")
    shutil.rmtree(scratch, ignore_errors=True)  # of a process that was killed
    try:
      integrity.write(scratch / "new", arrays, self._config, record)
    except Exception as error:
      raise self._failed(error) from error
    path.rename(scratch / "old")
    (scratch / "new").rename(path)
    shutil.rmtree(scratch)

  def require_space(self, state: TrainState) -> None:
    """Raises OSError without a workdir, or space there for one more checkpoint."""
    if not self._managers:
      return
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(state)) + METADATA_BYTES
    directory = _directory(self._workdir, "latest")
    if not directory.is_dir():  # Orbax would make it anew, without all that was in it
      raise OSError(
        f"{directory}: was removed during the training; bring the run's directory back "
        "and run the same command"
      )
    if (free := shutil.disk_usage(directory).free) < size:
      raise OSError(
        f"{directory}: a checkpoint of step {int(state.step)} needs "
        f"{size / 2**20:.1f} MiB of disk and {free / 2**20:.1f} MiB are free; the "
        "checkpoints before it are untouched: free some space and run the same command"
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
      f"{_directory(self._workdir, 'latest').parent}: a checkpoint could not be "
      f"written ({files.first_line(error)}); those before it are whole: fix the disk "
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
    """The latest state, with the structure of `fresh`; `fresh` if nothing was saved.

    Raises:
      ValueError: the saved state has another structure than `fresh`.
    """
    newest = self._newest["latest"]
    if newest is None:
      return fresh
    self._newest["latest"] = newest._replace(state={})  # drop the arrays
    return state_lib.refill(fresh, newest.state)

  def __enter__(self) -> "Checkpoints":
    return self

  def __exit__(self, *error) -> None:
    try:
      self.wait()
    finally:
      for manager in self._managers.values():
        manager.close()


def restore(workdir: str | pathlib.Path, step: int | None = None) -> Restored:
  """Reads one checkpoint of a run, and checks it against its digest.

  Args:
    workdir: the run's directory.
    step: the step to read; None for the best, or the latest where no best was saved.

  Raises:
    ValueError: there is no such checkpoint, or it is damaged; names the others.
    OSError: it cannot be read.
  """
  workdir = pathlib.Path(workdir)
  checkpoints = available(workdir)
  if not checkpoints:
    raise ValueError(
      f"{workdir}: holds no checkpoint; want a directory that was trained in, by "
      f"occnet train --workdir={workdir}"
    )
  chosen = checkpoints[0][1] if step is None else step
  kinds = [kind for kind, at in checkpoints if at == chosen]
  if not kinds:
    raise ValueError(
      f"{workdir}: no checkpoint of step {chosen}; there are: {_names(checkpoints)}"
    )
  try:
    return read(_directory(workdir, kinds[0]) / str(chosen))
  except Damaged as error:
    others = _names([each for each in checkpoints if each != (kinds[0], chosen)])
    raise Damaged(
      f"{error}; remove it, or name another step; there are: {others or 'no others'}"
    ) from error


def _newest_whole(workdir: pathlib.Path) -> dict[str, Restored | None]:
  """The newest checkpoint of each kind that is not damaged; sets newer ones aside.

  Where every latest one is damaged, the best becomes the latest. Only the latest has
  its arrays.

  Raises:
    ValueError: there are damaged checkpoints and none to resume from.
    OSError: a checkpoint cannot be read.
  """
  newest: dict[str, Restored | None] = dict.fromkeys(KINDS)
  checkpoints = available(workdir)
  for kind, step in checkpoints:
    if newest[kind] is None:
      path = _directory(workdir, kind) / str(step)
      try:
        newest[kind] = read(path)
      except Damaged as error:
        _LOGGER.warning("%s; moved to %s", error, _set_aside(path))
  best, had_latest = newest["best"], any(kind == "latest" for kind, _ in checkpoints)
  if had_latest and newest["latest"] is None:
    if best is None:
      raise ValueError(
        f"{workdir}: none of the checkpoints ({_names(checkpoints)}) is whole; they "
        f"are in {_directory(workdir, 'damaged')}; run the same command to begin again"
      )
    newest["latest"] = _copy_best(workdir, best)
  if best is not None:
    newest["best"] = best._replace(state={})
  return newest


def _copy_best(workdir: pathlib.Path, best: Restored) -> Restored:
  """Copies the best checkpoint to the latest ones, complete or not at all."""
  step = str(best.record["step"])
  _LOGGER.warning("no latest checkpoint is whole; resuming from the best, %s", step)
  scratch = _directory(workdir, "damaged") / "copy"
  shutil.rmtree(scratch, ignore_errors=True)  # of a process that was killed
  shutil.copytree(_directory(workdir, "best") / step, scratch)
  scratch.rename(_directory(workdir, "latest") / step)
  return best


def _set_aside(path: pathlib.Path) -> pathlib.Path:
  """Moves a damaged checkpoint to where neither runs nor readers look."""
  directory = path.parents[1] / "damaged"
  directory.mkdir(exist_ok=True)
  name, count = f"{path.parent.name}_{path.name}", len(list(directory.iterdir()))
  return path.rename(directory / f"{name}_{count}")


def _names(checkpoints: list[tuple[str, int]]) -> str:
  return ", ".join(f"{step} ({kind})" for kind, step in checkpoints)


def available(workdir: pathlib.Path) -> list[tuple[str, int]]:
  """(kind, step) of every checkpoint: the best, then the latest, newest first."""
  checkpoints = []
  for kind in KINDS:
    paths = _directory(workdir, kind).glob("[0-9]*")
    steps = sorted((int(p.name) for p in paths if p.name.isdigit()), reverse=True)
    checkpoints += [(kind, step) for step in steps]
  return checkpoints


def _directory(workdir: pathlib.Path, kind: str) -> pathlib.Path:
  return pathlib.Path(workdir).absolute() / "checkpoints" / kind
