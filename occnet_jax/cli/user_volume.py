"""A CT, MRI or other volume of a user -> the mesh of a level, without a network (host).

occnet reconstruct ct.nii.gz --level=300 -o skull.glb
"""

import os
import pathlib
import time

import numpy as np

from occnet_jax import files
from occnet_jax.cli import mesh_options, process, user_mesh
from occnet_jax.extract.batch.parallel import naming_errors
from occnet_jax.extract.pipeline import extract_mesh
from occnet_jax.geometry import mesh_io, volumes
from occnet_jax.geometry.volumes import Volume
from occnet_jax.viz import comparison, slices


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
    source: a file or folder that `volumes.read_volume` reads.
    target: mesh file, whose suffix names the format; None for <name>.glb in the current
      directory.
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
  target = pathlib.Path(target or f"{_stem(source)}.glb")
  mesh_options.check_target(target)
  with process.announced(f"reading {source}"):
    volume = volumes.read_volume(source)
  print(f"{source}: {_describe(volume)}")  # noqa: T201
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


def _stem(source: pathlib.Path) -> str:
  """The name without its suffix, also without .nii.gz."""
  name = source.resolve().name if source.is_dir() else source.stem
  return name.removesuffix(".nii")


def _describe(volume: Volume) -> str:
  shape = " x ".join(map(str, volume.values.shape))
  spacing = " x ".join(f"{side:.4g}" for side in volume.spacing)
  low, high = np.nanmin(volume.values), np.nanmax(volume.values)
  unknown = int(np.isnan(volume.values).sum())
  missing = f", {unknown:,} of them NaN, which is outside" if unknown else ""
  values = f"values {float(low):g} to {float(high):g}"
  return f"{shape} voxels of {spacing} mm{missing}, {values}"


def _level_of_mask(source: pathlib.Path, volume: Volume) -> float:
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
