"""Meshes for a split, and their measurement: resumable, one row a shape (host).

One shape that fails is a row with the reason, never the end of the run.
"""

import functools
import multiprocessing
import os
import pathlib
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import tqdm
import trimesh

from occnet_jax.data.source import Examples
from occnet_jax.evaluation import metrics, resume_log, tables
from occnet_jax.evaluation.resume_log import ResumeLog
from occnet_jax.evaluation.tables import Row
from occnet_jax.extract.batch.parallel import map_in_order
from occnet_jax.geometry import mesh_io

FEW = 8  # meshes that are measured before other processes would have started
GENERATED = pathlib.Path("meshes", "generated.jsonl")
FIELDS = {
  "id": True,
  "category": True,
  "points": {"points": True, "occupancies": True},
  "pointcloud": {"points": True, "normals": True},
}


def mesh_path(directory: pathlib.Path, category: str, id: str, form: str):
  """Where a reconstruction lies."""
  return directory / "meshes" / category / f"{id}.{form}"


def generate(
  shapes: Examples,
  indices: Sequence[int],
  reconstruct: Callable[[dict[str, Any], int], trimesh.Trimesh],
  directory: pathlib.Path,
  *,
  form: str,
  settings: dict[str, Any],
  threads: int = 1,
  part: tuple[int, int] = (0, 1),
  wait: Callable[[str], None] = lambda name: None,
) -> None:
  """Writes <directory>/meshes/<category>/<id>.<form> for shapes that have none yet.

  Args:
    shapes: examples with the fields FIELDS.
    indices: which of them.
    reconstruct: (example, index) -> mesh in the cube's frame; no faces if it is empty.
      Called by several threads.
    directory: of the run.
    form: ply, glb, obj or off.
    settings: all that the meshes depend on; with others they are made anew.
    threads: shapes under way.
    part: (i, n): this is process i of n, and takes every n-th shape.
    wait: returns once every process has called it with this name.

  Beside them generated.jsonl has a row per shape: counts and seconds by stage.
  """
  number, processes = part
  if number == 0:
    _merge(directory, settings)  # what processes that were stopped have left
  wait("rows of an earlier call are in one place")
  done = {(row["category"], row["id"]) for row in _generated(directory, settings)}
  own = directory / (GENERATED if processes == 1 else f"{GENERATED}.{number}")

  def one(_: int, index: int) -> Row | None:
    shape = shapes[index]
    key = {"category": _text(shape["category"]), "id": _text(shape["id"])}
    if tuple(key.values()) in done:
      return None
    try:
      mesh = reconstruct(shape, index)
      return key | {"index": index} | _write(mesh, directory, key, form)
    except (ValueError, FloatingPointError) as error:
      return tables.missing_row(**key, reason=str(error)) | {"index": index}

  todo = list(indices)[number::processes]
  rows = map_in_order(one, todo, threads=threads)
  with ResumeLog(own, settings) as ledger:
    for row in tqdm.tqdm(rows, "generate", len(todo), unit="mesh", file=sys.stdout):
      if row is not None:
        ledger.add(row)
  wait("all meshes are written")
  if number == 0:
    _merge(directory, settings)


def _write(mesh: trimesh.Trimesh, directory: pathlib.Path, key: Row, form: str) -> Row:
  """Writes a mesh, or removes an older one where it is empty; what to note of it."""
  path = mesh_path(directory, **key, form=form)
  if len(mesh.faces):
    normals = np.asarray(mesh.vertex_normals)
    mesh_io.write_mesh(path, mesh.vertices, mesh.faces, normals)
  else:
    path.unlink(missing_ok=True)
  facts = {name: value for name, value in mesh.metadata.items() if _is_number(value)}
  return {"vertices": len(mesh.vertices), "faces": len(mesh.faces)} | facts


def _generated(directory: pathlib.Path, settings: dict[str, Any]) -> list[Row]:
  """The rows of generated.jsonl, if it was made by these settings."""
  found, rows = resume_log.read(directory / GENERATED)
  return rows if found == resume_log.plain(settings) else []


