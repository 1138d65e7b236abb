"""Meshes of a folder whose sub-folders are categories (host)."""

import os
import pathlib
import re
from collections import Counter

from data_prep.sources.entry import MeshEntry
from occnet_jax import files
from occnet_jax.geometry import mesh_io


def list_meshes(root: str | os.PathLike) -> list[MeshEntry]:
  """Every mesh file below `root`, in order of category and name; or `root`, a file.

  `root/chair/a.obj` is model "a" of "chair", and `root/chair/a/model.obj` is model
  "a-model"; a file directly in `root` has the folder's own name as its category. Where
  only the suffix tells two files apart, it becomes part of the name. A file in place of
  the folder is the one model of a category of its name. Links are followed and hidden
  files are left out. In names, U+FFFD stands for control characters and for
  bytes that are no UTF-8.

  Raises:
    ValueError: there is no such folder or file, or no mesh file in it.
  """
  root = pathlib.Path(root)
  if root.is_file() and root.suffix.lower() in mesh_io.SUFFIXES:
    name = _stem(_readable(root.name))
    return [MeshEntry(name, name, root)]
  if not root.is_dir():
    raise ValueError(
      f"{root}: no such folder and no mesh file; want a folder with sub-folders of "
      "meshes, or one mesh"
    )
  meshes = []
  for folder, below, names in os.walk(root, followlinks=True):
    below[:] = sorted(name for name in below if not name.startswith("."))
    for name in names:
      path = pathlib.Path(folder, name)
      if not name.startswith(".") and path.suffix.lower() in mesh_io.SUFFIXES:
        *above, name = map(_readable, path.relative_to(root).parts)
        category = above[0] if above else _readable(root.resolve().name)
        name = "-".join([*above[1:], name])
        meshes.append((category, name, path))
  if not meshes:
    raise ValueError(
      f"{root}: no mesh files; want {' '.join(mesh_io.SUFFIXES)} in sub-folders that "
      "are named after categories"
    )
  stems = Counter((category, _stem(name)) for category, name, _ in meshes)
  return sorted(
    MeshEntry(
      category, _stem(name) if stems[category, _stem(name)] == 1 else name, path
    )
    for category, name, path in meshes
  )


def _stem(name: str) -> str:
  return name.rpartition(".")[0]


def _readable(name: str) -> str:
  """The name as text in UTF-8; a file system allows any bytes."""
  return re.sub(r"[\0-\x1f]", "\ufffd", files.printable(name))
