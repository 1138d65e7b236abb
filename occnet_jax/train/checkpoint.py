"""Checkpoints that hold all that a restart or a user needs (host).

<workdir>/checkpoints/latest/<step> and .../best/<step>, each written by Orbax, whole or
not at all: the state as host arrays (so that it restores on any number of devices), the
run's config, and a record with the step, the chosen threshold tau and what validation
measured.
"""

import json
import logging
import pathlib
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp
from flax import serialization

from occnet_jax.train.state import TrainState

KINDS = ("best", "latest")
logging.getLogger("absl").setLevel(logging.WARNING)  # Orbax tells of every file


class Restored(NamedTuple):
  """A checkpoint as it was saved: nested dicts of arrays, plain config and record."""

  state: dict[str, Any]
  config: dict[str, Any]
  record: dict[str, Any]


class Checkpoints:
  """The checkpoints of one run, open for saving."""

  def __init__(self, workdir: pathlib.Path, config: dict[str, Any], keep_period: int):
    self._config = config
    self._managers = {
      kind: ocp.CheckpointManager(
        _directory(workdir, kind),
        options=ocp.CheckpointManagerOptions(
          max_to_keep=1,
          keep_period=keep_period or None if kind == "latest" else None,
          cleanup_tmp_directories=True,
        ),
      )
      for kind in KINDS
    }

  def save(self, kind: str, state: TrainState, record: dict[str, Any]) -> None:
    """Saves in the background; the state may be donated as soon as this returns."""
    host = jax.device_get(state)
    self._managers[kind].save(
      int(host.step),
      args=ocp.args.Composite(
        state=ocp.args.StandardSave(serialization.to_state_dict(host)),
        config=ocp.args.JsonSave(self._config),
        record=ocp.args.JsonSave({"step": int(host.step), **record}),
      ),
      force=True,
    )

  def last_step(self, kind: str) -> int:
    """The step of the newest checkpoint of a kind, or -1 if there is none."""
    step = self._managers[kind].latest_step()
    return -1 if step is None else step

  def record(self, kind: str) -> dict[str, Any] | None:
    """The record of the newest checkpoint of a kind, or None if there is none."""
    if (step := self.last_step(kind)) < 0:
      return None
    return self._managers[kind].restore(
      step, args=ocp.args.Composite(record=ocp.args.JsonRestore())
    )["record"]

  def resume(self, fresh: TrainState) -> TrainState:
    """The latest state, in the form of a fresh one; `fresh` if nothing was saved yet.

    Raises:
      ValueError: what was saved does not have the form of `fresh`.
    """
    if (step := self.last_step("latest")) < 0:
      return fresh
    saved = self._managers["latest"].restore(
      step, args=ocp.args.Composite(state=ocp.args.StandardRestore())
    )["state"]
    return refill(fresh, saved)

  def __enter__(self) -> "Checkpoints":
    return self

  def __exit__(self, *error) -> None:
    for manager in self._managers.values():
      manager.wait_until_finished()
      manager.close()


def restore(workdir: str | pathlib.Path, step: int | None = None) -> Restored:
  """Reads one checkpoint of a run.

  Args:
    workdir: the run's directory.
    step: which; None for the best, or the latest where no best was saved.

  Raises:
    ValueError: there is no such checkpoint.
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
    steps = ", ".join(f"{at} ({kind})" for kind, at in found)
    raise ValueError(f"{workdir}: no checkpoint of step {step}; there are: {steps}")
  path = _directory(workdir, kinds[0]) / str(chosen)
  try:
    with ocp.Checkpointer(ocp.CompositeCheckpointHandler()) as checkpointer:
      saved = checkpointer.restore(
        path,
        args=ocp.args.Composite(
          state=ocp.args.StandardRestore(),
          config=ocp.args.JsonRestore(),
          record=ocp.args.JsonRestore(),
        ),
      )
  except (FileNotFoundError, KeyError, ValueError, json.JSONDecodeError) as error:
    raise ValueError(
      f"{path}: is not a whole checkpoint ({str(error).splitlines()[0]}); remove it, "
      "or name another step"
    ) from error
  return Restored(saved["state"], saved["config"], saved["record"])


def available(workdir: pathlib.Path) -> list[tuple[str, int]]:
  """(kind, step) of every checkpoint: the best, then the latest, newest first."""
  found = []
  for kind in KINDS:
    steps = [
      int(p.name) for p in _directory(workdir, kind).glob("[0-9]*") if p.name.isdigit()
    ]
    found += [(kind, step) for step in sorted(steps, reverse=True)]
  return found


def refill(target: Any, saved: Any) -> Any:
  """`target` with the saved arrays in it, leaf by leaf.

  Raises:
    ValueError: naming the leaves that are missing, left over or of another shape.
  """
  wanted, tree = jax.tree_util.tree_flatten_with_path(
    serialization.to_state_dict(target)
  )
  wanted = {jax.tree_util.keystr(path): leaf for path, leaf in wanted}
  given = jax.tree_util.tree_flatten_with_path(saved)[0]
  given = {jax.tree_util.keystr(path): leaf for path, leaf in given}
  wrong = [f"{name} is missing" for name in wanted if name not in given]
  wrong += [f"{name} is left over" for name in given if name not in wanted]
  wrong += [
    f"{name} has shape {np.shape(given[name])}, want {np.shape(leaf)}"
    for name, leaf in wanted.items()
    if name in given and np.shape(given[name]) != np.shape(leaf)
  ]
  if wrong:
    more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
    raise ValueError(
      f"the checkpoint does not fit this config: {'; '.join(wrong[:3])}{more}; "
      "use the config it was trained with, or another --workdir"
    )
  leaves = [np.asarray(given[name], leaf.dtype) for name, leaf in wanted.items()]
  return serialization.from_state_dict(
    target, jax.tree_util.tree_unflatten(tree, leaves)
  )


def _directory(workdir: pathlib.Path, kind: str) -> pathlib.Path:
  return pathlib.Path(workdir).absolute() / "checkpoints" / kind