def _merge(directory: pathlib.Path, settings: dict[str, Any]) -> None:
  """Moves the rows that other processes wrote to generated.jsonl."""
  parts = sorted(directory.glob(f"{GENERATED}.[0-9]*"))
  if not parts:
    return
  with ResumeLog(directory / GENERATED, settings) as ledger:
    for path in parts:
      found, rows = resume_log.read(path)
      for row in rows if found == resume_log.plain(settings) else []:
        ledger.add(row)
  for path in parts:
    path.unlink()


def evaluate(
  open_shapes: Callable[[], Examples],
  count: int,
  directory: pathlib.Path,
  *,
  form: str,
  samples: int,
) -> list[Row]:
  """Measures the generated meshes, over all cores, after the reference's protocol.

  Writes <directory>/evaluation/per_mesh.csv and summary.csv.

  Args:
    open_shapes: opens the split; picklable, since every worker opens it for itself.
    count: how many shapes `generate` was asked for.
    directory: of the run.
    form: of the mesh files.
    samples: points drawn on a mesh.

  Returns:
    A row per shape: what `generate` noted and the metrics.

  Raises:
    ValueError: meshes were not generated, or not all of them.
  """
  settings, generated = resume_log.read(directory / GENERATED)
  if len(generated) < count:
    raise ValueError(
      f"{directory}: {len(generated)} of {count} meshes are generated; finish with "
      "--mode=generate first"
    )
  out = directory / "evaluation"
  with ResumeLog(out / "measured.jsonl", {**settings, "samples": samples}) as ledger:
    todo = [row for row in generated if (row["category"], row["id"]) not in ledger]
    measure = functools.partial(
      _measure, directory=directory, form=form, samples=samples
    )
    for row in tqdm.tqdm(
      _over_cores(measure, todo, open_shapes) if todo else (),
      total=len(todo),
      desc="evaluate",
      unit="mesh",
      file=sys.stdout,
      disable=not todo,
    ):
      ledger.add(row)
    rows = ledger.rows()
  tables.write_csv(out / "per_mesh.csv", rows)
  tables.write_csv(out / "summary.csv", tables.summarise(rows))
  return rows


def _over_cores(
  function: Callable[[Row], Row],
  rows: Sequence[Row],
  open_shapes: Callable[[], Examples],
) -> Iterator[Row]:
  if len(rows) < FEW:
    _open(open_shapes)
    yield from map(function, rows)
    return
  workers = min(os.cpu_count() or 1, len(rows))
  # Not fork: JAX runs threads in this process.
  context = multiprocessing.get_context("spawn")
  with context.Pool(workers, _open, [open_shapes]) as pool:
    yield from pool.imap(function, rows)


_shapes: Examples = ()  # of the process that measures


def _open(open_shapes) -> None:
  global _shapes
  _shapes = open_shapes()


def _measure(row: Row, *, directory, form, samples) -> Row:
  if row.get("missing"):
    return row
  try:
    shape = _shapes[row["index"]]
    vertices, faces = np.zeros((0, 3)), np.zeros((0, 3), np.int64)
    if row["faces"]:
      vertices, faces = mesh_io.read_mesh(
        mesh_path(directory, row["category"], row["id"], form)
      )
    points = shape["points"]["points"].astype(np.float64)
    found = metrics.evaluate_mesh(
      vertices,
      faces,
      points=points,
      occupancies=np.unpackbits(shape["points"]["occupancies"])[: len(points)],
      surface=shape["pointcloud"]["points"].astype(np.float64),
      normals=shape["pointcloud"]["normals"].astype(np.float64),
      samples=samples,
      seed=row["index"],
    )
  except ValueError as error:
    missing = tables.missing_row(row["category"], row["id"], str(error))
    return missing | {"index": row["index"]}
  return {**row, **found}


def _text(value: Any) -> str:
  return value.decode() if isinstance(value, bytes) else str(value)


def _is_number(value: Any) -> bool:
  return isinstance(value, int | float)
