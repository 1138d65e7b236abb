"""A folder of a user -> a folder of meshes (host).

<target>/
  <name>.glb              a mesh for every input, under its relative name
  index.html, pictures/   every input beside its mesh; the page is one file
  reconstruct_report.csv  file, outcome, reason, seconds
  reconstruct.jsonl       log of finished inputs, so that a second call does the rest
"""

import collections
import pathlib
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import tqdm
import trimesh
from PIL import Image

from occnet_jax import api, files
from occnet_jax.cli import command_line, user_mesh
from occnet_jax.data.user_inputs import InputItem
from occnet_jax.evaluation import resume_log, tables
from occnet_jax.evaluation.resume_log import ResumeLog
from occnet_jax.extract.pipeline import NoSurface
from occnet_jax.geometry import photos
from occnet_jax.viz import album, sheets

Row = dict[str, Any]
LOG = "reconstruct.jsonl"
# Pictures of an object: name in its file, caption on the page.
CAPTIONS = {"input": "Input", "front": "Mesh", "back": "Mesh from behind"}


class Task(NamedTuple):
  """How the files of an object become its mesh.

  Attributes:
    settings: what the meshes depend on; where it changes all are made again.
    facts: names and values for the top of the page.
    read: item -> what is observed. It and `make` raise ValueError for what fails.
    draw: what is observed -> its picture, or None.
    make: what is observed -> mesh.
    save: (file, mesh, what is observed) -> what did not reach the file, in words.
  """

  settings: Row
  facts: dict[str, str]
  read: Callable[[InputItem], Any]
  draw: Callable[[Any], np.ndarray | None]
  make: Callable[[Any], trimesh.Trimesh]
  save: Callable[[pathlib.Path, trimesh.Trimesh, Any], str]


def network_task(
  model: api.Model,
  origin: Row,
  options: dict[str, Any],
  looks: user_mesh.Looks,
) -> Task:
  """Reconstruction by a network.

  Args:
    model: the network.
    origin: what tells it from others.
    options: arguments of `Model.reconstruct`.
    looks: what becomes of colours and normals.
  """
  settings = {
    **origin,
    "step": model.record["step"],
    "level": model.level,
    "generation": model.extraction_settings() | options,
    "margin": photos.MARGIN,
  }
  settings |= {name: True for name, chosen in looks._asdict().items() if chosen}
  generation = model.settings.generation
  if generation.finetune_steps:
    rate = generation.finetune_learning_rate
    settings["finetune"] = [generation.finetune_steps, rate]

  def read(item: InputItem) -> Any:
    return user_mesh.read(model, item, item.name, looks)

  def save(path: pathlib.Path, mesh: trimesh.Trimesh, observed: Any) -> str:
    user_mesh.save(path, mesh, observed if looks.texture else None)
    return "; ".join(user_mesh.left_out(model, observed, path))

  kind = model.settings.data.inputs
  return Task(
    settings,
    {
      "Network": files.printable(origin.get("workdir") or origin["model"]),
      "Step": str(settings["step"]),
      "Level of the surface": user_mesh.show_level(model.level),
    },
    read,
    lambda observed: sheets.draw_input(kind, user_mesh.points_of(observed)),
    lambda observed: user_mesh.make_mesh(model, observed, options),
    save,
  )


def reconstruct_folder(
  task: Task,
  items: Sequence[InputItem],
  source: pathlib.Path,
  target: pathlib.Path,
  part: tuple[int, int] = (0, 1),
) -> str:
  """Writes the meshes of a folder, its report and its page; what was made, in words.

  Args:
    task: how a mesh is made.
    items: all inputs of the folder.
    source, target: the folder, and that of the meshes.
    part: (i, n) to take every n-th input from the i-th on. Parts may run at the same
      time; report and page are made by a call for the whole, which finds their meshes.

  Raises:
    ValueError: no mesh could be made; the report and the page are written all the same.
  """
  number, parts = part
  if sentence := describe_shared_names(items):
    print(f"{source}: {sentence}")  # noqa: T201
  if parts > 1:
    rows = _reconstruct_all(
      task, items[number::parts], target, f"reconstruct-{number}-of-{parts}.jsonl"
    )
    made = sum(row["outcome"] == "mesh" for row in rows)
    return (
      f"{made} of the {len(rows)} meshes of this part in {target}; a call without "
      "--shard after the last part writes the page and the report"
    )
  rows = _reconstruct_all(task, items, target, LOG)
  _write_page(target, source, task.facts, rows)
  names = ("outcome", "reason", "seconds")
  report = [{"file": row["id"]} | {name: row[name] for name in names} for row in rows]
  report = [
    {k: files.printable(v) if isinstance(v, str) else v for k, v in row.items()}
    for row in report
  ]
  tables.write_csv(target / "reconstruct_report.csv", report)
  made = sum(row["outcome"] == "mesh" for row in rows)
  failed = f", {len(rows) - made} failed (reconstruct_report.csv)"
  failed = failed if made < len(rows) else ""
  if rows and not made:
    raise ValueError(
      f"{source}: 0 of {len(rows)} meshes{failed}; {rows[0]['id']}: {rows[0]['reason']}"
    )
  return f"{made} of {len(rows)} meshes{failed}: {target / 'index.html'}"


