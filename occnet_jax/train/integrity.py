"""One checkpoint in its directory: written, read, and checked by a digest (host)."""

import hashlib
import json
import pathlib
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp
from flax import serialization

from occnet_jax import config as config_lib
from occnet_jax.train.state import TrainState


class Damaged(ValueError):
  """A checkpoint that is not whole, or not what was saved."""


class Restored(NamedTuple):
  """A checkpoint as it was saved: nested dicts of arrays, plain config and record."""

  state: dict[str, Any]
  config: dict[str, Any]
  record: dict[str, Any]


def single_process_options() -> ocp.options.MultiprocessingOptions:
  """Orbax asks no other process: the first one alone writes, and each reads."""
  own = jax.process_index()
  return ocp.options.MultiprocessingOptions(primary_host=own, active_processes={own})


def _checkpointer() -> ocp.Checkpointer:
  options = ocp.CompositeOptions(multiprocessing_options=single_process_options())
  handler = ocp.CompositeCheckpointHandler(composite_options=options)
  return ocp.Checkpointer(handler, multiprocessing_options=single_process_options())


def write(path: pathlib.Path, state: TrainState, config: dict[str, Any]) -> None:
  """Writes a checkpoint outside the run's own, for `read`."""
  arrays = serialization.to_state_dict(jax.device_get(state))
  with _checkpointer() as checkpointer:
    record = {"step": int(arrays["step"])}
    checkpointer.save(path.absolute(), args=with_digest(arrays, config, record))


def read(path: pathlib.Path) -> Restored:
  """The checkpoint in a directory.

  Raises:
    Damaged: it is not whole, or not what was saved.
  """
  try:
    with _checkpointer() as checkpointer:
      saved = checkpointer.restore(
        path,
        args=ocp.args.Composite(
          state=ocp.args.StandardRestore(),
          config=ocp.args.JsonRestore(),
          record=ocp.args.JsonRestore(),
        ),
      )
    state, config, record = saved["state"], saved["config"], dict(saved["record"])
  except MemoryError:
    raise
  except Exception as error:  # damage makes Orbax raise whatever it meets first
    raise Damaged(f"{path}: is not a whole checkpoint ({reason(error)})") from error
  # Runs of older versions have no digest.
  sealed = record.pop("digest", None)
  if sealed is not None and sealed != digest(state, config, record):
    raise Damaged(f"{path}: is not what was saved (its checksum differs)")
  return Restored(state, config_lib.migrate(config), config_lib.migrate_record(record))


def with_digest(
  arrays: dict[str, Any], config: dict[str, Any], record: dict[str, Any]
) -> ocp.args.Composite:
  """What Orbax saves; a digest joins the record."""
  sealed = {**record, "digest": digest(arrays, config, record)}
  return ocp.args.Composite(
    state=ocp.args.StandardSave(arrays),
    config=ocp.args.JsonSave(config),
    record=ocp.args.JsonSave(sealed),
  )


def reason(error: Exception) -> str:
  """An error's first line, without TensorStore's specification, or both its ends."""
  lines = str(error).split(" [tensorstore_spec")[0].strip().splitlines()
  line = lines[0] if lines else type(error).__name__
  return line if len(line) < 200 else f"{line[:80]} ... {line[-100:]}"


def digest(state: Any, config: dict[str, Any], record: dict[str, Any]) -> str:
  """SHA-256 of names, types, shapes and bytes of all arrays, and of config and record.

  It is the same for what is saved and for what is read back: nested dicts of arrays,
  and whatever JSON keeps of the rest.
  """
  found = hashlib.sha256()
  leaves = jax.tree_util.tree_flatten_with_path(state)[0]
  for name, leaf in sorted((jax.tree_util.keystr(path), leaf) for path, leaf in leaves):
    array = np.asarray(leaf, order="C")
    found.update(f"{name} {array.dtype} {array.shape}\n".encode())
    found.update(array.tobytes())
  found.update(json.dumps([config, record], sort_keys=True).encode())
  return found.hexdigest()
