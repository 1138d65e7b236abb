"""Meshes for a split, and their measurement: resumable, one row per shape (host).

A shape that fails becomes a row with the reason; the run continues.
"""

import functools
import multiprocessing
import os
import pathlib
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import tqdm
import trimesh

from occnet_jax.data.source import Examples
from occnet_jax.evaluation import further as further_lib
from occnet_jax.evaluation import measuring, reconstructions, resume_log, tables
from occnet_jax.evaluation.resume_log import ResumeLog, plain
from occnet_jax.evaluation.tables import Row
from occnet_jax.extract.batch.parallel import map_in_order

MIN_FOR_PROCESSES = 8  # fewer meshes are measured before other processes have started
GENERATED = pathlib.Path("meshes", "generated.jsonl")
MEASURED = pathlib.Path("evaluation", "measured.jsonl")
FIELDS = {
  "id": True,
  "category": True,
  "points": {"points": True, "occupancies": True},
  "pointcloud": {"points": True, "normals": True},
}

_Task = tuple[Row, dict[str, Any] | str]  # a mesh; its true shape, or why there is none


class Origin(NamedTuple):
  """The split of a data set; only within one does an index mean a certain shape.

  Attributes:
    split: name of the split, such as "test".
    data: settings of the data set, its directory included; anything JSON can hold.
  """

  split: str
  data: dict[str, Any]


def make_origin(split: str, data: Mapping[str, Any]) -> Origin:
  """The origin of a split, from the fields of config.data.

  Placement and worker processes change how examples are read, not what they hold.
  """
  apart = ("placement", "workers")
  return Origin(split, {k: v for k, v in data.items() if k not in apart})


def generate(
  shapes: Examples,
  indices: Sequence[int],
  reconstruct: Callable[[dict[str, Any], int], trimesh.Trimesh],
  directory: pathlib.Path,
  *,
  form: str,
  origin: Origin,
  settings: dict[str, Any],
  threads: int = 1,
  part: tuple[int, int] = (0, 1),
  wait: Callable[[str], None] = lambda name: None,
) -> None:
  """Writes <directory>/meshes/<category>/<id>.<form> for shapes that have none yet.

  Beside them generated.jsonl gets a row per shape: the shape's split, index, category
  and id, counts and seconds by stage, or why it failed. A shape that failed has no mesh
  file, and the next call tries it again.

  Args:
    shapes: examples with the fields FIELDS.
    indices: indices of the shapes to reconstruct.
    reconstruct: (example, index) -> mesh in the cube's frame; no faces if it is empty.
      Called by several threads.
    directory: directory of the run.
    form: mesh format: ply, glb, obj or off.
    origin: split and data set of `shapes`.
    settings: whatever else the meshes depend on; if they or the origin change, all
      meshes are made again.
    threads: number of shapes reconstructed at the same time.
    part: (i, n): this is process i of n, and takes every n-th shape.
    wait: a barrier: returns once every process has called it with this name.

  Raises:
    ValueError: every one of the shapes failed, in all processes together.
  """
  number, processes = part
  settings = settings | origin._asdict()
  if number == 0:
    _merge(directory, settings)  # rows that interrupted processes have left
  wait("rows of an earlier call are merged")
  done = {
    _identity(row)
    for row in _generated(directory, settings)
    if not row.get("missing") and reconstructions.is_stored(directory, row, form)
  }
  own = directory / (GENERATED if processes == 1 else f"{GENERATED}.{number}")
  owners: dict[tuple[str, str], int] = {}  # of mesh files, by the shapes' names

  def reconstruct_one(_: int, index: int) -> Row | None:
    shape = shapes[index]
    row = {"split": origin.split, "index": index, **shape_names(shape)}
    _check_owner(owners.setdefault(_key(row), index), row)
    if _identity(row) in done:
      return None
    path = reconstructions.mesh_path(directory, *_key(row), form)
    try:
      return row | reconstructions.write(reconstruct(shape, index), path)
    except (ValueError, FloatingPointError) as error:
      path.unlink(missing_ok=True)  # of an earlier network or setting
      return row | tables.missing_row(*_key(row), reason=str(error))

  todo = list(indices)[number::processes]
  rows = map_in_order(reconstruct_one, todo, threads=threads)
  with ResumeLog(own, settings) as log:
    for row in _progress(rows, "generate", len(todo)):
      if row is not None:
        log.add(row)
  wait("all meshes are written")
  if number == 0:
    _merge(directory, settings)
  wait("all rows are merged")
  _check_some_succeeded(_generated(directory, settings), set(indices), directory)


