"""The whole preparation: meshes in, a data set and a report of every mesh out (host).

Layout of the directory:
  occnet-<split>.array_record-*, features.json, dataset_info.json   the TFDS data set
  meshes/                  synthetic sources
  solids/<category>/<id>.ply   labelled surfaces in the unit-cube frame
  rows/<split>-<shard>.json    what became of each mesh of a shard
  prepare_report.csv       the same in one table: outcome, reason, seconds
  prepare.json             the settings; a directory has one set of them

An example is a function of the settings, its category and its id: neither order nor
number of workers nor an interruption changes it. Shards are moved into place whole, so
a second call with the same settings makes only what is missing.
"""

import contextlib
import csv
import hashlib
import json
import os
import pathlib
import shutil
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from data_prep import pool, shards
from data_prep.example import (
  COLUMNS,
  SPLITS,
  Row,
  Settings,
  Task,
  check_settings,
  make_features,
  make_rng,
  make_row,
  prepare_one,
)
from data_prep.sources import folder, synthetic
from occnet_jax import files

SETTINGS_FILE = "prepare.json"
REPORT_FILE = "prepare_report.csv"
_FORMAT = 1  # raise it when the same settings give other bytes
_ADDED = {"views": 0, "view_side": 0}  # what data without these settings were made with


class Prepared(NamedTuple):
  """What is in a prepared directory.

  Attributes:
    directory: of the data set.
    shapes: examples per split.
    rejected: meshes that did not become examples; the report says why.
  """

  directory: pathlib.Path
  shapes: dict[str, int]
  rejected: int


def prepare(
  *,
  source: str = "synthetic",
  out: str | os.PathLike,
  seed: int = 0,
  per_category: int = 100,
  points: int = 100_000,
  near_points: int = 0,
  near_sigmas: Sequence[float] = (0.01, 0.03),
  surface_points: int = 100_000,
  padding: float = 0.1,
  voxel_side: int = 32,
  views: int = 0,
  view_side: int = 137,
  dtype: str = "float16",
  val_fraction: float = 0.1,
  test_fraction: float = 0.2,
  solid_splits: Sequence[str] = ("test",),
  workers: int = 0,
  shard_size: int = 64,
) -> Prepared:
  """Prepares a data set, or what is missing of it.

  A finished directory is left as it is, without a look at the meshes. A mesh that
  cannot be used is a row in the report.

  Args:
    source: "synthetic", or "folder:<path>" for the mesh files of a folder.
    out: directory of the data set.
    seed: of synthetic shapes, samples and splits.
    per_category: synthetic shapes per category.
    points: labelled points per shape, uniform in the padded cube.
    near_points: labelled points near the surface per shape; 0 for none.
    near_sigmas: deviations of these from the surface, in equal shares, in cube units.
    surface_points: surface points with normals per shape.
    padding: the cube's side is 1 + padding.
    voxel_side: cells per side of the occupancy grid.
    views: rendered pictures per shape; 0 for none.
    view_side: of a picture in pixels.
    dtype: of points and normals as stored, "float16" or "float32".
    val_fraction: of each category.
    test_fraction: of each category.
    solid_splits: whose labelled surfaces are kept as meshes.
    workers: processes; 0 for one per core.
    shard_size: meshes per shard.

  Raises:
    ValueError: a setting is out of range, `out` holds data of other settings, or no
      mesh could be used.
  """
  out = pathlib.Path(out)
  settings = {
    "format": _FORMAT,
    "source": source,
    "seed": seed,
    "per_category": per_category if source == "synthetic" else 0,
    "points": points,
    "near_points": near_points,
    "near_sigmas": list(near_sigmas),
    "surface_points": surface_points,
    "padding": padding,
    "voxel_side": voxel_side,
    "views": views,
    "view_side": view_side if views else 0,
    "dtype": dtype,
    "val_fraction": val_fraction,
    "test_fraction": test_fraction,
    "solid_splits": sorted(solid_splits),
    "shard_size": shard_size,
  }
  if workers < 0:
    raise ValueError(f"workers is {workers}, want 0 for all cores, or more")
  check_settings(settings)
  _claim(out, settings)
  if not shards.is_complete(out):
    workers = workers or os.cpu_count() or 1
    entries = _collect(source, out, settings, workers)
    _claim(out, {**settings, "meshes": _digest(entries)})
    _run(out, settings, entries, workers)
  rows = _read_report(out)
  used = [row["split"] for row in rows if row["outcome"] == "ok"]
  shapes = {split: used.count(split) for split in SPLITS}
  return Prepared(out, shapes, len(rows) - len(used))


