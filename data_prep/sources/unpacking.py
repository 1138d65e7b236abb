"""Meshes out of ZIP files that others made (host).

Nothing is written under a name that an archive chose, and nothing is unpacked that says
to be larger than a mesh should be. Meshes are unpacked to `<out>/<category>/<id>`; a
table of them, `<out>/meshes.csv`, is written last: with it the folder is complete.
"""

import pathlib
import re
import zipfile
from collections.abc import Callable, Sequence
from typing import NamedTuple

from tqdm import tqdm

from data_prep.sources import table
from data_prep.sources.entry import MeshEntry, check_names
from occnet_jax import files

_LARGEST = 2**29  # bytes of one mesh file
_LARGEST_SUM = 20 * 2**30


class Item(NamedTuple):
  """A mesh in an archive.

  Attributes:
    entry: of the mesh; its path is where it is unpacked to.
    archive: that holds it.
    member: its name there.
    change: from the bytes of the member to those of the file.
  """

  entry: MeshEntry
  archive: zipfile.ZipFile
  member: str
  change: Callable[[bytes], bytes] = bytes


def open_zip(path: pathlib.Path) -> zipfile.ZipFile:
  """Raises ValueError if the file is missing or no ZIP."""
  try:
    return zipfile.ZipFile(path)
  except (OSError, zipfile.BadZipFile) as error:
    raise ValueError(f"{path}: no ZIP file ({error}); download it again") from error


def unpack(out: pathlib.Path, items: Sequence[Item]) -> list[MeshEntry]:
  """Unpacks what is not there yet, writes the table, and lists all.

  A member that is broken or missing is listed but leaves no file: preparation tells.

  Raises:
    ValueError: two meshes have one name, a member's name leads out of its archive, or a
      member or all of them are larger than meshes should be.
  """
  entries = check_names(item.entry for item in items)
  total = sum(member_size(item.archive, item.member) for item in items)
  if total > _LARGEST_SUM:
    raise ValueError(f"{total:,} bytes of meshes, want at most {_LARGEST_SUM:,}")
  for entry, archive, member, change in tqdm(items, "unpack", unit="mesh"):
    if entry.path.exists():
      continue
    try:
      data = change(archive.read(member))
    except Exception:  # whatever a ZIP reader may raise on a broken member
      continue
    with files.atomic_write(entry.path) as scratch:
      scratch.write_bytes(data)
  table.write_table(out / table.TABLE, sorted(entries))
  return sorted(entries)


def member_size(archive: zipfile.ZipFile, name: str) -> int:
  """Bytes of a member when unpacked; 0 if there is none.

  Raises:
    ValueError: the name leads out of the archive, or the member is larger than a mesh
      should be.
  """
  if name.startswith(("/", "\\")) or ".." in re.split(r"[/\\]", name):
    raise ValueError(
      f"{archive.filename}: {name!r} leads out of the archive, want a path within; do "
      "not trust this file"
    )
  try:
    size = archive.getinfo(name).file_size
  except KeyError:
    return 0
  if size > _LARGEST:
    raise ValueError(
      f"{archive.filename}: {name!r} unpacks to {size:,} bytes, want at most "
      f"{_LARGEST:,}"
    )
  return size
