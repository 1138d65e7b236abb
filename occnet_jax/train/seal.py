"""A digest of what a checkpoint holds (host)."""

import hashlib
import json
from typing import Any

import jax
import numpy as np


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
