"""Which mesh goes into which split, settled before any is read (host)."""

import hashlib
import pathlib
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from data_prep.pipeline.report import Row, make_row
from data_prep.sources.entry import SPLITS, MeshEntry


class Splits(NamedTuple):
  """What is to be prepared.

  Attributes:
    splits: entries by split.
    duplicates: rows of those left out.
  """

  splits: dict[str, list[MeshEntry]]
  duplicates: list[Row]


def assign_splits(
  entries: Sequence[MeshEntry],
  *,
  seed: int,
  val_fraction: float,
  test_fraction: float,
  drop_duplicates: bool,
) -> Splits:
  """Splits the meshes of a source.

  An entry keeps the split that its source fixes. Of a category's others, each split
  with a fraction above 0 gets at least one if there are enough; train comes first. Of
  files with the same content the first stays, so that no test shape is trained on.
  """
  first = _find_duplicates(entries) if drop_duplicates else {}
  duplicates = [
    make_row(entry, "", "duplicate", f"same content as {first[entry]}")
    for entry in entries
    if entry in first
  ]
  by_category = defaultdict(list)
  splits: dict[str, list[MeshEntry]] = {split: [] for split in SPLITS}
  for entry in entries:
    if entry in first:
      continue
    if entry.split:
      splits[entry.split].append(entry)
    else:
      by_category[entry.category].append(entry)
  fractions = {"test": test_fraction, "val": val_fraction}
  for category, members in by_category.items():
    order = make_rng(seed, "split", category).permutation(len(members))
    shares = {}
    left = len(members) - 1  # one at least to train on
    for split, fraction in fractions.items():
      share = max(round(fraction * len(members)), 1) if fraction else 0
      shares[split] = min(share, left)
      left -= shares[split]
    bounds = np.cumsum([shares["val"], shares["test"]])
    for split, chosen in zip(
      ("val", "test", "train"), np.split(order, bounds), strict=True
    ):
      splits[split] += [members[i] for i in sorted(chosen)]
  return Splits(splits, duplicates)


def make_rng(seed: int, *names: str) -> np.random.Generator:
  """A generator of its own for every name, the same on every machine."""
  digest = hashlib.sha256("\0".join(names).encode()).digest()
  return np.random.default_rng([seed, *np.frombuffer(digest, "<u4").tolist()])


def _find_duplicates(entries: Sequence[MeshEntry]) -> dict[MeshEntry, str]:
  """Entries whose file repeats an earlier one, and which that is."""
  by_size = defaultdict(list)
  for entry in entries:
    if size := _size(entry.path):
      by_size[size].append(entry)
  found = {}
  for members in by_size.values():
    if len(members) == 1:
      continue  # most files are never opened
    seen: dict[Any, MeshEntry] = {}
    for entry in members:
      known = seen.setdefault(_digest(entry.path), entry)
      if known is not entry:
        found[entry] = f"{known.category}/{known.model_id}"
  return found


def _size(path: pathlib.Path) -> int:
  """0 for what is no file, or none that can be read: preparation says what it is."""
  try:
    return path.stat().st_size if path.is_file() else 0
  except OSError:
    return 0


def _digest(path: pathlib.Path) -> Any:
  try:
    with path.open("rb") as stream:
      digest = hashlib.file_digest(stream, "sha256").digest()
  except OSError:
    return path
  # A .gltf has its vertices in a file beside it, and so is compared with those only.
  return digest, path.parent if path.suffix.lower() == ".gltf" else None