def _claim(out: pathlib.Path, settings: Settings) -> None:
  """Writes the settings of a new directory, or compares those of an old one."""
  path = out / SETTINGS_FILE
  found = {**_ADDED, **json.loads(path.read_text())} if path.exists() else {}
  if not found and shards.is_complete(out):
    raise ValueError(
      f"{out}: holds a data set without {SETTINGS_FILE}, so not of this making; choose "
      "another directory"
    )
  for name, wanted in settings.items():
    if name in found and found[name] != wanted:
      raise ValueError(
        f"{out}: was prepared with {name} = {found[name]!r}, now wanted {wanted!r}; "
        "choose another directory (prep.out), or delete this one"
      )
  if not settings.keys() <= found.keys():
    with files.write_aside(path) as scratch:
      scratch.write_text(json.dumps({**found, **settings}, indent=2) + "\n")


def _collect(
  source: str, out: pathlib.Path, settings: Settings, workers: int
) -> list[folder.Entry]:
  """The meshes of a source, in order of category and id."""
  kind, _, where = source.partition(":")
  if source == "synthetic":
    synthetic.write_meshes(
      out / "meshes",
      per_category=settings["per_category"],
      seed=settings["seed"],
      workers=workers,
    )
    return folder.list_meshes(out / "meshes")
  if kind == "folder" and where:
    return folder.list_meshes(where)
  raise ValueError(
    f"source is {source!r}, want 'synthetic' or 'folder:/path/to/meshes'"
  )


def _digest(entries: Sequence[folder.Entry]) -> str:
  """Which meshes there are, in one line."""
  names = "\n".join(f"{entry.category}/{entry.model_id}" for entry in entries)
  return f"{len(entries)} files, {hashlib.sha256(names.encode()).hexdigest()[:16]}"


def _assign_splits(
  entries: Sequence[folder.Entry], settings: Settings
) -> dict[str, list[folder.Entry]]:
  """Splits each category by a shuffle of its own.

  A split with a fraction above 0 gets at least one shape of every category that has
  enough of them; train comes first.
  """
  by_category = defaultdict(list)
  for entry in entries:
    by_category[entry.category].append(entry)
  splits: dict[str, list[folder.Entry]] = {split: [] for split in SPLITS}
  for category, members in by_category.items():
    order = make_rng(settings["seed"], "split", category).permutation(len(members))
    count = {}
    left = len(members) - 1  # one at least to train on
    for split in ("test", "val"):
      fraction = settings[f"{split}_fraction"]
      share = max(round(fraction * len(members)), 1) if fraction else 0
      count[split] = min(share, left)
      left -= count[split]
    bounds = np.cumsum([count["val"], count["test"]])
    for split, chosen in zip(
      ("val", "test", "train"), np.split(order, bounds), strict=True
    ):
      splits[split] += [members[i] for i in sorted(chosen)]
  return splits


