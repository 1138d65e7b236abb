"""Random access to prepared shapes: a TFDS data set of array_record shards (host)."""

import dataclasses
import pathlib
import time
from typing import Any, Protocol, runtime_checkable

import numpy as np
import tensorflow_datasets as tfds

WAITS = (1.0, 4.0, 15.0)  # seconds before storage is asked again


@runtime_checkable
class Examples(Protocol):
  """Stored shapes by index, as nested dicts of arrays."""

  def __len__(self) -> int: ...

  def __getitem__(self, index: int) -> dict[str, Any]: ...


@dataclasses.dataclass
class _Decoded:
  """Records, of which only some features are decoded.

  What storage does not give is asked for again after a while, and then an OSError:
  never another example in its place, and never fewer.
  """

  directory: pathlib.Path
  split: str
  shards: list[tuple[str, int]]  # names, and examples in each
  records: Any
  features: Any

  def __len__(self) -> int:
    return len(self.records)

  def __getitem__(self, index: int) -> dict[str, Any]:
    example = self.features.deserialize_example_np(self._read(index))
    return {**example, "index": index}

  def _read(self, index: int) -> bytes:
    for seconds in (0.0, *WAITS):
      try:
        if seconds:
          time.sleep(seconds)
          # a reader that failed once fails for good
          self.records = _open_records(self.directory, self.split)
        if (record := self.records[index]) is None:
          raise EOFError("an empty record")
        return record
      except Exception as error:  # array_record and TFDS raise whatever they meet
        reason = error
    raise OSError(
      f"{self.directory / self._shard(index)}: shape {index} cannot be read "
      f"({str(reason).splitlines()[0]}); bring the storage back, or prepare the data "
      "again where the file is damaged"
    ) from reason

  def _shard(self, index: int) -> str:
    last = np.cumsum([count for _, count in self.shards])
    return self.shards[int(np.searchsorted(last, index, side="right"))][0]


def open_split(
  directory: str | pathlib.Path, split: str, fields: dict[str, Any]
) -> Examples:
  """The examples of one split, as nested dicts of arrays, each with its "index".

  Args:
    directory: what data preparation wrote.
    split: "train", "val" or "test".
    fields: the features to decode, such as {"points": {"points": True}}; the others
      cost nothing.

  Raises:
    ValueError: there is no complete data set here, or it lacks the split or a field.
  """
  directory = pathlib.Path(directory)
  remedy = "prepare it: python main.py --mode=prepare --config=..."
  if not directory.is_dir():
    raise ValueError(f"{directory}: no such data directory; {remedy}")
  if not (directory / "dataset_info.json").exists():
    raise ValueError(
      f"{directory}: preparation was not finished here (no dataset_info.json); "
      f"continue it with the same config, or {remedy}"
    )
  builder = tfds.builder_from_directory(directory)
  if split not in builder.info.splits:
    found = ", ".join(sorted(builder.info.splits)) or "none"
    raise ValueError(f"{directory}: has no split {split!r}; found: {found}")
  missing = [path for path in builder.info.splits[split].filepaths if not path.exists()]
  if missing:
    raise ValueError(f"{directory}: shard {missing[0].name} is missing; {remedy}")
  info = builder.info.splits[split]
  names = [path.name for path in info.filepaths]
  return _Decoded(
    directory,
    split,
    shards=list(zip(names, info.shard_lengths, strict=True)),
    records=_open_records(directory, split),
    features=_select(builder.info.features, fields, directory),
  )


def _open_records(directory: pathlib.Path, split: str) -> Any:
  """The records of a split, not decoded."""
  return tfds.builder_from_directory(directory).as_data_source(
    split, deserialize_method=tfds.decode.DeserializeMethod.RAW_BYTES
  )


def _select(
  features: tfds.features.FeaturesDict, fields: dict[str, Any], directory: pathlib.Path
) -> tfds.features.FeaturesDict:
  """The named features alone. (TFDS's PartialDecoding does it with TensorFlow only.)"""
  if lacking := fields.keys() - features.keys():
    found = ", ".join(sorted(features))
    raise ValueError(
      f"{directory}: lacks the field {min(lacking)!r} that this config reads; it has: "
      f"{found}; prepare the data again with this version"
    )
  return tfds.features.FeaturesDict(
    {
      name: features[name]
      if wanted is True
      else _select(features[name], wanted, directory)
      for name, wanted in fields.items()
    }
  )
