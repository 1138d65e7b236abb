"""Random access to prepared shapes: a TFDS data set of array_record shards (host)."""

import dataclasses
import pathlib
from typing import Any, Protocol, runtime_checkable

import tensorflow_datasets as tfds


@runtime_checkable
class Examples(Protocol):
  """Stored shapes by index, as nested dicts of arrays."""

  def __len__(self) -> int: ...

  def __getitem__(self, index: int) -> dict[str, Any]: ...


@dataclasses.dataclass(frozen=True)
class _Decoded:
  """Records, of which only some features are decoded."""

  records: Any
  features: Any

  def __len__(self) -> int:
    return len(self.records)

  def __getitem__(self, index: int) -> dict[str, Any]:
    example = self.features.deserialize_example_np(self.records[index])
    return {**example, "index": index}


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
  wanted = _select(builder.info.features, fields, directory)
  records = builder.as_data_source(
    split, deserialize_method=tfds.decode.DeserializeMethod.RAW_BYTES
  )
  return _Decoded(records, wanted)


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
