"""One checkpoint in its directory: written, read, and checked by a digest (host)."""

import hashlib
import json
import pathlib
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp

from occnet_jax import files, migration

# Errors of Orbax that a file which is missing or in the place of a folder causes.
_MISSING = (FileNotFoundError, NotADirectoryError, IsADirectoryError)


class Damaged(ValueError):
  """A checkpoint that is incomplete, or whose contents are not what was saved."""


class Restored(NamedTuple):
  """A checkpoint as it was saved: nested dicts of arrays, plain config and record."""

  state: dict[str, Any]
  config: dict[str, Any]
  record: dict[str, Any]


def single_process_options() -> ocp.options.MultiprocessingOptions:
  """Keeps Orbax within this process: only the main process writes, every one reads."""
  own = jax.process_index()
  return ocp.options.MultiprocessingOptions(primary_host=own, active_processes={own})


def _checkpointer() -> ocp.Checkpointer:
  options = ocp.CompositeOptions(multiprocessing_options=single_process_options())
  handler = ocp.CompositeCheckpointHandler(composite_options=options)
  return ocp.Checkpointer(handler, multiprocessing_options=single_process_options())


def write(
  path: pathlib.Path,
  arrays: dict[str, Any],
  config: dict[str, Any],
  record: dict[str, Any],
) -> None:
  """Writes a checkpoint, for `read`; it appears at `path` once it is complete."""
  with _checkpointer() as checkpointer:
    checkpointer.save(path.absolute(), args=with_digest(arrays, config, record))


def read(path: pathlib.Path) -> Restored:
  """Reads the checkpoint in a directory, and checks it against its digest.

  Raises:
    Damaged: it is incomplete, or its contents are not those that were saved.
    OSError: its files cannot be read, which says nothing about their contents.
    RuntimeError: JAX has no backend to read it with.
  """
  _require_backend()
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
  except _MISSING as error:
    raise _incomplete(path, error) from error
  except OSError as error:
    raise _unreadable(path, error) from error
  except (MemoryError, RuntimeError):  # damage raises neither
    raise
  except Exception as error:  # damage makes Orbax raise whatever it meets first
    _require_readable(path)
    raise _incomplete(path, error) from error
  # Runs of older versions have no digest.
  saved_digest = record.pop("digest", None)
  if saved_digest is not None and saved_digest != digest(state, config, record):
    raise Damaged(f"{path}: is not what was saved (its checksum differs)")
  return Restored(state, migration.migrate(config), migration.migrate_record(record))


def _require_backend() -> None:
  """Raises RuntimeError where JAX has no backend, without which Orbax reads nothing."""
  try:
    jax.local_devices()
  except (RuntimeError, AssertionError) as error:  # assertions of JAX have no words
    raise RuntimeError(
      f"JAX finds no backend of JAX_PLATFORMS={jax.config.jax_platforms!r} "
      f"({files.first_line(error)}); install it, or set JAX_PLATFORMS=cpu"
    ) from error


def _require_readable(path: pathlib.Path) -> None:
  """Raises OSError if a file cannot be read: TensorStore raises ValueError then."""
  try:
    for file in path.rglob("*"):
      if file.is_file():
        with file.open("rb") as stream:
          while stream.read(2**24):
            pass
  except OSError as error:
    raise _unreadable(path, error) from error


def _incomplete(path: pathlib.Path, error: Exception) -> Damaged:
  return Damaged(f"{path}: is not a whole checkpoint ({files.first_line(error)})")


def _unreadable(path: pathlib.Path, error: OSError) -> OSError:
  return OSError(
    f"{path}: cannot be read ({files.first_line(error)}); nothing was changed: make "
    "its files readable and run the same command"
  )


def with_digest(
  arrays: dict[str, Any], config: dict[str, Any], record: dict[str, Any]
) -> ocp.args.Composite:
  """Arguments for Orbax to save all three, with their digest in the record."""
  return ocp.args.Composite(
    state=ocp.args.StandardSave(arrays),
    config=ocp.args.JsonSave(config),
    record=ocp.args.JsonSave({**record, "digest": digest(arrays, config, record)}),
  )


def digest(state: Any, config: dict[str, Any], record: dict[str, Any]) -> str:
  """SHA-256 of names, types, shapes and bytes of all arrays, and of config and record.

  It is the same for what is saved and for what is read back: nested dicts of arrays,
  and whatever JSON keeps of the rest.
  """
  sha = hashlib.sha256()
  leaves = jax.tree_util.tree_flatten_with_path(state)[0]
  for name, leaf in sorted((jax.tree_util.keystr(path), leaf) for path, leaf in leaves):
    array = np.asarray(leaf, order="C")
    sha.update(f"{name} {array.dtype} {array.shape}\n".encode())
    sha.update(array.reshape(-1).view(np.uint8))  # the array's own memory, no copy
  sha.update(json.dumps([config, record], sort_keys=True).encode())
  return sha.hexdigest()
