"""Reconstructs user files: clouds, images and grids, one or a folder (host).

A file becomes a mesh file (cli/user_mesh.py), a folder a folder (cli/user_folder.py).
"""

import hashlib
import os
import pathlib
import time
from typing import Any

from occnet_jax import api
from occnet_jax.cli import mesh_options, parts, process, user_folder, user_mesh
from occnet_jax.data import user_depth, user_inputs
from occnet_jax.extract import to_mesh
from occnet_jax.geometry import mesh_io
from occnet_jax.interop import hub, weights
from occnet_jax.models import finetuning
from occnet_jax.types import Field

DEFAULT_MODEL = "scan"
COARSEST = 16  # least number of cells a side of a grid that is doubled


def reconstruct(
  workdir: str | os.PathLike | None,
  source: str | os.PathLike,
  target: str | os.PathLike | None = None,
  *,
  pretrained: str | None = None,
  masks: str | os.PathLike | None = None,
  intrinsics: str | os.PathLike | None = None,
  poses: str | os.PathLike | None = None,
  config_override: dict[str, Any] | None = None,
  resolution: int | None = None,
  smooth: int | None = None,
  faces: int | None = None,
  seed: int = 0,
  preview: str | os.PathLike | None = None,
  texture: bool = False,
  ignore_normals: bool = False,
  camera_normals: bool = False,
  shard: str | None = None,
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
    pretrained: the model to use in place of a run, see `api.from_pretrained`; None for
      DEFAULT_MODEL.
    masks: masks of photographs or depth images, see `photos.find_masks`.
    intrinsics: camera file of depth images, see `depth_cameras.read_camera`, which a
      network of clouds then takes in place of clouds.
    poses: their poses, see `depth_cameras.read_poses`.
    config_override: config whose `test` and `generation` replace the network's own.
    resolution: cells along a side of the cube, rounded up to a number that doublings of
      a coarse grid reach; None for that of the config.
    smooth: steps of smoothing, see `extract_mesh`; None for that of the config.
    faces: largest number of faces, see `extract_mesh`; None for that of the config.
    seed: seed of the points that are drawn from a cloud.
    preview: HTML file to write for a single mesh: the input beside it, in 3D.
    texture: write the colours of clouds to GLB as a picture, see `api.write_mesh`.
    ignore_normals: leave out the normals of clouds, also for a network that takes them.
    camera_normals: fit normals to depth images, towards their cameras.
    shard: "i/n", see `parts.parse`: the part of a folder that this call makes.

  Raises:
    ValueError: both a workdir and a pretrained model; no file that the network could
      read, or, for a single mesh, an input that is broken or without a surface; in a
      folder that is a row of the report.
  """
  start = time.perf_counter()
  if workdir is not None and pretrained is not None:
    raise ValueError(
      f"--workdir={workdir} and --model={pretrained} name two networks; want one of "
      "them: --workdir for a run, --model for a pretrained model"
    )
  mesh_options.check(
    preview, resolution=resolution, smooth=smooth, faces=faces, seed=seed
  )
  process.compute_in_caller()
  source, part = pathlib.Path(source), parts.parse(shard)
  if shard and not source.is_dir():
    raise ValueError(f"--shard={shard} divides a folder; leave it out for {source}")
  default = "reconstructions" if source.is_dir() else "reconstruction.glb"
  target = pathlib.Path(target or default)
  if not source.is_dir():
    mesh_options.check_target(target, texture=texture)
    if target.resolve() == source.resolve():
      raise ValueError(f"{target}: is the input; want another file for its mesh")
  _check_writable(target)
  if not source.exists():
    raise ValueError(f"{source}: no such file or folder")
  depth = user_depth.open_inputs(intrinsics, poses, with_normals=camera_normals)
  with process.announced("loading the network"):
    model, origin = _load(workdir, pretrained or DEFAULT_MODEL, config_override)
  to_mesh.check(model.settings.generation)
  finetuning.check(model.method, model.settings.generation)
  options = grid_options(model, resolution, seed)
  finished = {"smooth_steps": smooth, "simplify_faces": faces}
  finished = {name: value for name, value in finished.items() if value is not None}
  if finished and not isinstance(model.method.output, Field):
    raise ValueError(
      "--smooth and --faces are for networks with values at points; leave them out for "
      "this one"
    )
  options |= finished
  kind = model.settings.data.inputs
  if texture and (kind != "cloud" or depth is not None):
    raise ValueError("--texture is for clouds with colours; leave it out here")
  if camera_normals and not model.method.takes_normals:
    raise ValueError(
      "--camera-normals is for networks of scans, and this one takes no normals; leave "
      "it out, or name another by --model"
    )
  looks = user_mesh.Looks(texture, ignore_normals)
  items = user_inputs.find_items(source, target, kind, masks, depth)
  if depth is not None:
    origin |= depth.origin
  is_mesh = target.suffix.lower() in mesh_io.WRITTEN_SUFFIXES
  if source.is_file() or (is_mesh and items[0].name == "."):  # one of several images
    made = user_mesh.write_mesh_of(
      model, items[0], source, target, options, preview, looks
    )
  elif preview:
    raise ValueError(
      f"--preview={preview} is for one mesh; a folder has its own page, "
      f"{target / 'index.html'}: leave it out"
    )
  elif is_mesh or target.is_file() or target.resolve() == source.resolve():
    raise ValueError(f"{target}: want another folder, for the meshes of {source}")
  else:
    task = user_folder.network_task(model, origin, options, looks)
    made = user_folder.reconstruct_folder(task, items, source, target, part)
    user_mesh.print_pixels(depth)
  print(f"{made}, {time.perf_counter() - start:.1f} s")  # noqa: T201


def _check_writable(target: pathlib.Path) -> None:
  """Raises ValueError where nothing can be written, before work is done for nothing."""
  parent = next(path for path in target.absolute().parents if path.exists())
  if not parent.is_dir() or not os.access(parent, os.W_OK):
    what = "is no folder" if not parent.is_dir() else "cannot be written"
    raise ValueError(f"{target}: {parent} {what}; want an output elsewhere")


def _load(
  workdir: str | os.PathLike | None,
  pretrained: str,
  config_override: dict[str, Any] | None,
) -> tuple[api.Model, dict[str, str]]:
  """The network, and what tells it from others in the log of a folder."""
  if workdir is not None:
    model = api.restore(workdir, config_override=config_override)
    return model, {"workdir": str(pathlib.Path(workdir).resolve())}
  directory = hub.find(pretrained)
  model = api.from_pretrained(directory, config_override=config_override)
  digest = hashlib.sha256((directory / weights.WEIGHTS).read_bytes()).hexdigest()
  return model, {"model": str(pretrained), "weights": digest}


def grid_options(model: api.Model, resolution: int | None, seed: int) -> dict[str, Any]:
  """Arguments of `Model.reconstruct` for what a call chooses.

  Raises:
    ValueError: a resolution for a network whose grid is its own.
  """
  options: dict[str, Any] = {"seed": seed} if seed else {}
  if resolution is None:
    return options
  if model.method.windows is not None or not isinstance(model.method.output, Field):
    raise ValueError(
      f"--resolution={resolution} is for networks of one cube with values at points; "
      "leave it out for this one"
    )
  doublings = max(0, (resolution // COARSEST).bit_length() - 1)
  coarse = -(-resolution // 2**doublings)  # rounded up
  return options | {"resolution_0": coarse, "upsampling_steps": doublings}
