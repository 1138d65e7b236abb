"""Train, validation and test splits, without duplicates across them (host)."""

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from data_prep.pipeline import contents
from data_prep.pipeline.report import Row, make_row
from data_prep.sources.entry import SPLITS, MeshEntry


class Splits(NamedTuple):
  """The meshes to prepare.

  Attributes:
    splits: entries of each split.
    duplicates: rows of the report for meshes that are left out.
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
  single_shape: bool = False,
  known: Mapping[str, str] = MappingProxyType({}),
) -> Splits:
  """Splits the meshes of a source.

  An entry keeps the split that its source fixes. The other entries of a category are
  split by the fractions: each split with a fraction above 0 gets at least one, as long
  as one is left for training. Of files with the same content only the first is kept, so
  that no test shape is trained on; and none with the content of a file of another data
  set of the mixture.

  Args:
    entries: all meshes.
    seed: seed of the splits.
    val_fraction, test_fraction: shares of each category.
    drop_duplicates: whether files are compared by content.
    single_shape: whether all splits have the one mesh there is.
    known: names of files of other data sets by their digests, as `contents.read` gives.

  Raises:
    ValueError: single_shape, and there are several meshes.
  """
  if single_shape:
    if len(entries) != 1:
      raise ValueError(
        f"the source has {len(entries)} meshes, but prep.single_shape wants 1; name "
        "one file, as in prep.source=folder:one.obj"
      )
    return Splits({split: list(entries) for split in SPLITS}, [])
  first = contents.find_duplicates(entries, known) if drop_duplicates else {}
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
    left = len(members) - 1  # at least one is for training
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
  """A separate generator for every list of names, the same on every machine."""
  digest = hashlib.sha256("\0".join(names).encode()).digest()
  return np.random.default_rng([seed, *np.frombuffer(digest, "<u4").tolist()])
