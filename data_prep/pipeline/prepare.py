"""The whole preparation: meshes in, a data set and a report of every mesh out (host).

Layout of the directory:
  occnet-<split>.array_record-*, features.json, dataset_info.json   the TFDS data set
  meshes/                      meshes that the source made or unpacked
  solids/<category>/<id>.ply   labelled surfaces in the unit-cube frame
  rows/<split>-<shard>.json    the outcome of each mesh of a shard
  prepare_report.csv           the same in one table: outcome, reason, seconds, quality
  prepare.json                 the settings; a directory has one set of them
  contents.json                in a mixture: digests of the meshes, to find them again

An example is a function of the settings, its category and its id. Neither the order nor
the number of workers nor an interruption changes it. Shards are moved into place whole,
so a second call with the same settings makes only what is missing.
"""

import contextlib
import hashlib
import itertools
import json
import math
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from data_prep import sources
from data_prep.pipeline import contents, report, shards, worker_pool
from data_prep.pipeline.shard_jobs import (
  Resources,
  ShardJob,
  complete,
  is_done,
  make_shard_jobs,
  remove_damaged,
  run_here,
)
from data_prep.pipeline.splits import assign_splits
from data_prep.sampling.example import (
  Settings,
  check_settings,
  is_generated,
  is_official,
)
from data_prep.sources.entry import SPLITS, MeshEntry
from data_prep.watertight import solid as solids
from occnet_jax import files

SETTINGS_FILE = "prepare.json"
_FORMAT = 3  # raise it when the same settings give other bytes
# Format 2 differs in names only: of the columns `quality/*` and of one setting. Data
# that are complete in it can be used, but nothing can be added to them.
_EARLIER_FORMAT = 2
_RENAMED_OPTIONS = {"max_denied": "max_contradicted"}
# Settings without effect on examples that were prepared by the reference.
_NOT_OFFICIAL = {"padding": 0.1, "near_sigmas": [], "solid": {}, "solid_splits": []}


class Prepared(NamedTuple):
  """Contents of a prepared directory.

  Attributes:
    directory: the data set.
    shapes: number of examples in each split.
    rejected: number of meshes that did not become examples; the report says why.
    missing: number of shards that are left to other parts; 0 for a whole data set.
  """

  directory: pathlib.Path
  shapes: dict[str, int]
  rejected: int
  missing: int = 0


