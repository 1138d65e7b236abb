"""A CT, MRI or other volume of a user -> the mesh of a level, without a network (host).

occnet reconstruct ct.nii.gz --level=300 -o skull.glb
occnet reconstruct segmentations/ -o meshes/
"""

import collections
import os
import pathlib
import time

import numpy as np
import trimesh

from occnet_jax import files
from occnet_jax.cli import mesh_options, process, user_folder, user_mesh
from occnet_jax.data import user_inputs
from occnet_jax.data.user_inputs import InputItem
from occnet_jax.extract.batch.parallel import naming_errors
from occnet_jax.extract.pipeline import extract_mesh
from occnet_jax.geometry import dicom, mesh_io, volumes
from occnet_jax.geometry.volumes import Volume
from occnet_jax.viz import comparison, slices

FOLDER = "reconstructions"
_FILES = tuple(suffix for suffix in volumes.SUFFIXES if suffix != ".dcm")


def reconstruct_volume(
  source: str | os.PathLike,
  target: str | os.PathLike | None = None,
  *,
  level: float | None = None,
  smooth: int | None = None,
  faces: int | None = None,
  preview: str | os.PathLike | None = None,
) -> None:
  """Writes the mesh of a level, in the patient's frame in millimetres.

  Args:
    source: a file or folder that `volumes.read_volume` reads, or a folder of volumes at
      any depth: files, or folders with a DICOM series each.
    target: mesh file, whose suffix names the format; None for <name>.glb in the current
      directory. For a folder of volumes a folder, as of `user_folder`; None for
      reconstructions.
    level: value at the surface; None for one half of a mask of 0 and 1.
    smooth: steps of smoothing; None for none.
    faces: largest number of faces; None for all.
    preview: HTML file to write: slices beside the mesh, in 3D.

  Raises:
    ValueError: a file that cannot be read, a level that is missing or beyond the
      volume's values, or another format of mesh.
  """
  start = time.perf_counter()
  mesh_options.check(preview, smooth=smooth, faces=faces)
  mesh_options.check_level(level)
  source = pathlib.Path(source)
  if items := find_volumes(source, pathlib.Path(target or FOLDER)):
    target = pathlib.Path(target or FOLDER)
    if preview or target.suffix.lower() in mesh_io.WRITTEN_SUFFIXES:
      wrong = f"--preview={preview}" if preview else target
      raise ValueError(
        f"{wrong} is for one mesh, and {source} is a folder of volumes; want a folder "
        "as --output, which gets a page of its own"
      )
    if target.is_file() or target.resolve() == source.resolve():
      raise ValueError(f"{target}: want another folder, for the meshes of {source}")
    task = _task(level, smooth or 0, faces)
    made = user_folder.reconstruct_folder(task, items, source, target)
    print(f"{made}, {time.perf_counter() - start:.1f} s")  # noqa: T201
    return
  target = pathlib.Path(target or f"{_stem(source)}.glb")
  mesh_options.check_target(target)
  with process.announced(f"reading {source}"):
    volume = volumes.read_volume(source)
  print(f"{source}: {describe(volume)}")  # noqa: T201
  if level is None:
    level = _level_of_mask(source, volume)
  with naming_errors(str(source)), process.announced(f"extracting {source}"):
    mesh = extract_mesh(
      volume, level=level, smooth_steps=smooth or 0, simplify_faces=faces
    )
  mesh_io.write_mesh(target, mesh.vertices, mesh.faces, mesh.vertex_normals)
  description = user_mesh.describe(mesh)
  written = f"{target}: {description}, {user_mesh.size_of(target)}"
  if preview:
    facts = {"Mesh": description, "Input": files.printable(str(source))}
    comparison.write_comparison(
      preview,
      title=files.printable(source.name),
      facts=facts | {"Level": f"{level:g}"},
      observation=slices.draw_slices(volume),
      mesh=slices.upright(mesh),
    )
    written += f"\n{preview}: input and mesh, {user_mesh.size_of(preview)}"
  print(f"{written}, {time.perf_counter() - start:.1f} s")  # noqa: T201


def find_volumes(source: pathlib.Path, target: pathlib.Path) -> list[InputItem]:
  """The volumes in a folder that holds several; [] for a file, or for one DICOM series.

  Args:
    source: a file or folder.
    target: folder that is not searched.
  """
  if not source.is_dir():
    return []
  paths: list[pathlib.Path] = []
  series: dict[pathlib.Path, list[pathlib.Path]] = collections.defaultdict(list)
  for path in user_inputs.list_files(source, (target,)):
    if path.name.lower().endswith(_FILES):
      paths.append(path)
    elif dicom.is_dicom(path):
      series[path.parent].append(path)
  if not paths and len({dicom.series_of(files[0]) for files in series.values()}) < 2:
    return []
  groups = {path: [path] for path in paths} | series
  names = {path.relative_to(source).as_posix(): path for path in sorted(groups)}
  stems = files.output_stems(list(names))
  return [
    InputItem(name, source.resolve().name if name == "." else stem, groups[path], [])
    for (name, path), stem in zip(names.items(), stems, strict=True)
  ]


def _task(level: float | None, smooth: int, faces: int | None) -> user_folder.Task:
  """The mesh of a level of each volume; without a level, that of each mask."""

  def read(item: InputItem) -> Volume:
    path = item.paths[0]
    return volumes.read_volume(path.parent if len(item.paths) > 1 else path)

  def make(volume: Volume) -> trimesh.Trimesh:
    value = _level_of_mask("a volume", volume) if level is None else level
    return extract_mesh(volume, level=value, smooth_steps=smooth, simplify_faces=faces)

  def save(path: pathlib.Path, mesh: trimesh.Trimesh, _: Volume) -> str:
    mesh_io.write_mesh(path, mesh.vertices, mesh.faces, mesh.vertex_normals)
    return ""

  return user_folder.Task(
    {"level": level, "smooth": smooth, "faces": faces},
    {"Level": "of masks, 0.5" if level is None else f"{level:g}"},
    read,
    lambda volume: np.rint(255 * slices.draw_slices(volume)).astype(np.uint8),
    make,
    save,
  )


def _stem(source: pathlib.Path) -> str:
  """The name without its suffix, also without .nii.gz."""
  name = source.resolve().name if source.is_dir() else source.stem
  return name.removesuffix(".nii")


def describe(volume: Volume) -> str:
  """Sizes and values of a volume, in words."""
  shape = " x ".join(map(str, volume.values.shape))
  spacing = " x ".join(f"{side:.4g}" for side in volume.spacing)
  low, high = np.nanmin(volume.values), np.nanmax(volume.values)
  unknown = int(np.isnan(volume.values).sum())
  missing = f", {unknown:,} of them NaN, which is outside" if unknown else ""
  values = f"values {float(low):g} to {float(high):g}"
  return f"{shape} voxels of {spacing} mm{missing}, {values}"


def _level_of_mask(source: pathlib.Path | str, volume: Volume) -> float:
  """The level of a mask of 0 and 1.

  Raises:
    ValueError: other values, whose level only the user can say.
  """
  if volume.values.dtype == np.bool_ or np.isin(volume.values, (0, 1)).all():
    return 0.5
  steps = np.nanpercentile(volume.values[::2, ::2, ::2], [50, 90, 99])
  middle, high, highest = steps.astype(float)
  raise ValueError(
    f"{source}: want --level, the value at the surface, such as 300 for bone in a CT; "
    f"half of its values lie below {middle:g}, 90 % below {high:g}, 99 % below "
    f"{highest:g}"
  )
