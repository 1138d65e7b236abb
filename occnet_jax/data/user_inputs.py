"""A user's file or array as inputs of a network (host, numpy).

`find_items` lists the objects in a file or folder, `read_item` reads one of them as an
array that a user could pass to `Model.reconstruct` too, and `prepare` turns either into
inputs. Kinds are those of config.data.inputs.

Shape letters: n points, h w sides of an image, k images, r grid side.
"""

import collections
import os
import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from occnet_jax.config import ScanSettings
from occnet_jax.data import images, user_clouds, user_depth, user_grids
from occnet_jax.data.user_depth import DepthInputs
from occnet_jax.files import output_stems
from occnet_jax.geometry import dicom, frames, photos, pointcloud_io, volumes
from occnet_jax.geometry import normals as normals_lib
from occnet_jax.geometry.colours import Cloud
from occnet_jax.geometry.depth_cameras import Pose
from occnet_jax.geometry.volumes import Volume

_MASKS = (".nii", ".gz", ".mgh", ".mgz", ".nrrd")  # .gz of .nii.gz
ACCEPTED = {  # kind of inputs: description of the files, and their suffixes
  "cloud": ("a point cloud or a mesh", pointcloud_io.SUFFIXES),
  "image": ("a photograph", photos.SUFFIXES),
  "images": ("photographs of an object", photos.SUFFIXES),
  "voxels": ("an occupancy grid or a mask", (".binvox", ".npy", ".npz", *_MASKS)),
}


_NO_CAMERA = (
  "a picture file tells nothing of the camera, without which this network "
  "(config.data.inputs='image_camera') cannot place the object; want {'image': (h, w, "
  "3) of uint8, 'world_mat': (3, 4), 'camera_mat': (3, 3) to its pixels}"
)
_PHOTO = "occnet_jax.geometry.photos.read_photo(path)"
READERS = {  # kind of inputs: what reads a file as the array that `prepare` takes
  "cloud": user_clouds.READER,
  "image": _PHOTO,
  "images": f"[{_PHOTO} for path in paths]",
  "voxels": "occnet_jax.data.user_grids.read_grid(path, side)",
}


class Prepared(NamedTuple):
  """One object as a network takes it.

  Attributes:
    inputs: inputs of the object, without a batch axis.
    loc: centre of the cube's frame, in the frame of the user's points.
    scale: length of a cube unit there; (0, 0, 0) and 1 for all kinds but clouds and
      masks.
  """

  inputs: np.ndarray | dict[str, np.ndarray]
  loc: Float[np.ndarray, "3"]
  scale: float


class InputItem(NamedTuple):
  """The files of one object.

  Attributes:
    name: path within the source, as reports name it.
    stem: path of the mesh within the target, without suffix.
    paths: the files; several for a network of several images, or for depth images with
      poses.
    masks: masks of the images, in their order; [] without masks.
    depth: what reads the files if they are depth images.
    poses: poses of depth images, in their order; empty without poses.
  """

  name: str
  stem: str
  paths: list[pathlib.Path]
  masks: list[pathlib.Path]
  depth: DepthInputs | None = None
  poses: Sequence[Pose] = ()


def prepare(
  observed: Any,
  kind: str,
  shape: tuple[int, ...],
  *,
  normalise: bool = True,
  seed: int = 0,
  scan: ScanSettings | None = None,
  normals: bool = False,
) -> Prepared:
  """An object as a network of this kind takes it.

  Args:
    observed: a cloud (n, 3) in any unit, or a `Cloud`; an image (h, w, 3) or (h, w, 4)
      of uint8, or several, each of any size; a grid (r, r, r) of 0 and 1, or a mask as
      a `Volume` of any size, see `user_grids.place_mask`. An image is centred on a
      white square; if it has transparency, its opaque part is (`photos.prepare_photo`).
      An image with its camera is a dict of the arguments of `images.fit_view`, and the
      square in its centre is used.
    kind: kind of the network's inputs.
    shape: shape of the inputs of one object, that of `Observation.spec`: so many points
      are drawn at random from a cloud, and images are scaled to its side.
    normalise: whether to map a cloud's bounding box to the unit cube. False for clouds
      that are in the cube's frame.
    seed: seed of the points drawn from a cloud.
    scan: what the network's clouds had in training; with it all points of a cloud are
      inputs, up to the number in `shape`, and its box leaves out points that are alone.
    normals: whether the network takes normals, which follow the coordinates (n, 6) of a
      `Cloud` whose normals point outwards, see `normals.orient`.

  Raises:
    ValueError: a cloud of another shape, with NaN, too few points or no extent, with
      many points in one place or some far away; an image of another form or without an
      opaque pixel; the path of a file.
  """
  if kind in READERS:
    user_clouds.check_array(observed, READERS[kind])
  loc, scale = np.zeros(3), 1.0
  if kind == "image":
    return Prepared(_fit_photo(observed, shape[-2]), loc, scale)
  if kind == "image_camera":
    return Prepared(_fit_view(observed, shape[-2]), loc, scale)
  if kind == "images":
    fitted = np.stack([_fit_photo(image, shape[-2]) for image in observed])
    return Prepared(fitted, loc, scale)
  if isinstance(observed, Volume) and kind == "voxels":
    observed = user_grids.place_mask(observed, shape[0])
  if isinstance(observed, user_grids.PlacedGrid):
    return Prepared(*observed)
  if kind != "cloud":
    return Prepared(np.asarray(observed), loc, scale)
  cloud = user_clouds.as_cloud(observed)
  rng = np.random.default_rng(seed)
  if normalise:
    loc, scale = user_clouds.frame(cloud, scan, rng)
  count = min(shape[0], len(cloud)) if scan else shape[0]
  chosen = rng.choice(len(cloud), count, replace=len(cloud) < count)
  points = frames.to_frame(cloud[chosen], loc, scale).astype(np.float32)
  if normals and isinstance(observed, Cloud) and observed.normals is not None:
    outward, _ = normals_lib.orient(cloud, observed.normals, outward=observed.outward)
    if outward is not None:
      points = np.hstack([points, outward[chosen].astype(np.float32)])
  return Prepared(points, loc, scale)