def _run(
  out: pathlib.Path,
  settings: Settings,
  entries: Sequence[folder.Entry],
  workers: int,
) -> None:
  """Makes the missing shards, then the report and the metadata."""
  for scratch in list(out.rglob(".part-*")):  # of a run that was killed
    shutil.rmtree(scratch) if scratch.is_dir() else scratch.unlink()
  size = settings["shard_size"]
  splits = _assign_splits(entries, settings)
  counts = {split: -(-len(members) // size) for split, members in splits.items()}
  tasks: dict[tuple[str, int], list[Task]] = {}
  done = 0
  for split, members in splits.items():
    for shard in range(counts[split]):
      chosen = members[shard * size : (shard + 1) * size]
      if (
        shards.shard_path(out, split, shard, counts[split]).exists()
        and _rows_path(out, split, shard).exists()
      ):
        done += len(chosen)
      else:
        tasks[split, shard] = [
          _make_task(out, settings, entry, split, shard) for entry in chosen
        ]
  progress = tqdm(total=len(entries), initial=done, desc="prepare", unit="shape")
  with progress, contextlib.closing(_finished_shards(tasks, workers, progress)) as made:
    for (split, shard), results in made:
      # Rows first: a shard in place has its rows.
      with files.write_aside(_rows_path(out, split, shard)) as scratch:
        scratch.write_text(json.dumps([row for row, _ in results], indent=1))
      shards.write_shard(
        shards.shard_path(out, split, shard, counts[split]),
        (record for _, record in results if record is not None),
      )
  rows = {
    split: [
      json.loads(_rows_path(out, split, shard).read_text()) for shard in range(count)
    ]
    for split, count in counts.items()
  }
  _write_report(out, [row for split in SPLITS for part in rows[split] for row in part])
  lengths = {
    split: [sum(row["outcome"] == "ok" for row in part) for part in rows[split]]
    for split in SPLITS
  }
  if not any(map(sum, lengths.values())):
    first = next(row for split in SPLITS for part in rows[split] for row in part)
    raise ValueError(
      f"none of {len(entries)} meshes could be used; the first, {first['id']}: "
      f"{first['reason']} (all reasons: {out / REPORT_FILE})"
    )
  shards.finish(out, make_features(settings), lengths)


def _rows_path(out: pathlib.Path, split: str, shard: int) -> pathlib.Path:
  return out / "rows" / f"{split}-{shard:05d}.json"


def _make_task(
  out: pathlib.Path, settings: Settings, entry: folder.Entry, split: str, shard: int
) -> Task:
  keep = split in settings["solid_splits"]
  solid_path = out / "solids" / entry.category / f"{entry.model_id}.ply"
  return Task(settings, *entry, split, shard, solid_path if keep else None)


def _finished_shards(
  tasks: dict[tuple[str, int], list[Task]], workers: int, progress: tqdm
) -> Iterator[tuple[tuple[str, int], list[tuple[Row, bytes | None]]]]:
  """Yields ((split, shard), [(row, record or None), ...]) as shards are complete."""
  queue = (task for members in tasks.values() for task in members)
  results: dict[tuple[str, int], dict[str, Any]] = defaultdict(dict)
  with contextlib.closing(pool.run_tasks(prepare_one, queue, workers=workers)) as runs:
    for task, result in runs:
      key = task.split, task.shard
      if isinstance(result, Exception):
        result = make_row(task, "rejected", str(result), 0.0), None
      results[key][task.category, task.model_id] = result
      progress.update()
      if len(results[key]) == len(tasks[key]):
        have = results.pop(key)
        yield key, [have[task.category, task.model_id] for task in tasks[key]]


def _write_report(out: pathlib.Path, rows: Sequence[Row]) -> None:
  with (
    files.write_aside(out / REPORT_FILE) as scratch,
    scratch.open("w", newline="") as stream,
  ):
    writer = csv.DictWriter(stream, COLUMNS)
    writer.writeheader()
    writer.writerows(rows)


def _read_report(out: pathlib.Path) -> list[dict[str, str]]:
  with (out / REPORT_FILE).open(newline="") as stream:
    return list(csv.DictReader(stream))
