"""Random access to prepared shapes: a TFDS data set of array_record shards (host)."""

import contextlib
import dataclasses
import os
import pathlib
import time
from collections.abc import Iterable
from typing import Any, Protocol, runtime_checkable

import numpy as np
import tensorflow_datasets as tfds
from array_record.python import array_record_module

from occnet_jax import files

MARKS = "shards.json"  # what data preparation notes of each shard, `files.mark`
WAITS = (1.0, 4.0, 15.0)  # seconds before each further attempt to read
# What failing storage raises: array_record has RuntimeError for files that cannot be
# opened and for checksums that differ.
STORAGE_ERRORS = (OSError, EOFError, RuntimeError)


@runtime_checkable
class Examples(Protocol):
  """Stored shapes by index, each a nested dict of arrays."""

  def __len__(self) -> int: ...

  def __getitem__(self, index: int) -> dict[str, Any]: ...


@dataclasses.dataclass
class TfdsExamples:
  """Records of a TFDS data set, of which only some features are decoded.

  A read that fails is repeated after a while, and raises OSError if it fails again: no
  example is ever replaced or left out.
  """

  directory: pathlib.Path
  split: str
  shards: list[tuple[str, int]]  # file names and numbers of examples
  records: Any
  features: Any

  def __len__(self) -> int:
    return len(self.records)

  def __getitem__(self, index: int) -> dict[str, Any]:
    example = self.features.deserialize_example_np(self._read(index))
    return {**example, "index": index}

  def _read(self, index: int) -> bytes:
    if not 0 <= index < len(self):  # here, for a shard with fewer records is an OSError
      raise IndexError(f"shape {index} of {len(self)} in {self.directory}")
    for seconds in (0.0, *WAITS):
      try:
        if seconds:
          time.sleep(seconds)
          # a reader that has failed once keeps failing
          self.records = _open_records(self.directory, self.split)
        if (record := self.records[index]) is None:
          raise EOFError("an empty record")
        return record
      except STORAGE_ERRORS as error:
        reason = error
      except ValueError as error:  # the file ends before this record
        reason = error
        break
    raise OSError(
      f"{self.directory / self._shard(index)}: shape {index} cannot be read "
      f"({str(reason).splitlines()[0]}); bring the storage back, or prepare the data "
      "again where the file is damaged"
    ) from reason

  def _shard(self, index: int) -> str:
    last = np.cumsum([count for _, count in self.shards])
    return self.shards[int(np.searchsorted(last, index, side="right"))][0]


class JoinedExamples:
  """Several data sets, one after the other.

  Attributes:
    parts: the data sets.
    epoch: indices of an epoch, those of a part as often as its number of times says.
  """

  def __init__(self, parts: list[Examples], times: list[int]):
    self.parts = parts
    self._ends = np.cumsum([len(part) for part in parts])
    ranges = np.split(np.arange(len(self)), self._ends[:-1])
    self.epoch = np.concatenate(
      [np.tile(*pair) for pair in zip(ranges, times, strict=True)]
    )

  def __len__(self) -> int:
    return int(self._ends[-1])

  def __getitem__(self, index: int) -> dict[str, Any]:
    if not 0 <= index < len(self):
      raise IndexError(f"shape {index} of {len(self)}")
    k = int(np.searchsorted(self._ends, index, side="right"))
    part = self.parts[k]
    example = part[index - int(self._ends[k]) + len(part)]
    return {**example, "index": index}


def open_mixture(
  directory: str | pathlib.Path,
  others: tuple[tuple[str, int], ...],
  split: str,
  fields: dict[str, Any],
) -> Examples:
  """The examples of a split of one data set, or of several, see config.data.mixture.

  Args:
    directory: the first data set, each of whose shapes is once in an epoch.
    others: further directories, and how often their shapes are in an epoch, from 1.
    split, fields: arguments of `open_split`.

  Raises:
    ValueError: as `open_split`, or a number below 1.
  """
  if not others:
    return open_split(directory, split, fields)
  times = [times for _, times in others]
  if wrong := [number for number in times if int(number) != number or number < 1]:
    raise ValueError(
      f"config.data.mixture takes shapes {wrong[0]} times; want a whole number from 1"
    )
  directories = [directory, *(directory for directory, _ in others)]
  parts = [open_split(directory, split, fields) for directory in directories]
  return JoinedExamples(parts, [1, *times])


def epoch_of(examples: Examples) -> np.ndarray | None:
  """Indices of an epoch where some examples are in it several times, else None."""
  return examples.epoch if isinstance(examples, JoinedExamples) else None


