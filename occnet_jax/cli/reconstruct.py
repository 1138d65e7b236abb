"""Reconstructs user files: clouds, images and grids, one or a folder (host).

A file becomes a mesh file. A folder becomes a folder:

<target>/
  <name>.glb              a mesh for every input, under its relative name
  index.html, pictures/   every input beside its mesh; the page is one file
  reconstruct_report.csv  file, outcome, reason, seconds
  reconstruct.jsonl       log of finished inputs, so that a second call does the rest
"""

import collections
import hashlib
import os
import pathlib
import sys
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import tqdm
import trimesh
from PIL import Image

from occnet_jax import api, files
from occnet_jax.cli import process
from occnet_jax.data import user_depth, user_inputs
from occnet_jax.data.user_depth import DepthInputs
from occnet_jax.data.user_inputs import InputItem
from occnet_jax.evaluation import tables
from occnet_jax.evaluation.resume_log import ResumeLog
from occnet_jax.extract.batch.parallel import naming_errors
from occnet_jax.extract.mesh.checks import count_open_edges
from occnet_jax.extract.pipeline import NoSurface
from occnet_jax.geometry import mesh_io, photos
from occnet_jax.interop import hub, weights
from occnet_jax.models import finetuning
from occnet_jax.types import Field
from occnet_jax.viz import album, sheets

Row = dict[str, Any]
DEFAULT_MODEL = "scan"
COARSEST = 16  # least number of cells a side of a grid that is doubled
# Pictures of an object: name in its file, caption on the page.
CAPTIONS = {"input": "Input", "front": "Mesh", "back": "Mesh from behind"}


def reconstruct(
  workdir: str | os.PathLike | None,
  source: str | os.PathLike,
  target: str | os.PathLike | None = None,
  *,
  pretrained: str = DEFAULT_MODEL,
  masks: str | os.PathLike | None = None,
  intrinsics: str | os.PathLike | None = None,
  poses: str | os.PathLike | None = None,
  config_override: dict[str, Any] | None = None,
  resolution: int | None = None,
  seed: int = 0,
) -> None:
  """Writes meshes of the objects in a user's files.

  A mesh is in the frame of its cloud, or else in that of the unit cube.

  Args:
    workdir: directory of a trained run; None for a pretrained model.
    source: a file of the kind that the network was trained with
      (`user_inputs.ACCEPTED`), or a folder of such files at any depth. For a network of
      several images a folder of images is one object, and a folder of folders many;
      likewise for depth images with poses.
    target: a mesh file, whose suffix names the format, or for a folder a folder, where
      only missing meshes are made; None for reconstruction.glb or reconstructions.
    pretrained: the model to use where there is no workdir, see `api.from_pretrained`.
    masks: masks of photographs or depth images, see `photos.find_masks`.
    intrinsics: camera file of depth images, see `depth_cameras.read_camera`, which a
      network of clouds then takes in place of clouds.
    poses: their poses, see `depth_cameras.read_poses`.
    config_override: config whose `test` and `generation` replace the network's own.
    resolution: cells along a side of the cube, rounded up to a number that doublings of
      a coarse grid reach; None for that of the config.
    seed: seed of the points that are drawn from a cloud.

  Raises:
    ValueError: no file that the network could read, or, for a single mesh, an input
      that is broken or without a surface; in a folder that is a row of the report.
  """
  start = time.perf_counter()
  source = pathlib.Path(source)
  default = "reconstructions" if source.is_dir() else "reconstruction.glb"
  target = pathlib.Path(target or default)
  if not source.is_dir():
    mesh_io.check_written_suffix(target)
    if target.resolve() == source.resolve():
      raise ValueError(f"{target}: is the input; want another file for its mesh")
  depth = user_depth.open_inputs(intrinsics, poses)
  with process.announced("loading the network"):
    model, origin = _load(workdir, pretrained, config_override)
  finetuning.check(model.method, model.settings.generation)
  options = _options(model, resolution, seed)
  kind = model.settings.data.inputs
  items = user_inputs.find_items(source, target, kind, masks, depth)
  if depth is not None:
    origin |= depth.origin
  is_mesh = target.suffix.lower() in mesh_io.WRITTEN_SUFFIXES
  if source.is_file() or (is_mesh and items[0].name == "."):  # one of several images
    made = _reconstruct_one(model, items[0], source, target, options)
  elif is_mesh or target.is_file() or target.resolve() == source.resolve():
    raise ValueError(f"{target}: want another folder, for the meshes of {source}")
  else:
    made = _reconstruct_folder(model, items, source, target, origin, options)
    _print_pixels(depth)
  print(f"{made}, {time.perf_counter() - start:.1f} s")  # noqa: T201