def in_frame(
  observed: Any, kind: str, loc: Float[np.ndarray, "3"], scale: float
) -> Float[np.ndarray, "n 3"]:
  """All points of a cloud in the frame that `prepare` gave it.

  Raises:
    ValueError: the network's inputs are of another kind.
  """
  if kind != "cloud":
    raise ValueError(
      f"config.generation.finetune_steps is for networks of clouds, not of {kind}; "
      "want 0"
    )
  return frames.to_frame(user_clouds.as_cloud(observed), loc, scale)


def read_item(
  item: InputItem, kind: str, shape: tuple[int, ...]
) -> np.ndarray | Cloud | user_grids.PlacedGrid:
  """The array in an object's files, which `prepare` takes.

  Args:
    item: the object, as `find_items` returns it.
    kind: kind of the network's inputs.
    shape: shape of the inputs of one object, as in `prepare`.

  Returns:
    A cloud (n, 3), as a `Cloud` where a file may have colours; a grid (r, r, r), placed
    where it is of a mask; or photographs without their background, (h, h, 3) or (k, h,
    h, 3) of uint8, in the size that the network takes.

  Raises:
    ValueError: a file that cannot be read, or a grid of another side.
  """
  if item.depth is not None:
    return item.depth.read(item.paths, item.masks, item.poses)
  if kind == "cloud":
    return pointcloud_io.read_scan(item.paths[0])
  if kind == "voxels" and volumes.is_volume_file(item.paths[0]):
    return user_grids.read_mask(item.paths[0], shape[0])
  if kind == "voxels":
    return user_grids.read_grid(item.paths[0], shape[0])
  squares = photos.read_squares(item.paths, item.masks)
  fitted = [images.fit_image(square, shape[-2]) for square in squares]
  # Scaled images have 256 levels as well, so this rounding loses nothing.
  pictures = np.rint(255 * np.stack(fitted)).astype(np.uint8)
  return pictures if kind == "images" else pictures[0]


