"""Unpacks meshes from ZIP files that are not trusted (host).

No file gets a name that an archive chose, and no member is unpacked whose declared size
is beyond that of a mesh. Meshes are unpacked to `<out>/<category>/<id>`. The table of
them, `<out>/meshes.csv`, is written last: a folder with it is complete.
"""

import pathlib
import re
import zipfile
from collections.abc import Callable, Sequence
from typing import NamedTuple

from data_prep.progress import progress_bar
from data_prep.sources import table
from data_prep.sources.entry import MeshEntry, check_names
from occnet_jax import files

_LARGEST = 2**29  # bytes of one mesh file
_LARGEST_SUM = 20 * 2**30


class Item(NamedTuple):
  """A mesh in an archive.

  Attributes:
    entry: the mesh; its path is the file that it is unpacked to.
    archive: ZIP file that holds it.
    member: name of the member in the archive.
    change: function from the bytes of the member to those of the file.
  """

  entry: MeshEntry
  archive: zipfile.ZipFile
  member: str
  change: Callable[[bytes], bytes] = bytes


def open_zip(path: pathlib.Path) -> zipfile.ZipFile:
  """Opens a ZIP file.

  Raises:
    ValueError: the file is missing, or is no ZIP file.
  """
  try:
    return zipfile.ZipFile(path)
  except (OSError, zipfile.BadZipFile) as error:
    raise ValueError(f"{path}: no ZIP file ({error}); download it again") from error


def unpack(out: pathlib.Path, items: Sequence[Item]) -> list[MeshEntry]:
  """Unpacks the meshes that are missing, writes the table, and lists all meshes.

  A broken or missing member is listed without a file; preparation reports it.

  Raises:
    ValueError: two meshes have one name, a member's name leads out of its archive, or a
      member or all of them are larger than meshes should be.
  """
  entries = check_names(item.entry for item in items)
  total = sum(member_size(item.archive, item.member) for item in items)
  if total > _LARGEST_SUM:
    raise ValueError(f"{total:,} bytes of meshes, want at most {_LARGEST_SUM:,}")
  for entry, archive, member, change in progress_bar(items, "unpack", unit="mesh"):
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
  """Unpacked size of a member in bytes; 0 if there is no such member.

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