def open_split(
  directory: str | pathlib.Path, split: str, fields: dict[str, Any]
) -> Examples:
  """The examples of one split, each a nested dict of arrays with its "index".

  Args:
    directory: folder that data preparation wrote.
    split: "train", "val" or "test".
    fields: features to decode, such as {"points": {"points": True}}; the others are
      neither read nor decoded.

  Raises:
    ValueError: there is no complete data set here, or it lacks the split or a field.
  """
  directory = pathlib.Path(directory)
  files.check_utf_8(directory)
  remedy = "prepare it by occnet prepare, or name another"
  if not directory.is_dir():
    raise ValueError(f"{directory}: no such data directory; {remedy}")
  if not (directory / "dataset_info.json").exists():
    raise ValueError(
      f"{directory}: preparation was not finished here (no dataset_info.json); "
      f"continue it with the same config, or {remedy}"
    )
  try:
    info = tfds.builder_from_directory(directory).info
    shards = {
      name: list(zip(part.filepaths, part.shard_lengths, strict=True))
      for name, part in info.splits.items()
    }
  except MemoryError:
    raise
  except Exception as error:  # TFDS raises whatever its parsers meet first
    files.check_read(directory / "dataset_info.json", error)
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    raise ValueError(
      f"{directory}: dataset_info.json or features.json cannot be read ({reason}); "
      "restore them, or prepare the data again"
    ) from error
  if split not in shards:
    names = sorted(shards)
    remedy = "prepare more meshes of each category"
    if split in ("val", "test"):
      choice = f"--config.{split}.split={'train' if 'train' in names else '...'}"
      remedy = f"use {choice}, or {remedy} or with another prep.{split}_fraction"
    raise ValueError(
      f"{directory}: has no split {split!r}, but: {', '.join(names) or 'none'}; "
      f"{remedy}"
    )
  missing = [path for path, _ in shards[split] if not path.exists()]
  if missing:
    raise ValueError(f"{directory}: shard {missing[0].name} is missing; {remedy}")
  _check_marks(directory, [path for path, _ in shards[split]])
  for path, length in shards[split]:
    if (count := _count_records(path)) > length:
      raise ValueError(
        f"{path}: holds {count} shapes, but dataset_info.json says {length}; restore "
        "the two, or prepare the data again"
      )
  return TfdsExamples(
    directory,
    split,
    shards=[(path.name, length) for path, length in shards[split]],
    records=_open_records(directory, split),
    features=_select(info.features, fields, directory),
  )


def _check_marks(directory: pathlib.Path, paths: Iterable[os.PathLike]) -> None:
  """Raises ValueError for a shard that is not the one that was prepared.

  Data sets of earlier versions have no marks. A shard that cannot be opened is left to
  what reads it.
  """
  path = directory / MARKS
  marks = files.read_json(path) if path.exists() else {}
  for shard in map(pathlib.Path, paths):
    with contextlib.suppress(OSError):
      if marks.get(shard.name, mark := files.mark(shard)) != mark:
        raise ValueError(
          f"{shard}: is not the shard that was prepared here ({mark}, not "
          f"{marks[shard.name]}); restore it, or prepare the data again"
        )


def _count_records(path: os.PathLike) -> int:
  """Number of records of a shard; 0 if it cannot be opened, as reading will say."""
  try:
    reader = array_record_module.ArrayRecordReader(str(path))
    count = reader.num_records()
    reader.close()
  except (*STORAGE_ERRORS, ValueError):
    return 0
  return count


def _open_records(directory: pathlib.Path, split: str) -> Any:
  """The records of a split as bytes."""
  return tfds.builder_from_directory(directory).as_data_source(
    split, deserialize_method=tfds.decode.DeserializeMethod.RAW_BYTES
  )


def _select(
  features: tfds.features.FeaturesDict, fields: dict[str, Any], directory: pathlib.Path
) -> tfds.features.FeaturesDict:
  """The named features only; TFDS's own PartialDecoding needs TensorFlow."""
  if missing := fields.keys() - features.keys():
    name, remedy = min(missing), "with this version"
    if name in ("views", "world_mat", "camera_mat"):
      remedy = "with pictures and their cameras: --config.prep.views=24"
    raise ValueError(
      f"{directory}: lacks the field {name!r} that this config reads; it has: "
      f"{', '.join(sorted(features))}; prepare the data again {remedy}"
    )
  return tfds.features.FeaturesDict(
    {
      name: features[name]
      if nested is True
      else _select(features[name], nested, directory)
      for name, nested in fields.items()
    }
  )