def describe_shared_names(items: Sequence[InputItem]) -> str:
  """Which files are alike but for the suffix, and so keep it in the names of their
  meshes, in words; "" for none."""
  kept = [
    item.name
    for item in items
    if item.stem.startswith(item.name) and item.name.endswith(item.paths[0].suffix)
  ]
  kept = [name for name in kept if pathlib.PurePath(name).suffix]
  if not kept:
    return ""
  more = ", ..." if len(kept) > 4 else ""
  kept = [files.printable(name) for name in kept[:4]]
  return (
    f"{', '.join(kept)}{more} are alike but for their suffixes, which stay in the "
    f"names of their meshes ({kept[0]}.glb)"
  )


def _reconstruct_all(
  task: Task, items: Sequence[InputItem], out: pathlib.Path, name: str
) -> list[Row]:
  """Makes the meshes that are missing or whose input has changed; a row per item.

  Args:
    task, items, out: as of `reconstruct_folder`.
    name: of the log of this call. Those of other parts are read.
  """
  rows = []
  with ResumeLog(out / name, task.settings) as log:
    own = {row["id"]: row for row in log.rows()}
    earlier = _rows_of_parts(out, task.settings) | own
    progress = tqdm.tqdm(
      items, "reconstruct", unit="mesh", file=sys.stdout, mininterval=1, disable=None
    )
    for item in progress:
      stats = [path.stat() for path in (*item.paths, *item.masks) if path.exists()]
      stamp = [[stat.st_size, stat.st_mtime_ns] for stat in stats]
      row, path = earlier.get(item.name, {}), out / f"{item.stem}.glb"
      has_mesh = row.get("outcome") == "mesh"
      if row.get("stamp") == stamp and path.exists() == has_mesh:
        if item.name not in own:
          log.add(row)
      else:
        start = time.perf_counter()
        outcome, reason = _attempt(task, item, path, out)
        row = {"category": "", "id": item.name, "stem": item.stem, "stamp": stamp}
        row |= {"outcome": outcome, "reason": reason}
        row["seconds"] = round(time.perf_counter() - start, 3)
        log.add(row)
      rows.append(row)
  return rows


def _rows_of_parts(out: pathlib.Path, settings: Row) -> dict[str, Row]:
  """The rows that parts of the same settings have logged, by their inputs."""
  logs = map(resume_log.read, sorted(out.glob("reconstruct-*-of-*.jsonl")))
  settings = resume_log.plain(settings)
  return {row["id"]: row for then, rows in logs if then == settings for row in rows}


def _attempt(
  task: Task, item: InputItem, path: pathlib.Path, out: pathlib.Path
) -> tuple[str, str]:
  """Writes one mesh and the pictures that could be drawn; outcome and reason."""
  for old in (path, *(_picture_path(out, item.stem, name) for name in CAPTIONS)):
    old.unlink(missing_ok=True)
  pictures = {}
  try:
    observed = task.read(item)
    pictures["input"] = task.draw(observed)
    mesh = task.make(observed)
    pictures |= sheets.draw_front_and_back(mesh)
    return "mesh", task.save(path, mesh, observed)
  except command_line.USER_ERRORS as error:
    is_empty = isinstance(error, NoSurface)
    return "no surface" if is_empty else "failed", command_line.describe(error)
  finally:
    for name, picture in pictures.items():
      if picture is not None:
        with files.atomic_write(_picture_path(out, item.stem, name)) as scratch:
          Image.fromarray(picture).save(scratch)


def _picture_path(out: pathlib.Path, stem: str, name: str) -> pathlib.Path:
  return out / "pictures" / f"{stem}-{name}.png"


def _write_page(
  out: pathlib.Path,
  source: pathlib.Path,
  facts: dict[str, str],
  rows: Sequence[Row],
) -> None:
  """Writes index.html, with every object and its pictures."""
  count = collections.Counter(row["outcome"] for row in rows)
  inputs = ", ".join(f"{n} {outcome}" for outcome, n in count.items())
  facts = facts | {"Inputs": inputs}
  entries = []
  for row in rows:
    paths = {c: _picture_path(out, row["stem"], name) for name, c in CAPTIONS.items()}
    pictures = {caption: path for caption, path in paths.items() if path.exists()}
    name = row["stem"] if row["id"] == "." else row["id"]
    note = f"{row['outcome']}, {row['seconds']:.1f} s"
    reason = files.printable(row["reason"])
    entries.append(album.Entry(files.printable(name), note, pictures, reason))
  title = files.printable(f"Reconstructions of {source.resolve().name}")
  album.write_album(out / "index.html", title=title, facts=facts, entries=entries)
