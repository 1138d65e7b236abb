"""ShapeNetCore as it is downloaded, version 1 or 2 (host).

Version 1 has <synset>/<id>/model.obj and version 2 <synset>/<id>/models/
model_normalized.obj. Two files beside the synsets are optional: taxonomy.json, which
names them, and all.csv of the SHREC challenges, which fixes the splits.
"""

import csv
import json
import os
import pathlib
from collections import Counter
from collections.abc import Mapping, Sequence

from data_prep.sources.entry import SPLITS, MeshEntry
from occnet_jax import unreadable

ATTRIBUTION = "ShapeNet (Chang et al. 2015)"
LICENCE = "ShapeNet terms of use: non-commercial research and education"


def list_meshes(root: str | os.PathLike) -> list[MeshEntry]:
  """Every model of every synset, in order of category and id.

  A category is a synset's first name in taxonomy.json, or its number. With all.csv,
  models that it does not list are left out. Whether a model's file exists is not
  checked.

  Raises:
    ValueError: there is no such folder, no model in it, or a table cannot be read.
  """
  root = pathlib.Path(root)
  synsets = list_synsets(root)
  names = categories(synsets, _read_names(root / "taxonomy.json"))
  splits = _read_splits(root / "all.csv")
  entries = []
  for synset in synsets:
    with os.scandir(root / synset) as models:
      for model in models:
        split = splits.get((synset, model.name), "")
        if not model.is_dir() or (splits and not split):
          continue
        path = pathlib.Path(model.path, "models", "model_normalized.obj")
        if not path.parent.is_dir():
          path = pathlib.Path(model.path, "model.obj")
        entries.append(
          MeshEntry(names[synset], model.name, path, split, ATTRIBUTION, LICENCE)
        )
  if not entries:
    raise ValueError(
      f"{root}: no models; want <synset>/<id>/model.obj or <synset>/<id>/models/"
      "model_normalized.obj, and if there is an all.csv, rows for them"
    )
  return sorted(entries)


def list_synsets(root: pathlib.Path) -> list[str]:
  """Names of the sub-folders; ValueError if `root` is no folder."""
  if not root.is_dir():
    raise ValueError(f"{root}: no such folder; want one with a sub-folder per synset")
  names = (path.name for path in root.iterdir() if path.is_dir())
  return sorted(name for name in names if not name.startswith("."))


def categories(synsets: Sequence[str], names: Mapping[str, str]) -> dict[str, str]:
  """The category of each synset: "airplane" for "airplane,aeroplane,plane".

  A synset without a name is its own category. Where two categories would be the same,
  the synset is appended.
  """
  first = {
    synset: names.get(synset, synset).split(",")[0].strip().replace("/", "-")
    for synset in synsets
  }
  count = Counter(first.values())
  return {
    synset: name if count[name] == 1 else f"{name}-{synset}"
    for synset, name in first.items()
  }


def _read_names(path: pathlib.Path) -> dict[str, str]:
  if not path.exists():
    return {}
  try:
    tree = json.loads(path.read_text(encoding="utf-8"))
    return {item["synsetId"]: item["name"] for item in tree}
  except (ValueError, KeyError, TypeError) as error:
    raise ValueError(
      f"{path}: cannot be read ({unreadable.reason(path, error)}); want a JSON list of "
      "synsetId and name, or no such file"
    ) from error


def _read_splits(path: pathlib.Path) -> dict[tuple[str, str], str]:
  """Splits by synset and model; columns synsetId, modelId and split."""
  if not path.exists():
    return {}
  try:
    with path.open(newline="", encoding="utf-8") as stream:
      splits = {
        (row["synsetId"].zfill(8), row["modelId"]): row["split"]
        for row in csv.DictReader(stream)
      }
  except (ValueError, KeyError, AttributeError, csv.Error) as error:
    raise ValueError(
      f"{path}: cannot be read ({unreadable.reason(path, error)}); want the columns "
      "synsetId, modelId and split, or no such file"
    ) from error
  if unknown := set(splits.values()) - set(SPLITS):
    raise ValueError(f"{path}: has splits {sorted(unknown)}, want some of {SPLITS}")
  return splits
