"""PyTorch's files without PyTorch: reads what torch.save writes, and writes the same.

Two formats are read. Since version 1.6 a file is a zip archive of stored members:
<name>/data.pkl, a pickle in which tensors stand for views of storages, and
<name>/data/<key>, the bytes of each storage. Before, it was a sequence of pickles (a
magic number, a version, the machine's byte order, the content, the keys of the
storages) and then the storages. No pickle is executed; see `reader`.

Host, numpy. Tensors come as read-only arrays, bfloat16 as float32.
"""

import io
import os
import pathlib
import struct
import zipfile
from typing import Any

import numpy as np

from occnet_jax import files
from occnet_jax.interop.torch_format import reader, writer
from occnet_jax.interop.torch_format.reader import Refusal, Storage, short

MAGIC = 0x1950A86A20F9469CFC6C
MAGIC_START = b"\x80\x02\x8a\x0a" + MAGIC.to_bytes(10, "little")
VERSION = 1001
_DAMAGE = (  # errors that zipfile and the readers below raise on damaged files
  zipfile.BadZipFile,
  RuntimeError,
  OSError,
  ValueError,
  ArithmeticError,
  LookupError,
  EOFError,
  struct.error,
)
WAY_OUT = "want a file that torch.save wrote (.pt or .pth); download or save it again"


def read(path: str | os.PathLike) -> Any:
  """The content of a file that torch.save wrote.

  Returns:
    Nested dicts, lists, tuples, text and numbers, with arrays in place of tensors;
    tensors that shared their storage still do.

  Raises:
    ValueError: the file is missing, damaged, of another format, or holds other objects.
  """
  path = pathlib.Path(path)
  if not path.is_file():
    state = "is a directory" if path.is_dir() else "no such file"
    raise ValueError(f"{path}: {state}; {WAY_OUT}")
  try:
    with path.open("rb") as file:
      start = file.read(512)
    if start.startswith(b"PK"):
      return _read_zip(path)
    if start.startswith(MAGIC_START):
      return _read_legacy(path.read_bytes())
    raise Refusal(f"is {_kind(path, start)}; {WAY_OUT}")
  except Refusal as error:
    raise ValueError(f"{path}: {error}") from error
  except _DAMAGE as error:
    files.check_read(path, error)
    raise ValueError(
      f"{path}: is cut short or damaged ({short(str(error), str)}); {WAY_OUT}"
    ) from error


def write(path: str | os.PathLike, tree: Any) -> None:
  """Writes a file that torch.load(path, weights_only=True) reads.

  The same tree gives the same bytes. The file is replaced in one piece.

  Args:
    path: path of the file.
    tree: nested dicts, lists, tuples, text, numbers and arrays, which become tensors.

  Raises:
    ValueError: a value or a dtype that such a file cannot hold; a path at which no file
      can be written.
  """
  pickled, arrays = writer.dump(tree)
  members = {"data.pkl": pickled, "byteorder": b"little"}
  try:
    with (
      files.atomic_write(path) as scratch,
      zipfile.ZipFile(scratch, "w", zipfile.ZIP_STORED) as archive,
    ):
      for name, content in members.items():
        archive.writestr(_member(name), content)
      for key, array in enumerate(arrays):
        archive.writestr(_member(f"data/{key}"), array.tobytes())
      archive.writestr(_member("version"), b"3\n")
  except OSError as error:
    raise ValueError(
      f"{path}: cannot be written ({error.strerror or error}); want the path of a "
      "file, such as model.pt, in a directory that can be written"
    ) from error


def _member(name: str) -> zipfile.ZipInfo:
  info = zipfile.ZipInfo(f"archive/{name}", date_time=(1980, 1, 1, 0, 0, 0))
  info.create_system = 3  # the same bytes on every system
  return info


def _kind(path: pathlib.Path, start: bytes) -> str:
  """The likely format of a file that is not PyTorch's."""
  text = start.lstrip().lower()
  if not start:
    return "empty"
  if text.startswith((b"<!doctype", b"<html", b"<?xml")):
    return "a web page (a download that failed?)"
  if start.startswith(b"version https://git-lfs"):
    return "a pointer of Git LFS (git lfs pull fetches the file)"
  if path.suffix == ".safetensors" or start[8:10] == b'{"':
    return "a safetensors file"
  if start.startswith(b"\x80"):
    return "a pickle, but not one of torch.save"
  if start[257:262] == b"ustar":
    return "a tar archive (PyTorch before 0.1.10, or not unpacked)"
  if start.startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ")):
    return "compressed (unpack it first)"
  if start.startswith(b"\x89HDF"):
    return "an HDF5 file"
  if start.isascii() and b"\0" not in start:
    return f"text that begins {short(start.decode('ascii')[:40])}"
  return f"of an unknown kind (it begins {start[:8].hex(' ')})"


def _fill(storage: Storage, raw: bytes, dtype: np.dtype, key: str) -> None:
  if len(raw) != len(storage.values) * dtype.itemsize:
    raise Refusal(
      f"holds {len(raw)} bytes of storage {short(key)}, want "
      f"{len(storage.values) * dtype.itemsize}; download or save the file again"
    )
  if dtype.kind == "b":  # a byte other than 0 and 1 is no valid bool to NumPy
    storage.values[:] = np.frombuffer(raw, np.uint8) != 0
  else:
    storage.values[:] = np.frombuffer(raw, dtype)


