"""Mesh files compared by content, within a data set and across a mixture (host)."""

import hashlib
import json
import pathlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from data_prep.sources.entry import MeshEntry
from occnet_jax import files

FILE = "contents.json"  # in the directory of a data set of a mixture


def find_duplicates(
  entries: Sequence[MeshEntry], known: Mapping[str, str]
) -> dict[MeshEntry, str]:
  """Entries whose file repeats an earlier one, with the name of that one.

  Args:
    entries: the meshes of a source, in order.
    known: names of files of other data sets by their digests; they are earlier ones.
  """
  by_size = defaultdict(list)
  for entry in entries:
    if size := _size(entry.path):
      by_size[size].append(entry)
  duplicates = {}
  first = dict(known)
  for members in by_size.values():
    if len(members) == 1 and not known:
      continue  # most files are never opened
    for entry in members:
      digest = _digest(entry.path)
      if digest in first:
        duplicates[entry] = first[digest]
      else:
        first[digest] = _name(entry)
  return duplicates


def write(directory: pathlib.Path, entries: Iterable[MeshEntry]) -> None:
  """Keeps the digests of a data set's files beside it, for those prepared after it."""
  names = {_digest(e.path): _name(e) for e in entries if _size(e.path)}
  with files.atomic_write(directory / FILE) as scratch:
    scratch.write_text(json.dumps(names, indent=1) + "\n")


def read(directories: Iterable[pathlib.Path]) -> dict[str, str]:
  """Names of the files of these data sets by their digests.

  Those of a data set that was not prepared as part of a mixture are not known.
  """
  known = {}
  for directory in directories:
    if (path := directory / FILE).exists():
      for digest, name in files.read_json(path).items():
        known.setdefault(digest, f"{name} of {directory}")
  return known


def _name(entry: MeshEntry) -> str:
  return f"{entry.category}/{entry.model_id}"


def _size(path: pathlib.Path) -> int:
  """Size in bytes; 0 for a path that is no readable file, which preparation reports."""
  try:
    return path.stat().st_size if path.is_file() else 0
  except OSError:
    return 0


def _digest(path: pathlib.Path) -> str:
  """A key that files with the same content share."""
  try:
    with path.open("rb") as stream:
      digest = hashlib.file_digest(stream, "sha256").hexdigest()
  except OSError:
    return str(path)
  # A .gltf has its vertices in a file beside it: compare it within its folder only.
  is_gltf = path.suffix.lower() == ".gltf"
  return f"{digest} in {path.resolve().parent}" if is_gltf else digest
