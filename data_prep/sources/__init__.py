"""Sources of meshes, by the name that `prepare` takes."""

import pathlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from data_prep.sources import (
  folder,
  official,
  official_rooms,
  pybullet,
  rooms,
  sh3f,
  shapenet,
  synthetic,
  table,
)
from data_prep.sources.entry import MeshEntry, check_names

KINDS = (
  "synthetic",
  "hollow",
  "folder:/path/to/meshes",
  "csv:/path/to/table.csv",
  "sh3f:debian",
  "sh3f:/path/to/library.sh3f",
  "pybullet",
  "shapenet:/path/to/ShapeNetCore",
  "official:/path/to/preprocessed/ShapeNet",
  "rooms:synthetic",
  "rooms:folder:/path/to/meshes",
  "official_rooms:/path/to/synthetic_room_dataset",
)


def collect(
  source: str,
  out: pathlib.Path,
  *,
  per_category: int,
  seed: int,
  workers: int,
  solid: Mapping[str, Any] = MappingProxyType({}),
) -> list[MeshEntry]:
  """The meshes of a source, in order of category and id, without repeated names.

  Args:
    source: one of KINDS. Rooms can be made of the meshes of any other kind but the
      official ones.
    out: directory of the data set. Meshes that are generated, downloaded or unpacked
      are kept in `out/meshes` for a second call.
    per_category: number of synthetic shapes of each category, or of rooms for each
      number of objects.
    seed: seed of the synthetic shapes.
    workers: processes that make synthetic shapes and rooms; 0 for one per core.
    solid: fields of `RepairOptions`, for the objects of rooms.

  Raises:
    ValueError: the source is none of KINDS, or its meshes cannot be listed.
  """
  kind, _, where = source.partition(":")
  if source in synthetic.SETS:
    synthetic.write_meshes(
      out / "meshes",
      per_category=per_category,
      seed=seed,
      categories=synthetic.SETS[source],
      workers=workers,
    )
    return folder.list_meshes(out / "meshes")
  if kind == "rooms" and not where.startswith(("official", "rooms")):
    objects = collect(
      where, out / "objects", per_category=rooms.OBJECTS, seed=seed, workers=workers
    )
    return rooms.write_rooms(
      objects,
      out / "meshes",
      per_count=per_category,
      seed=seed,
      solid=solid,
      workers=workers,
    )
  if kind == "pybullet":
    return pybullet.list_meshes(where, out / "meshes")
  if kind == "sh3f" and where:
    return sh3f.list_meshes(where, out / "meshes")
  lists = {
    "folder": folder.list_meshes,
    "csv": table.list_meshes,
    "shapenet": shapenet.list_meshes,
    "official": official.list_examples,
    "official_rooms": official_rooms.list_examples,
  }
  if kind not in lists or not where:
    is_folder = bool(source) and pathlib.Path(source).is_dir()
    hint = f"; for the meshes of this folder folder:{source}" if is_folder else ""
    raise ValueError(f"source is {source!r}, want one of: {', '.join(KINDS)}{hint}")
  return check_names(lists[kind](where))
