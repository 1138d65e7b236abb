"""Meshes of what users bring: clouds, photographs and grids, one or a folder (host).

A file becomes a mesh file. A folder becomes a folder:

<target>/
  <name>.glb              a mesh for every input, under its relative name
  index.html, pictures/   every input beside its mesh; the page is one file
  reconstruct_report.csv  file, outcome, reason, seconds
  reconstruct.jsonl       what is done, so that a second call does the rest

Shape letters: r grid side, s side of a picture, v vertices, f faces.
"""

import collections
import importlib.resources
import os
import pathlib
import sys
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import tqdm
import trimesh
from jaxtyping import Float, Int, UInt8
from PIL import Image

from occnet_jax import api, files
from occnet_jax.data import inputs
from occnet_jax.data.user_inputs import read_grid
from occnet_jax.evaluation import tables
from occnet_jax.evaluation.resume_log import ResumeLog
from occnet_jax.extract.pipeline import NoSurface
from occnet_jax.geometry import cameras, frames, mesh_io, photos, pointcloud_io
from occnet_jax.viz import album

Picture = UInt8[np.ndarray, "s s 3"]
Row = dict[str, Any]
WANTED = {  # by config.data.inputs: what a network sees, and the files that hold it
  "cloud": ("a point cloud or a mesh", pointcloud_io.SUFFIXES),
  "image": ("a photograph", photos.SUFFIXES),
  "images": ("photographs of an object", photos.SUFFIXES),
  "voxels": ("an occupancy grid", (".binvox", ".npy", ".npz")),
}


_SIDE = 224  # pixels of the pictures of meshes, clouds and grids
_FREE = 0.06  # of it along every border


_AZIMUTHS, _ELEVATION = (330.0, 150.0), 25.0  # degrees


_BALLS, _RADIUS = 3000, 0.008  # of a cloud's picture; in units of its extent


_TITLES = {"seen": "Seen", "front": "Mesh", "back": "Mesh from behind"}


class InputItem(NamedTuple):
  """One thing to reconstruct."""

  name: str  # its path within the source, as the report names it
  stem: str  # the mesh's path within the target, without suffix
  paths: list[pathlib.Path]  # what shows it; several for a network of several images
  masks: list[pathlib.Path]  # theirs, or empty


def reconstruct(
  workdir: str | os.PathLike,
  source: str | os.PathLike,
  target: str | os.PathLike | None = None,
  *,
  masks: str | os.PathLike | None = None,
  overriding: dict[str, Any] | None = None,
) -> None:
  """Meshes of what a run's network sees in files of the user's own.

  They are in a cloud's own frame, else in that of the unit cube.

  Args:
    workdir: of a trained run.
    source: a file of the kind that the network was trained with (WANTED), or a folder
      of such files at any depth. For a network of several images a folder of images is
      one object, and a folder of folders many.
    target: a mesh file, whose suffix names the format, or for a folder a folder, where
      only what is missing is made; None for reconstruction.glb or reconstructions.
    masks: of photographs, see `photos.find_masks`.
    overriding: config whose `test.tau` and `generation` count instead of the run's own.

  Raises:
    ValueError: nothing that the network could read, or, for a single mesh, an input
      that is broken or without a surface; in a folder that is a row of the report.
  """
  source = pathlib.Path(source)
  default = "reconstructions" if source.is_dir() else "reconstruction.glb"
  target = pathlib.Path(target or default)
  if not source.is_dir():
    mesh_io.check_written_suffix(target)
  model = api.restore(workdir, overriding=overriding)
  objects = find(source, target, model.config["data"]["inputs"], masks)
  is_mesh = target.suffix.lower() in mesh_io.WRITTEN_SUFFIXES
  if source.is_file() or (is_mesh and objects[0].name == "."):  # one of several images
    mesh = _reconstruct(model, _observe(model, objects[0])[0])
    mesh_io.write_mesh(target, mesh.vertices, mesh.faces, mesh.vertex_normals)
    print(f"{target}: {len(mesh.vertices)} vertices, {len(mesh.faces)} faces")  # noqa: T201
    return
  if is_mesh or target.is_file() or target.resolve() == source.resolve():
    raise ValueError(f"{target}: want another folder, for the meshes of {source}")
  settings = {
    "workdir": str(pathlib.Path(workdir).resolve()),
    "step": model.record["step"],
    "tau": model.tau,
    "generation": model.generation(),
    "margin": photos.MARGIN,
  }
  rows = _reconstruct_all(model, objects, target, settings)
  _write_page(target, source, settings, rows)
  names = ("outcome", "reason", "seconds")
  report = [{"file": row["id"]} | {name: row[name] for name in names} for row in rows]
  tables.write_csv(target / "reconstruct_report.csv", report)
  made = sum(row["outcome"] == "mesh" for row in rows)
  print(f"{made} of {len(rows)} meshes: {target / 'index.html'}")  # noqa: T201


