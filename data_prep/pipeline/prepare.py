"""The whole preparation: meshes in, a data set and a report of every mesh out (host).

Layout of the directory:
  occnet-<split>.array_record-*, features.json, dataset_info.json   the TFDS data set
  meshes/                  of sources that make or unpack them
  solids/<category>/<id>.ply   labelled surfaces in the unit-cube frame
  rows/<split>-<shard>.json    what became of each mesh of a shard
  prepare_report.csv       the same in one table: outcome, reason, seconds, quality
  prepare.json             the settings; a directory has one set of them

An example is a function of the settings, its category and its id: neither order nor
number of workers nor an interruption changes it. Shards are moved into place whole, so
a second call with the same settings makes only what is missing.
"""

import hashlib
import json
import os
import pathlib
import shutil
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from data_prep import sources
from data_prep.pipeline import report, shards, worker_pool
from data_prep.pipeline.report import Row
from data_prep.pipeline.shard_jobs import Resources, ShardJob, make_shard_jobs, run_here
from data_prep.pipeline.splits import assign_splits
from data_prep.sampling.example import (
  Settings,
  check_settings,
  is_official,
  make_features,
)
from data_prep.sources.entry import SPLITS, MeshEntry
from data_prep.watertight import solid as solids
from occnet_jax import files

