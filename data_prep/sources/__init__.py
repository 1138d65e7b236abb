"""Sources of meshes, by the name that `prepare` takes."""

import pathlib

from data_prep.sources import (
  folder,
  official,
  pybullet,
  sh3f,
  shapenet,
  synthetic,
  table,
)
from data_prep.sources.entry import MeshEntry, check_names

KINDS = (
  "synthetic",
  "folder:/path/to/meshes",
  "csv:/path/to/table.csv",
  "sh3f:debian",
  "sh3f:/path/to/library.sh3f",
  "pybullet",
  "shapenet:/path/to/ShapeNetCore",
  "official:/path/to/preprocessed/ShapeNet",
)


def collect(
  source: str, out: pathlib.Path, *, per_category: int, seed: int, workers: int
) -> list[MeshEntry]:
  """The meshes of a source, in order of category and id, without repeated names.

  Args:
    source: one of KINDS.
    out: directory of the data set. Meshes that are generated, downloaded or unpacked
      are kept in `out/meshes` for a second call.
    per_category: number of synthetic shapes of each category.
    seed: seed of the synthetic shapes.
    workers: processes that make synthetic shapes; 0 for one per core.

  Raises:
    ValueError: the source is none of KINDS, or its meshes cannot be listed.
  """
  kind, _, where = source.partition(":")
  if source == "synthetic":
    synthetic.write_meshes(
      out / "meshes", per_category=per_category, seed=seed, workers=workers
    )
    return folder.list_meshes(out / "meshes")
  if kind == "pybullet":
    return pybullet.list_meshes(where, out / "meshes")
  if kind == "sh3f" and where:
    return sh3f.list_meshes(where, out / "meshes")
  lists = {
    "folder": folder.list_meshes,
    "csv": table.list_meshes,
    "shapenet": shapenet.list_meshes,
    "official": official.list_examples,
  }
  if kind not in lists or not where:
    raise ValueError(f"source is {source!r}, want one of: {', '.join(KINDS)}")
  return check_names(lists[kind](where))