def _check_owner(owner: int, row: Row) -> None:
  """Raises ValueError for a shape whose mesh would replace that of another."""
  if owner != row["index"]:
    raise ValueError(
      f"shapes {owner} and {row['index']} of split {row['split']!r} are both "
      f"{'/'.join(_key(row))}, and would have one mesh; prepare the data set again, "
      "with a name for each"
    )


def _check_some_succeeded(
  rows: Iterable[Row], asked: set[int], directory: pathlib.Path
) -> None:
  """Raises ValueError if every shape that was asked for failed."""
  asked_rows = [row for row in rows if row["index"] in asked]
  failed = [row for row in asked_rows if row.get("missing")]
  if failed and len(failed) == len(asked_rows):
    raise ValueError(
      f"{directory}: all {len(failed)} shapes failed, want a mesh of at least one; the "
      f"first, {'/'.join(_key(failed[0]))}: {failed[0]['reason']} (all reasons: "
      f"{GENERATED}); put that right and run the same command again"
    )


def _generated(directory: pathlib.Path, settings: dict[str, Any]) -> list[Row]:
  """The rows of generated.jsonl, if it was made by these settings."""
  settings_then, rows = resume_log.read(directory / GENERATED)
  return list(filter(tables.is_whole, rows)) if settings_then == plain(settings) else []


def _merge(directory: pathlib.Path, settings: dict[str, Any]) -> None:
  """Moves the rows that other processes wrote to generated.jsonl."""
  parts = sorted(directory.glob(f"{GENERATED}.[0-9]*"))
  if not parts:
    return
  with ResumeLog(directory / GENERATED, settings) as log:
    for path in parts:
      settings_then, rows = resume_log.read(path)
      for row in rows if settings_then == plain(settings) else []:
        log.add(row)
  for path in parts:
    path.unlink()


def evaluate(
  shapes: Examples,
  indices: Collection[int],
  directory: pathlib.Path,
  *,
  form: str,
  origin: Origin,
  samples: int,
  trim: float = 0.0,
  further: further_lib.Further = further_lib.NOTHING,
) -> list[Row]:
  """Measures the generated meshes, over all cores, after the reference's protocol.

  Writes <directory>/evaluation/per_mesh.csv and summary.csv.

  Args:
    shapes: examples with the fields FIELDS.
    indices: indices of the shapes that `generate` was asked for.
    directory: directory of the run.
    form: mesh format of the files.
    origin: split and data set of `shapes`; meshes of another origin do not count.
    samples: number of points drawn on a mesh.
    trim: as in `metrics.evaluate_mesh`.
    further: what is measured beside the paper's metrics.

  Returns:
    A row per shape: what `generate` wrote and the metrics.

  Raises:
    ValueError: not all of these shapes were generated, or the data set has changed
      since.
  """
  asked = set(indices)
  settings, generated = read_rows(directory / GENERATED, origin)
  # Last row wins: the data set may have changed since the first one was written.
  latest = {row["index"]: row for row in generated if row["index"] in asked}
  generated = list(latest.values())
  if len(generated) < len(asked):
    raise ValueError(
      f"{directory}: {len(generated)} of {len(asked)} meshes of split "
      f"{origin.split!r} are generated; finish with --mode=generate first"
    )
  settings |= {"samples": samples, **({"trim": trim} if trim else {})}
  if further != further_lib.NOTHING:
    settings["further"] = further._asdict()
  with ResumeLog(directory / MEASURED, settings) as log:
    done = {_identity(row) for row in log.rows() if not row.get("missing")}
    todo = [row for row in generated if _identity(row) not in done]
    protocol = measuring.Protocol(form, samples, trim, further)
    measure = functools.partial(_measure, directory=directory, protocol=protocol)
    tasks = _with_truths(todo, shapes, directory)
    for row in _progress(_over_cores(measure, tasks, len(todo)), "evaluate", len(todo)):
      log.add(row)
    measured = {_key(row): row for row in log.rows()}
  rows = [measured[key] for key in sorted(map(_key, generated))]
  shown = [{k: v for k, v in r.items() if k != reconstructions.STORED} for r in rows]
  tables.write_csv(directory / "evaluation" / "per_mesh.csv", shown)
  tables.write_csv(directory / "evaluation" / "summary.csv", tables.summarise(rows))
  return rows


