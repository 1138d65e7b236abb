"""Meshes of any folder whose sub-folders are categories (host)."""

import os
import pathlib
from collections import Counter
from typing import NamedTuple

from occnet_jax.geometry import meshes


class Entry(NamedTuple):
  """One mesh file: its category, its name within that, and where it lies."""

  category: str
  model_id: str
  path: pathlib.Path


def list_meshes(root: str | os.PathLike) -> list[Entry]:
  """Every mesh file below `root`, in order of category and name.

  `root/chair/a.obj` is model "a" of "chair", and `root/chair/a/model.obj` is model
  "a-model"; a file directly in `root` has the folder's own name as its category. Where
  only the suffix tells two files apart, it becomes part of the name. Links are followed
  and hidden files are left out.

  Raises:
    ValueError: there is no such folder, or no mesh file in it.
  """
  root = pathlib.Path(root)
  if not root.is_dir():
    raise ValueError(f"{root}: no such folder; want one with sub-folders of meshes")
  found = []
  for folder, below, names in os.walk(root, followlinks=True):
    below[:] = sorted(name for name in below if not name.startswith("."))
    for name in names:
      path = pathlib.Path(folder, name)
      if not name.startswith(".") and path.suffix.lower() in meshes.SUFFIXES:
        *above, name = path.relative_to(root).parts
        category = above[0] if above else root.resolve().name
        name = "-".join([*above[1:], name])
        found.append((category, name, path))
  if not found:
    raise ValueError(
      f"{root}: no mesh files; want {' '.join(meshes.SUFFIXES)} in sub-folders that "
      "are named after categories"
    )
  stems = Counter((category, _stem(name)) for category, name, _ in found)
  return sorted(
    Entry(category, _stem(name) if stems[category, _stem(name)] == 1 else name, path)
    for category, name, path in found
  )


def _stem(name: str) -> str:
  return name.rpartition(".")[0]