def _load(
  workdir: str | os.PathLike | None,
  pretrained: str,
  config_override: dict[str, Any] | None,
) -> tuple[api.Model, Row]:
  """The network, and what tells it from others in the log of a folder."""
  if workdir is not None:
    model = api.restore(workdir, config_override=config_override)
    return model, {"workdir": str(pathlib.Path(workdir).resolve())}
  directory = hub.find(pretrained)
  model = api.from_pretrained(directory, config_override=config_override)
  digest = hashlib.sha256((directory / weights.WEIGHTS).read_bytes()).hexdigest()
  return model, {"model": str(pretrained), "weights": digest}


def _options(model: api.Model, resolution: int | None, seed: int) -> dict[str, Any]:
  """Arguments of `Model.reconstruct` for what a call chooses.

  Raises:
    ValueError: a resolution below 1, or for a network whose grid is its own.
  """
  options: dict[str, Any] = {"seed": seed} if seed else {}
  if resolution is None:
    return options
  if resolution < 1:
    raise ValueError(f"--resolution={resolution}; want 1 or more cells along a side")
  if model.method.windows is not None or not isinstance(model.method.output, Field):
    raise ValueError(
      f"--resolution={resolution} is for networks of one cube with values at points; "
      "leave it out for this one"
    )
  doublings = max(0, (resolution // COARSEST).bit_length() - 1)
  coarse = -(-resolution // 2**doublings)  # rounded up
  return options | {"resolution_0": coarse, "upsampling_steps": doublings}


def _reconstruct_one(
  model: api.Model,
  item: InputItem,
  source: pathlib.Path,
  target: pathlib.Path,
  options: dict[str, Any],
) -> str:
  """Writes the mesh of one object; what was written, in words."""
  with process.announced(f"reading {source}"):
    observed = _read(model, item)
  _print_pixels(item.depth)
  with naming_errors(str(source)), process.announced(f"reconstructing {source}"):
    mesh = _reconstruct(model, observed, options)
  mesh_io.write_mesh(target, mesh.vertices, mesh.faces, mesh.vertex_normals)
  vertices, faces = len(mesh.vertices), len(mesh.faces)
  size = f"{target}: {vertices} vertices, {faces} faces"
  if not faces:
    return size
  open_edges = count_open_edges(np.asarray(mesh.faces))
  state = f"not closed ({open_edges} open edges)" if open_edges else "closed"
  return f"{size}, {state}"


def _reconstruct_folder(
  model: api.Model,
  items: Sequence[InputItem],
  source: pathlib.Path,
  target: pathlib.Path,
  origin: Row,
  options: dict[str, Any],
) -> str:
  """Writes the meshes of a folder, its report and its page; what was made, in words."""
  settings = {
    **origin,
    "step": model.record["step"],
    "level": model.level,
    "generation": model.extraction_settings() | options,
    "margin": photos.MARGIN,
  }
  generation = model.settings.generation
  if generation.finetune_steps:
    rate = generation.finetune_learning_rate
    settings["finetune"] = [generation.finetune_steps, rate]
  rows = _reconstruct_all(model, items, target, settings, options)
  _write_page(target, source, settings, rows)
  names = ("outcome", "reason", "seconds")
  report = [{"file": row["id"]} | {name: row[name] for name in names} for row in rows]
  report = [{k: _printable(value) for k, value in row.items()} for row in report]
  tables.write_csv(target / "reconstruct_report.csv", report)
  made = sum(row["outcome"] == "mesh" for row in rows)
  return f"{made} of {len(rows)} meshes: {target / 'index.html'}"


def _print_pixels(depth: DepthInputs | None) -> None:
  if depth is not None and depth.pixels:  # else no image was read
    print(f"depth: {depth.describe()}")  # noqa: T201


def _read(model: api.Model, item: InputItem) -> np.ndarray:
  kind, shape = model.settings.data.inputs, model.observation.spec.shape
  return user_inputs.read_item(item, kind, shape)


def _reconstruct(
  model: api.Model, observed: np.ndarray, options: dict[str, Any]
) -> trimesh.Trimesh:
  try:
    return model.reconstruct(observed, **options)
  except NoSurface as error:
    raise NoSurface(
      f"no surface: no value of the network exceeds the level {_shown(model.level)}; "
      "show it the object alone, or lower config.test.threshold"
    ) from error


def _shown(level: float | None) -> str:
  return "none" if level is None else f"{level:.3g}"  # points and meshes have none


def _reconstruct_all(
  model: api.Model,
  items: Sequence[InputItem],
  out: pathlib.Path,
  settings: Row,
  options: dict[str, Any],
) -> list[Row]:
  """Makes the meshes that are missing or whose input has changed; a row per item."""
  rows = []
  with ResumeLog(out / "reconstruct.jsonl", settings) as log:
    earlier = {row["id"]: row for row in log.rows()}
    progress = tqdm.tqdm(
      items, "reconstruct", unit="mesh", file=sys.stdout, mininterval=1, disable=None
    )
    for item in progress:
      stats = [path.stat() for path in (*item.paths, *item.masks) if path.exists()]
      stamp = [[stat.st_size, stat.st_mtime_ns] for stat in stats]
      row, path = earlier.get(item.name, {}), out / f"{item.stem}.glb"
      has_mesh = row.get("outcome") == "mesh"
      if row.get("stamp") != stamp or path.exists() != has_mesh:
        start = time.perf_counter()
        outcome, reason = _attempt(model, item, path, out, options)
        row = {"category": "", "id": item.name, "stem": item.stem, "stamp": stamp}
        row |= {"outcome": outcome, "reason": reason}
        row["seconds"] = round(time.perf_counter() - start, 3)
        log.add(row)
      rows.append(row)
  return rows


def _attempt(
  model: api.Model,
  item: InputItem,
  path: pathlib.Path,
  out: pathlib.Path,
  options: dict[str, Any],
) -> tuple[str, str]:
  """Writes one mesh and the pictures that could be drawn; outcome and reason."""
  for old in (path, *(_picture_path(out, item.stem, name) for name in CAPTIONS)):
    old.unlink(missing_ok=True)
  pictures = {}
  try:
    observed = _read(model, item)
    pictures["input"] = sheets.draw_input(model.settings.data.inputs, observed)
    mesh = _reconstruct(model, observed, options)
    pictures |= sheets.draw_front_and_back(mesh)
    mesh_io.write_mesh(path, mesh.vertices, mesh.faces, mesh.vertex_normals)
    return "mesh", ""
  except (ValueError, FloatingPointError, OSError) as error:
    is_empty = isinstance(error, NoSurface)
    return "no surface" if is_empty else "failed", str(error)
  finally:
    for name, picture in pictures.items():
      if picture is not None:
        with files.atomic_write(_picture_path(out, item.stem, name)) as scratch:
          Image.fromarray(picture).save(scratch)


def _printable(value: Any) -> Any:
  """Text without the surrogates that stand for bytes of file names outside UTF-8."""
  if not isinstance(value, str):
    return value
  return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _picture_path(out: pathlib.Path, stem: str, name: str) -> pathlib.Path:
  return out / "pictures" / f"{stem}-{name}.png"


def _write_page(
  out: pathlib.Path, source: pathlib.Path, settings: Row, rows: Sequence[Row]
) -> None:
  """Writes index.html, with every object and its pictures."""
  count = collections.Counter(row["outcome"] for row in rows)
  facts = {
    "Network": _printable(settings.get("workdir") or settings["model"]),
    "Step": str(settings["step"]),
    "Level of the surface": _shown(settings["level"]),
    "Inputs": ", ".join(f"{n} {outcome}" for outcome, n in count.items()),
  }
  entries = []
  for row in rows:
    paths = {c: _picture_path(out, row["stem"], name) for name, c in CAPTIONS.items()}
    pictures = {caption: path for caption, path in paths.items() if path.exists()}
    name = row["stem"] if row["id"] == "." else row["id"]
    note = f"{row['outcome']}, {row['seconds']:.1f} s"
    reason = _printable(row["reason"])
    entries.append(album.Entry(_printable(name), note, pictures, reason))
  title = _printable(f"Reconstructions of {source.resolve().name}")
  album.write_album(out / "index.html", title=title, facts=facts, entries=entries)