SETTINGS_FILE = "prepare.json"
_FORMAT = 2  # raise it when the same settings give other bytes
# Settings that examples which others made have behind them.
_NOT_OFFICIAL = {
  "padding": 0.1,
  "near_sigmas": [],
  "solid": {},
  "solid_splits": [],
}


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
  distances: bool = False,
  voxel_side: int = 32,
  views: int = 0,
  view_side: int = 137,
  dtype: str = "float16",
  val_fraction: float = 0.1,
  test_fraction: float = 0.2,
  solid: Mapping[str, Any] = MappingProxyType({}),
  solid_splits: Sequence[str] = ("test",),
  duplicates: str = "drop",
  workers: int = 0,
  time_limit: float = 180.0,
  memory_limit: float = 4.0,
  retry: bool = False,
  shard_size: int = 64,
  run: Callable[[Sequence[ShardJob], Resources], None] = run_here,
) -> Prepared:
  """Prepares a data set, or what is missing of it.

  A finished directory is left as it is, without a look at the meshes. A mesh that
  cannot be used is a row in the report, whatever it does to the process it is in.

  Args:
    source: where meshes come from, see `data_prep.sources.collect`. "official:<path>"
      has examples of the reference's making: `near_sigmas`, `padding`, `view_side`,
      `solid` and `solid_splits` have no effect, and other settings ask for no more
      than is there.
    out: directory of the data set.
    seed: of synthetic shapes, samples and splits.
    per_category: synthetic shapes per category.
    points: labelled points per shape, uniform in the padded cube.
    near_points: labelled points near the surface per shape; 0 for none.
    near_sigmas: deviations of these from the surface, in equal shares, in cube units.
    surface_points: surface points with normals per shape.
    padding: the cube's side is 1 + padding.
    distances: whether to store signed distances of the labelled points.
    voxel_side: cells per side of the occupancy grid.
    views: rendered pictures per shape; 0 for none.
    view_side: of a picture in pixels.
    dtype: of points and normals as stored, "float16" or "float32".
    val_fraction: of each category, where the source fixes no split.
    test_fraction: likewise.
    solid: fields of `solid.Options`; the others have their defaults.
    solid_splits: whose labelled surfaces are kept as meshes.
    duplicates: "drop" or "keep" files with the same content as an earlier one.
    workers: processes; 0 for one per core.
    time_limit: seconds per mesh; 0 for none.
    memory_limit: GiB of resident memory per process; 0 for none.
    retry: take up meshes again that were lost to a crash or a limit; the other meshes
      of their shards are made again with them, to the same bytes.
    shard_size: meshes per shard.
    run: makes the jobs that are not done; by default with processes of this machine.

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
    # Only where it is set, so that data sets from before keep their settings.
    **({"distances": True} if distances else {}),
    "views": views,
    "view_side": view_side if views else 0,
    "dtype": dtype,
    "val_fraction": val_fraction,
    "test_fraction": test_fraction,
    "solid": _solid_options(solid),
    "solid_splits": sorted(solid_splits),
    "duplicates": duplicates,
    "shard_size": shard_size,
  }
  limits = {"workers": workers, "time_limit": time_limit, "memory_limit": memory_limit}
  for name, value in limits.items():
    if value < 0:
      raise ValueError(f"{name} is {value}, want 0 (no limit, all cores) or more")
  check_settings(settings)
  if is_official(settings):
    settings |= _NOT_OFFICIAL
  _claim(out, settings)
  if retry:
    _forget_lost(out)
  if not shards.is_complete(out):
    means = Resources(
      workers or worker_pool.count_cores(), worker_pool.Limits(time_limit, memory_limit)
    )
    entries = sources.collect(
      source, out, per_category=per_category, seed=seed, workers=means.workers
    )
    _claim(out, {**settings, "meshes": _digest(entries)})
    plan = assign_splits(
      entries,
      seed=seed,
      val_fraction=val_fraction,
      test_fraction=test_fraction,
      drop_duplicates=duplicates == "drop",
    )
    jobs = make_shard_jobs(out, settings, plan)
    _drop_scratch(out)  # of a run that was killed
    try:
      run([job for split in SPLITS for job in jobs[split]], means)
    finally:
      _drop_scratch(out)  # of processes that were
    _finish(out, settings, jobs, plan.duplicates)
  rows = report.read(out)
  shapes = report.count(rows)
  return Prepared(out, shapes, len(rows) - sum(shapes.values()))


def _forget_lost(out: pathlib.Path) -> None:
  """Makes shards unfinished in which a mesh was lost."""
  for path in (out / "rows").glob("*.json"):
    if any(row["outcome"] in report.LOST for row in json.loads(path.read_text())):
      shards.metadata_path(out).unlink(missing_ok=True)
      path.unlink()


def _drop_scratch(out: pathlib.Path) -> None:
  for scratch in list(out.rglob(".part-*")):
    shutil.rmtree(scratch) if scratch.is_dir() else scratch.unlink()


def _solid_options(chosen: Mapping[str, Any]) -> dict[str, Any]:
  """Every field of `solid.Options`, the chosen ones among them."""
  fields = solids.RepairOptions._fields
  if unknown := chosen.keys() - set(fields):
    raise ValueError(f"solid has {sorted(unknown)}, want some of {', '.join(fields)}")
  return solids.RepairOptions(**chosen)._asdict()


def _claim(out: pathlib.Path, settings: Settings) -> None:
  """Writes the settings of a new directory, or compares those of an old one."""
  path = out / SETTINGS_FILE
  found = json.loads(path.read_text()) if path.exists() else {}
  if not found and shards.is_complete(out):
    raise ValueError(
      f"{out}: holds a data set without {SETTINGS_FILE}, so not of this making; choose "
      "another directory"
    )
  before = _flatten(found)
  for name, wanted in _flatten(settings).items():
    if name.partition(".")[0] in found and before.get(name) != wanted:
      raise ValueError(
        f"{out}: was prepared with {name} = {before.get(name)!r}, now wanted "
        f"{wanted!r}; choose another directory (prep.out), or delete this one"
      )
  if not settings.keys() <= found.keys():
    with files.atomic_write(path) as scratch:
      scratch.write_text(json.dumps({**found, **settings}, indent=2) + "\n")


def _flatten(settings: Settings) -> Settings:
  """Nested settings by dotted names."""
  flat = {}
  for name, value in settings.items():
    if isinstance(value, dict):
      flat |= {f"{name}.{key}": inner for key, inner in value.items()}
    else:
      flat[name] = value
  return flat


def _digest(entries: Sequence[MeshEntry]) -> str:
  """Which meshes there are, and in which split if that is fixed, in one line."""
  names = "\n".join(
    "/".join(filter(None, (entry.category, entry.model_id, entry.split)))
    for entry in entries
  )
  return f"{len(entries)} files, {hashlib.sha256(names.encode()).hexdigest()[:16]}"


def _finish(
  out: pathlib.Path,
  settings: Settings,
  jobs: dict[str, list[ShardJob]],
  duplicates: Sequence[Row],
) -> None:
  """Writes the report, and the metadata that makes shards a data set."""
  rows = {
    split: [json.loads(job.rows_path.read_text()) for job in jobs[split]]
    for split in SPLITS
  }
  every = [row for split in SPLITS for part in rows[split] for row in part]
  report.write(out, [*every, *duplicates])
  lengths = {
    split: [sum(row["outcome"] == "ok" for row in part) for part in rows[split]]
    for split in SPLITS
  }
  if not any(map(sum, lengths.values())):
    first = every[0]
    raise ValueError(
      f"none of {len(every)} meshes could be used; the first, {first['id']}: "
      f"{first['reason']} (all reasons: {out / report.FILE})"
    )
  shards.finish(out, make_features(settings), lengths)