def _in_memory(dtype: np.dtype) -> np.dtype:
  """bfloat16 becomes float32, which every reader of the arrays knows."""
  return np.dtype(np.float32) if dtype.name == "bfloat16" else dtype


def _checked(
  storages: dict[str, tuple[np.dtype, Storage]], dtype: np.dtype, key: str, count: int
) -> Storage:
  """A storage that was read before, if it is asked for with the same type and size."""
  dtype_then, storage = storages[key]
  if (dtype_then, len(storage.values)) != (dtype, count):
    raise Refusal(f"holds storage {short(key)} with two types or sizes")
  return storage


def _read_zip(path: pathlib.Path) -> Any:
  with zipfile.ZipFile(path) as archive:
    entries = {info.filename: info for info in archive.infolist()}
    _check_entries(path, archive.infolist())
    root = next(iter(entries)).split("/")[0]
    if f"{root}/constants.pkl" in entries or any(
      name.startswith(f"{root}/code/") for name in entries
    ):
      raise Refusal(
        "is a TorchScript archive, which holds code; load it with torch.jit.load and "
        "save its state_dict() with torch.save"
      )
    if f"{root}/data.pkl" not in entries:
      names = ", ".join(list(entries)[:3])
      raise Refusal(f"is a zip archive of {short(names, str)}; {WAY_OUT}")
    order = f"{root}/byteorder"
    if order in entries and archive.read(order).strip() != b"little":
      raise Refusal(
        "was written on a big-endian machine; load and save it in PyTorch on another"
      )
    storages: dict[str, tuple[np.dtype, Storage]] = {}

    def storage(dtype: np.dtype, key: str, count: int) -> Storage:
      if key not in storages:
        name = f"{root}/data/{key}"
        if name not in entries:
          raise Refusal(f"lacks storage {short(key)}; {WAY_OUT}")
        if entries[name].file_size != count * dtype.itemsize:
          raise Refusal(
            f"holds {entries[name].file_size} bytes of storage {short(key)}, want "
            f"{count} numbers of {dtype}; download or save the file again"
          )
        numbers = Storage(np.empty(count, _in_memory(dtype)))
        _fill(numbers, archive.read(name), dtype, key)
        storages[key] = (dtype, numbers)
      return _checked(storages, dtype, key, count)

    return reader.load(io.BytesIO(archive.read(f"{root}/data.pkl")), storage)


def _check_entries(path: pathlib.Path, entries: list[zipfile.ZipInfo]) -> None:
  """Raises unless the entries are stored as they are, and none of them twice."""
  if not entries:
    raise Refusal(f"is an empty zip archive; {WAY_OUT}")
  for info in entries:
    if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
      raise Refusal(
        f"is a zip archive whose member {short(info.filename)} is compressed or "
        f"locked, which torch.save never does; {WAY_OUT}"
      )
    if info.file_size != info.compress_size:
      raise Refusal(f"has a member {short(info.filename)} of two sizes; {WAY_OUT}")
  total, size = sum(info.file_size for info in entries), path.stat().st_size
  if total > size or len({info.filename for info in entries}) < len(entries):
    raise Refusal(
      f"is a zip archive whose {len(entries)} members claim {total} bytes within "
      f"{size}, or one name twice; {WAY_OUT}"
    )


def _read_legacy(data: bytes) -> Any:
  stream = io.BytesIO(data)
  reader.load(stream)  # the magic number
  if (version := reader.load(stream)) != VERSION:
    raise Refusal(f"is of version {short(version)}, want {VERSION}; save it again")
  system = reader.load(stream)
  if not isinstance(system, dict) or system.get("little_endian") is not True:
    raise Refusal("was written on a big-endian machine; save it on another")
  storages: dict[str, tuple[np.dtype, Storage]] = {}
  claimed = 0

  def storage(dtype: np.dtype, key: str, count: int) -> Storage:
    nonlocal claimed
    if key not in storages:
      claimed += count * dtype.itemsize
      if claimed > len(data):
        raise Refusal(f"is cut short: wants {claimed} bytes, has {len(data)}")
      storages[key] = (dtype, Storage(np.zeros(count, _in_memory(dtype))))
    return _checked(storages, dtype, key, count)

  # The content comes before the numbers: its tensors are views of arrays filled below.
  content = reader.load(stream, storage)
  keys = reader.load(stream)
  if (
    not isinstance(keys, list)
    or not all(isinstance(key, str) for key in keys)
    or sorted(keys) != sorted(storages)
  ):
    raise Refusal("lists other storages than its tensors use; save it again")
  for key in keys:
    dtype, numbers = storages[key]
    (count,) = struct.unpack("<q", stream.read(8))
    if count != len(numbers.values):
      raise Refusal(
        f"holds {count} numbers of storage {key}, want {len(numbers.values)}; "
        "download or save the file again"
      )
    _fill(numbers, stream.read(count * dtype.itemsize), dtype, key)
  return content