def find_items(
  source: pathlib.Path,
  target: pathlib.Path,
  kind: str,
  masks: str | os.PathLike | None = None,
  depth: DepthInputs | None = None,
) -> list[InputItem]:
  """The objects in a file or folder, for a network of this kind of inputs.

  Hidden files do not count, and neither `target` nor `masks` is searched. With `depth`
  the files are depth images, and with poses those of a folder are one object.

  Raises:
    ValueError: there are none, or masks where no images are read, or depth images that
      lack a pose or are for a network that takes no clouds.
  """
  if kind == "image_camera":
    raise ValueError(
      f"{source}: {_NO_CAMERA}; pass both to occnet_jax.restore(...).reconstruct"
    )
  if kind not in ACCEPTED:
    raise ValueError(
      f"config.data.inputs of this network is {kind!r}, so it takes no files; want one "
      f"of {', '.join(ACCEPTED)}; occnet_jax.restore(...) has prior and fit for it"
    )
  if depth is not None and kind != "cloud":
    raise ValueError(
      f"--intrinsics: depth images are for networks of clouds, this one wants {kind}; "
      "leave it out, or name another network"
    )
  if masks and depth is None and not kind.startswith("image"):
    raise ValueError(
      f"{masks}: masks are for photographs and depth images, this network wants {kind}"
    )
  accepted = ACCEPTED[kind] if depth is None else user_depth.ACCEPTED
  files = [source] if not source.is_dir() else list_files(source, (target, masks))
  paths = [path for path in files if path.suffix.lower() in accepted[1]]
  if not paths or not source.exists():
    raise ValueError(_explain_nothing(accepted, source, files))
  mask_of = photos.find_masks(masks, source, paths) if masks else {}
  root = source if source.is_dir() else source.parent
  pose_of = {} if depth is None else depth.find_poses(paths, root)
  pooled = source.is_dir() and (kind == "images" or bool(pose_of))  # into one object
  groups = collections.defaultdict(list)
  for path in paths:
    groups[(path.parent if pooled else path).relative_to(root).as_posix()].append(path)
  if "." in groups and len(groups) > 1:
    raise ValueError(
      f"{source}: holds images beside {len(groups) - 1} folders of images; want either "
      "the images of one object, or a folder for each object"
    )
  if pooled:
    stems = dict.fromkeys(groups) | {".": source.resolve().name}
  else:
    stems = dict(zip(groups, output_stems(list(groups)), strict=True))
  return [
    InputItem(
      name,
      stems[name] or name,
      group,
      [mask_of[path] for path in group if mask_of],
      depth,
      [pose_of[path] for path in group if pose_of],
    )
    for name, group in sorted(groups.items())
  ]


def list_files(
  folder: pathlib.Path, without: Sequence[str | os.PathLike | None]
) -> list[pathlib.Path]:
  """The files at any depth of a folder that are not hidden, outside of some folders."""
  skipped = [pathlib.Path(path).resolve() for path in without if path]
  skipped = [path for path in skipped if not folder.resolve().is_relative_to(path)]
  return [
    path
    for path in sorted(folder.rglob("*"))
    if path.is_file()
    and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    and not any(path.resolve().is_relative_to(other) for other in skipped)
  ]


def _explain_nothing(
  accepted: tuple[str, tuple[str, ...]],
  source: pathlib.Path,
  files: Sequence[pathlib.Path],
) -> str:
  """Why there is nothing to reconstruct, and which network could read the files."""
  if not source.exists():
    return f"{source}: no such file or folder"
  description, suffixes = accepted
  present = {path.suffix.lower() for path in files}
  others = [k for k, (_, read) in ACCEPTED.items() if present.intersection(read)]
  hint = ""
  if accepted == user_depth.ACCEPTED:
    hint = "; --intrinsics is for these alone, so leave it out for other files"
  elif others:
    hint = f"; a network of config.data.inputs = {' or '.join(others)} would read it"
  if accepted == ACCEPTED["cloud"] and present.intersection(user_depth.ACCEPTED[1]):
    hint += "; for depth images give --intrinsics=camera.json"
  if any(volumes.is_volume_file(f) or dicom.is_dicom(f) for f in files[:100]):
    hint += "; a CT or MRI becomes a mesh by occnet reconstruct --level=VALUE"
  return (
    f"{source}: this network wants {description} ({' '.join(suffixes)}), found "
    f"{len(files)} file{'s' * (len(files) != 1)} "
    f"({' '.join(sorted(present)) or 'none'}){hint}"
  )


def _fit_view(observed: Any, side: int) -> dict[str, np.ndarray]:
  shapes = {"world_mat": (3, 4), "camera_mat": (3, 3)}
  if not isinstance(observed, dict) or observed.keys() != {"image", *shapes}:
    raise ValueError(f"an input of {type(observed).__name__}: {_NO_CAMERA}")
  image = _check_photo(observed["image"], 3)
  matrices = {k: np.asarray(observed[k], np.float64) for k in shapes}
  for name, matrix in matrices.items():
    if matrix.shape != shapes[name]:
      raise ValueError(f"{name} of shape {matrix.shape}; want {shapes[name]}")
  return images.fit_view(image, **matrices, side=side)


def _fit_photo(image: Any, side: int) -> Float[np.ndarray, "side side 3"]:
  return images.fit_image(photos.prepare_photo(_check_photo(image, 3, 4)), side)


def _check_photo(image: Any, *channels: int) -> np.ndarray:
  image = np.asarray(image)
  if image.ndim != 3 or image.shape[2] not in channels or image.dtype != np.uint8:
    forms = " or ".join(f"(h, w, {count})" for count in channels)
    raise ValueError(
      f"an image of shape {image.shape} and type {image.dtype}, want {forms} of uint8; "
      "convert it to RGB from 0 to 255 first"
    )
  photos.check_square(image.shape[1], image.shape[0], "an image")
  return image