def prepare(
  *,
  source: str = "synthetic",
  out: str | os.PathLike,
  seed: int = 0,
  per_category: int = 200,
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
  single_shape: bool = False,
  solid: Mapping[str, Any] = MappingProxyType({}),
  solid_splits: Sequence[str] = ("test",),
  duplicates: str = "drop",
  workers: int = 0,
  time_limit: float = 180.0,
  memory_limit: float = 4.0,
  retry: bool = False,
  shard_size: int = 64,
  run: Callable[[Sequence[ShardJob], Resources], None] = run_here,
  part: tuple[int, int] = (0, 1),
  besides: Sequence[pathlib.Path] | None = None,
) -> Prepared:
  """Prepares a data set, or the part of it that is missing.

  A finished directory is left as it is, and its meshes are not read. A mesh that cannot
  be used becomes a row of the report, even if it ends the process that reads it.

  Args:
    source: where meshes come from, see `data_prep.sources.collect`. "official:<path>"
      and "official_rooms:<path>" have examples that the reference prepared:
      `near_sigmas`, `padding`, `view_side`, `solid` and `solid_splits` have no effect,
      and the other settings must not ask for more than there is.
    out: directory of the data set.
    seed: seed of synthetic shapes, samples and splits.
    per_category: synthetic shapes per category; rooms for each number of objects.
    points: labelled points per shape, uniform in the padded cube.
    near_points: labelled points near the surface per shape; 0 for none.
    near_sigmas: standard deviations of their distance from the surface in cube units,
      each for an equal share of the points.
    surface_points: surface points with normals per shape.
    padding: the padded cube's side is 1 + padding.
    distances: whether to store signed distances of the labelled points.
    voxel_side: cells per side of the occupancy grid.
    views: rendered pictures per shape; 0 for none.
    view_side: side of a picture in pixels.
    dtype: type in which points and normals are stored, "float16" or "float32".
    val_fraction: share of each category for validation, where the source fixes no
      split.
    test_fraction: share of each category for the test, where the source fixes no split.
    single_shape: whether the source is one mesh, which all splits have, each with
      samples of its own.
    solid: fields of `RepairOptions`; those left out have their defaults.
    solid_splits: splits whose labelled surfaces are kept as meshes.
    duplicates: "drop" or "keep" files with the same content as an earlier one.
    workers: processes; 0 for one per core.
    time_limit: seconds per mesh; 0 for no limit.
    memory_limit: GiB of resident memory per process; 0 for no limit.
    retry: whether to try meshes again that were lost to a crash, a limit or the disk.
      The other meshes of their shards are made again with them, to the same bytes.
    shard_size: meshes per shard.
    run: function that makes the jobs that are not done; the default starts processes on
      this machine.
    part: (i, n) to make every n-th shard from the i-th on. Parts may run at the same
      time, on machines that share `out`; the last one to end completes the data set.
    besides: directories of the data sets of a mixture that were prepared before this
      one, whose meshes it leaves out; None if it is no part of a mixture.

  Raises:
    ValueError: a setting is out of range, `out` holds data of other settings or has a
      name that is no UTF-8, or no mesh could be used.
  """
  out = pathlib.Path(out)
  files.check_utf_8(out)
  settings = {
    "format": _FORMAT,
    "source": source,
    "seed": seed,
    "per_category": per_category if is_generated({"source": source}) else 0,
    "points": points,
    "near_points": near_points,
    "near_sigmas": list(near_sigmas),
    "surface_points": surface_points,
    "padding": padding,
    "voxel_side": voxel_side,
    # Only where it is set, so that data sets from before keep their settings.
    **({"distances": True} if distances else {}),
    **({"single_shape": True} if single_shape else {}),
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
    if not 0 <= value < math.inf:
      raise ValueError(f"{name} is {value}, want 0 (no limit, all cores) or more")
  check_settings(settings)
  if is_official(settings):
    settings |= _NOT_OFFICIAL
  new = [path for path in (out, *out.parents) if not path.exists()]
  _claim(out, settings, extend=retry)
  remove_damaged(out)
  if retry:
    _forget_lost(out)
  missing = 0
  if not shards.is_complete(out):
    resources = Resources(
      workers or worker_pool.count_cores(), worker_pool.Limits(time_limit, memory_limit)
    )
    alone = part[1] == 1  # else the files under way may be those of other parts
    if alone:
      files.remove_scratch(out)  # left by a run that was killed
    try:
      missing = _make_missing(out, settings, resources, run, part, besides)
    except (ValueError, OSError):  # such as a misspelt source
      if alone:
        _remove_new(out, new)
      raise
    finally:
      if alone:
        files.remove_scratch(out)  # left by worker processes that were killed
  rows = report.read(out) if not missing else report.read_parts(out)
  shapes = report.count(rows)
  return Prepared(out, shapes, len(rows) - sum(shapes.values()), missing)


def _make_missing(
  out: pathlib.Path,
  settings: Settings,
  resources: Resources,
  run: Callable[[Sequence[ShardJob], Resources], None],
  part: tuple[int, int],
  besides: Sequence[pathlib.Path] | None,
) -> int:
  """Collects the meshes, makes the shards of a part, and finishes a set that is whole.

  Returns:
    The number of shards that are not there yet.
  """
  entries = sources.collect(
    settings["source"],
    out,
    per_category=settings["per_category"],
    seed=settings["seed"],
    workers=resources.workers,
    solid=settings["solid"],
  )
  _claim(out, {**settings, "meshes": _digest(entries)}, extend=True)
  plan = assign_splits(
    entries,
    seed=settings["seed"],
    val_fraction=settings["val_fraction"],
    test_fraction=settings["test_fraction"],
    drop_duplicates=settings["duplicates"] == "drop",
    single_shape=settings.get("single_shape", False),
    known=contents.read(besides or ()),
  )
  if besides is not None:
    contents.write(out, itertools.chain(*plan.splits.values()))
  jobs = make_shard_jobs(out, settings, plan)
  every, (number, parts) = [job for split in SPLITS for job in jobs[split]], part
  run(every[number::parts], resources)
  if missing := sum(not is_done(job) for job in every):
    return missing
  complete(out, settings, jobs, plan.duplicates)
  return 0


def _remove_new(out: pathlib.Path, new: Sequence[pathlib.Path]) -> None:
  """Removes the directories that a call made and in which it made nothing."""
  if new and os.listdir(out) == [SETTINGS_FILE]:
    (out / SETTINGS_FILE).unlink()
    for path in new:
      with contextlib.suppress(OSError):  # others have written to it meanwhile
        path.rmdir()


def _forget_lost(out: pathlib.Path) -> None:
  """Marks shards as unfinished in which a mesh was lost."""
  for path in (out / "rows").glob("*.json"):
    if any(row["outcome"] in report.LOST for row in json.loads(path.read_text())):
      shards.metadata_path(out).unlink(missing_ok=True)
      path.unlink()


def _solid_options(chosen: Mapping[str, Any]) -> dict[str, Any]:
  """All fields of `RepairOptions`, with the chosen values."""
  fields = solids.RepairOptions._fields
  if unknown := chosen.keys() - set(fields):
    raise ValueError(f"solid has {sorted(unknown)}, want some of {', '.join(fields)}")
  return solids.RepairOptions(**chosen)._asdict()


def _claim(out: pathlib.Path, settings: Settings, *, extend: bool) -> None:
  """Writes the settings of a new directory, or compares them with those of an old one.

  Args:
    out: directory of the data set.
    settings: what is wanted.
    extend: whether shards will be added, or made again, even if the set is complete.

  Raises:
    ValueError: the directory has other settings, or a data set without settings.
  """
  path = out / SETTINGS_FILE
  # Alone, the settings are of a call that failed before it had made anything.
  is_begun = out.is_dir() and any(other != path for other in out.iterdir())
  before = files.read_json(path) if path.exists() and is_begun else {}
  if not before and shards.is_complete(out):
    raise ValueError(
      f"{out}: holds a data set without {SETTINGS_FILE}, so not one of this program; "
      "choose another directory"
    )
  if isinstance(options := before.get("solid"), dict):
    before["solid"] = {_RENAMED_OPTIONS.get(k, k): v for k, v in options.items()}
  if before.get("format") == _EARLIER_FORMAT and shards.is_complete(out) and not extend:
    before["format"] = _FORMAT
  common = before.keys() & settings.keys()
  changes = files.describe_changes(
    {name: before[name] for name in common}, {name: settings[name] for name in common}
  )
  if changes:
    shown = "; ".join(list(changes.values())[:3])
    raise ValueError(
      f"{out}: was prepared with other settings ({shown}"
      f"{' and more' if len(changes) > 3 else ''}); choose another directory "
      "(prep.out), or delete this one"
    )
  if not settings.keys() <= before.keys():
    with files.atomic_write(path) as scratch:
      scratch.write_text(json.dumps({**before, **settings}, indent=2) + "\n")


def _digest(entries: Sequence[MeshEntry]) -> str:
  """One line that changes with the meshes and with the splits that a source fixes."""
  names = "\n".join(
    "/".join(filter(None, (entry.category, entry.model_id, entry.split)))
    for entry in entries
  )
  return f"{len(entries)} files, {hashlib.sha256(names.encode()).hexdigest()[:16]}"