def find(
  source: pathlib.Path,
  target: pathlib.Path,
  kind: str,
  masks: str | os.PathLike | None = None,
) -> list[InputItem]:
  """The objects of a file or a folder, for a network of config.data.inputs `kind`.

  Hidden files are none, and neither `target` nor `masks` is searched.

  Raises:
    ValueError: there are none, or masks that mean nothing here.
  """
  if kind not in WANTED:
    raise ValueError(
      f"config.data.inputs of this network is {kind!r}, so it sees no files; want one "
      f"of {', '.join(WANTED)}; occnet_jax.restore(...) has prior and fit for it"
    )
  if masks and not kind.startswith("image"):
    raise ValueError(f"{masks}: masks are for photographs, this network wants {kind}")
  paths = [source] if not source.is_dir() else _files(source, (target, masks))
  found = [path for path in paths if path.suffix.lower() in WANTED[kind][1]]
  if not found or not source.exists():
    raise ValueError(_nothing_for(kind, source, paths))
  mask_of = photos.find_masks(masks, source, found) if masks else {}
  pooled = kind == "images" and source.is_dir()
  root = source if source.is_dir() else source.parent
  groups = collections.defaultdict(list)
  for path in found:
    groups[(path.parent if pooled else path).relative_to(root).as_posix()] += [path]
  if "." in groups and len(groups) > 1:
    raise ValueError(
      f"{source}: holds images beside {len(groups) - 1} folders of images; want either "
      "the images of one object, or a folder for each object"
    )
  stems = dict.fromkeys(groups) | {".": source.resolve().name}
  if not pooled:  # the suffix stays where two inputs would have the same mesh
    bare = {name: name.removesuffix(pathlib.PurePath(name).suffix) for name in groups}
    count = collections.Counter([*bare.values(), *groups])
    stems = {name: stem if count[stem] == 1 else name for name, stem in bare.items()}
  return [
    InputItem(
      name, stems[name] or name, group, [mask_of[p] for p in group if p in mask_of]
    )
    for name, group in sorted(groups.items())
  ]


def _files(
  folder: pathlib.Path, without: Sequence[str | os.PathLike | None]
) -> list[pathlib.Path]:
  """The files at any depth of a folder that are not hidden."""
  outside = [pathlib.Path(path).resolve() for path in without if path]
  outside = [path for path in outside if not folder.resolve().is_relative_to(path)]
  return [
    path
    for path in sorted(folder.rglob("*"))
    if path.is_file()
    and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    and not any(path.resolve().is_relative_to(other) for other in outside)
  ]


def _nothing_for(kind: str, source: pathlib.Path, paths: Sequence[pathlib.Path]) -> str:
  """Why there is nothing to reconstruct, and what could."""
  if not source.exists():
    return f"{source}: no such file or folder"
  what, suffixes = WANTED[kind]
  there = {path.suffix.lower() for path in paths}
  others = [k for k, (_, readable) in WANTED.items() if there.intersection(readable)]
  way = f"; a network of config.data.inputs = {' or '.join(others)} would read it"
  return (
    f"{source}: this network wants {what} ({' '.join(suffixes)}), found {len(paths)} "
    f"files ({' '.join(sorted(there)) or 'none'}){way if others else ''}"
  )


