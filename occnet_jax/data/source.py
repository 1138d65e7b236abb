"""Random access to prepared shapes: a TFDS data set of array_record shards (host)."""

import pathlib
from collections.abc import Sequence
from typing import Any

import tensorflow_datasets as tfds

SPLITS = ("train", "val", "test")


def open_split(
  directory: str | pathlib.Path, split: str, fields: dict[str, Any]
) -> Sequence[dict[str, Any]]:
  """The examples of one split, as nested dicts of arrays, by index.

  Args:
    directory: what data preparation wrote.
    split: "train", "val" or "test".
    fields: the features to decode, as TFDS's PartialDecoding takes them, such as
      {"points": {"points": True}}; the others cost nothing.

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
  try:
    decoders = tfds.decode.PartialDecoding(fields)
    return builder.as_data_source(split, decoders=decoders)
  except (ValueError, KeyError) as error:
    raise ValueError(
      f"{directory}: lacks a field this config reads: {error}"
    ) from error