def read_rows(path: pathlib.Path, origin: Origin) -> tuple[dict[str, Any], list[Row]]:
  """Settings and rows of GENERATED or MEASURED; ({}, []) if they are of another origin.

  Args:
    path: file of the log.
    origin: origin of the shapes that the caller looks up by the rows' indices.
  """
  settings, rows = resume_log.read(path)
  expected = plain(origin._asdict())
  if settings is None or any(settings.get(k) != v for k, v in expected.items()):
    return {}, []
  return settings, [
    row for row in rows if row.get("split") == origin.split and tables.is_whole(row)
  ]


def _with_truths(
  rows: Iterable[Row], shapes: Examples, directory: pathlib.Path
) -> Iterator[_Task]:
  """Each row with the samples of its shape, as stored, or why they cannot be read."""
  for row in rows:
    try:
      shape = shapes[row["index"]] if row["index"] < len(shapes) else None
    except ValueError as error:
      yield row, str(error)
      continue
    if shape is None or _key(shape_names(shape)) != _key(row):
      raise ValueError(
        f"{directory}: {row['category']} {row['id']} is no longer shape "
        f"{row['index']} of split {row['split']!r}; the data set has changed: run "
        "--mode=generate again"
      )
    truth = ("points", "pointcloud", "voxels")
    yield row, {name: shape[name] for name in truth if name in shape}


def _over_cores(
  function: Callable[[_Task], Row],
  tasks: Iterator[_Task],
  count: int,
) -> Iterator[Row]:
  """Maps over all cores, in order; tasks are read as processes become free."""
  if count < MIN_FOR_PROCESSES:
    yield from map(function, tasks)
    return
  # Not fork: JAX runs threads in this process.
  context = multiprocessing.get_context("spawn")
  with context.Pool(min(os.cpu_count() or 1, count)) as pool:
    yield from pool.imap(function, tasks)


def _measure(
  task: _Task,
  *,
  directory: pathlib.Path,
  protocol: measuring.Protocol,
) -> Row:
  row, truth = task
  if row.get("missing"):
    return row
  try:
    if isinstance(truth, str):
      raise ValueError(truth)
    return row | measuring.figures(directory, row, truth, protocol)
  except ValueError as error:
    where = {name: row[name] for name in ("split", "index")}
    return where | tables.missing_row(*_key(row), reason=str(error))


def shape_names(shape: dict[str, Any]) -> dict[str, str]:
  """Category and id of an example as text."""
  values = {name: shape[name] for name in ("category", "id")}
  return {k: v.decode() if isinstance(v, bytes) else str(v) for k, v in values.items()}


def _key(row: Row) -> tuple[str, str]:
  return row["category"], row["id"]


def _identity(row: Row) -> tuple:
  """Split, index, category and id of a row's shape; older rows have no split."""
  return row.get("split"), row.get("index"), *_key(row)


def _progress(rows: Iterator[Row | None], name: str, total: int) -> tqdm.tqdm:
  """A progress bar on a terminal; files and pipes get none."""
  return tqdm.tqdm(
    rows, name, total, unit="mesh", file=sys.stdout, mininterval=1, disable=None
  )