def _observe(model: api.Model, one: InputItem) -> tuple[np.ndarray, list[Picture]]:
  """What `Model.reconstruct` takes, and its picture, if there is one."""
  data, path = model.config["data"], one.paths[0]
  if data["inputs"] == "cloud":
    cloud = pointcloud_io.read_cloud(path)
    shown = frames.to_frame(cloud, *frames.cloud_frame(cloud))
    shown, ball = shown[:: -(-len(cloud) // _BALLS)], trimesh.creation.icosahedron()
    vertices = shown[:, None] + _RADIUS * ball.vertices
    faces = ball.faces + len(ball.vertices) * np.arange(len(shown))[:, None, None]
    return cloud, _render(vertices.reshape(-1, 3), faces.reshape(-1, 3))[:1]
  if data["inputs"] == "voxels":
    grid = read_grid(path, data["voxel_side"])
    if not grid.any():
      return grid, []
    boxes = trimesh.voxel.VoxelGrid(grid > 0).as_boxes()
    return grid, _render(boxes.vertices, boxes.faces)[:1]
  squares, side = photos.read_squares(one.paths, one.masks), data["image_side"]
  seen = np.stack([inputs.fit_image(square, side) for square in squares])
  seen = np.rint(255 * seen).astype(np.uint8)  # as many steps as files have: exact
  observed = seen if data["inputs"] == "images" else seen[0]
  return observed, [photos.contact_sheet(seen)]


def _render(
  vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"]
) -> list[Picture]:
  """From the front and from behind; nothing where Embree is not installed."""
  try:
    from occnet_jax.geometry import rendering, solids
  except ImportError:
    return []
  loc, scale = frames.unit_cube_frame(vertices)
  shape = solids.Solid((vertices - loc) / scale, faces)
  scene, lens, pictures = rendering.Scene(shape), cameras.camera_matrix(_SIDE), []
  for azimuth in _AZIMUTHS:
    away = cameras.closest_distance(shape.vertices, azimuth, _ELEVATION, margin=_FREE)
    place = cameras.world_matrix(azimuth, _ELEVATION, away)
    pictures.append(rendering.render(scene, place, lens, _SIDE))
  return pictures


def _reconstruct(model: api.Model, observed: np.ndarray) -> trimesh.Trimesh:
  try:
    return model.reconstruct(observed)
  except NoSurface as error:
    raise NoSurface(
      f"no surface: the network sees no occupancy of more than tau = {model.tau:.3g}; "
      "show it the object alone, or lower config.test.tau"
    ) from error


def _reconstruct_all(
  model: api.Model, objects: Sequence[InputItem], out: pathlib.Path, settings: Row
) -> list[Row]:
  """Makes what is not there yet; a row for every object."""
  rows = []
  with ResumeLog(out / "reconstruct.jsonl", settings) as ledger:
    known = {row["id"]: row for row in ledger.rows()}
    for one in tqdm.tqdm(objects, desc="reconstruct", unit="mesh", file=sys.stdout):
      stats = [path.stat() for path in (*one.paths, *one.masks) if path.exists()]
      stamp = [[stat.st_size, stat.st_mtime_ns] for stat in stats]
      row, path = known.get(one.name, {}), out / f"{one.stem}.glb"
      is_mesh = row.get("outcome") == "mesh"
      if row.get("stamp") != stamp or path.exists() != is_mesh:
        start = time.perf_counter()
        outcome, reason = _attempt(model, one, path, out)
        row = {"category": "", "id": one.name, "stem": one.stem, "stamp": stamp}
        row |= {"outcome": outcome, "reason": reason}
        row["seconds"] = round(time.perf_counter() - start, 3)
        ledger.add(row)
      rows.append(row)
  return rows


def _attempt(
  model: api.Model, one: InputItem, path: pathlib.Path, out: pathlib.Path
) -> tuple[str, str]:
  """Writes one mesh and its pictures; outcome and reason."""
  for old in (path, *(_picture(out, one.stem, name) for name in _TITLES)):
    old.unlink(missing_ok=True)
  pictures = {}
  try:
    observed, seen = _observe(model, one)
    pictures |= zip(("seen",), seen, strict=False)
    mesh = _reconstruct(model, observed)
    pictures |= zip(("front", "back"), _render(mesh.vertices, mesh.faces), strict=False)
    mesh_io.write_mesh(path, mesh.vertices, mesh.faces, mesh.vertex_normals)
    return "mesh", ""
  except (ValueError, FloatingPointError, OSError) as error:
    is_empty = isinstance(error, NoSurface)
    return "no surface" if is_empty else "failed", str(error)
  finally:
    for name, picture in pictures.items():
      with files.atomic_write(_picture(out, one.stem, name)) as scratch:
        Image.fromarray(picture).save(scratch)


def _picture(out: pathlib.Path, stem: str, name: str) -> pathlib.Path:
  return out / "pictures" / f"{stem}-{name}.png"


def _write_page(
  out: pathlib.Path, source: pathlib.Path, settings: Row, rows: Sequence[Row]
) -> None:
  """Every object with its pictures."""
  assets = importlib.resources.files("occnet_jax.evaluation") / "assets"
  count = collections.Counter(row["outcome"] for row in rows)
  facts = {"Network": settings["workdir"], "Step": str(settings["step"])}
  facts |= {"Threshold tau": f"{settings['tau']:.3g}"}
  facts |= {"Inputs": ", ".join(f"{n} {outcome}" for outcome, n in count.items())}
  entries = []
  for row in rows:
    paths = {title: _picture(out, row["stem"], n) for n, title in _TITLES.items()}
    shown = {title: path for title, path in paths.items() if path.exists()}
    name = row["stem"] if row["id"] == "." else row["id"]
    note = f"{row['outcome']}, {row['seconds']:.1f} s"
    entries.append(album.Entry(name, note, shown, row["reason"]))
  title = f"Reconstructions of {source.resolve().name}"
  css = (assets / "report.css").read_text(encoding="utf-8")
  album.write_album(
    out / "index.html", title=title, style=css, facts=facts, entries=entries
  )
