"""Depth images, and the clouds of the surfaces that they show (host, numpy).

The depth of a pixel is z in the frame of its camera, not the distance along its ray;
frames and cameras are those of `geometry.depth_cameras`. A pixel without depth is NaN.

Shape letters: h, w sides of an image, n points.
"""

import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from PIL import Image

from occnet_jax import unreadable
from occnet_jax.geometry import normals as normals_lib
from occnet_jax.geometry import photos
from occnet_jax.geometry.depth_cameras import Camera, Pose, check_pose

SUFFIXES = (".exr", ".npy", ".png", ".tif", ".tiff")
# A step between two pixels that counts as an edge, as a share of the nearer depth. A
# surface makes such a step if it is inclined by atan(0.03 fx) to the view: 87 degrees
# for fx = 600. Noise of 0.005 of the depth makes one between 1 of 45,000 neighbours.
EDGE_JUMP = 0.03
MAX_POINTS = 100_000  # of the cloud of all views
_CHANNELS = ("Z", "Y", "V", "R")  # of EXR: depth, or a picture that stands for it
# What becomes of a pixel; the first reason to drop it counts.
_OUTCOMES = ("used", "without depth", "out of range", "outside of masks", "at edges")
_WANTED = "want 16-bit PNG, 32-bit TIFF, EXR or NPY (h, w)"
Depth = Float[np.ndarray, "h w"]


class DepthCloud(NamedTuple):
  """The cloud of some depth images.

  Attributes:
    points: (n, 3) in the world's frame, or that of the camera without a pose.
    normals: (n, 3) of length 1, towards the camera that saw the point; None if they
      were not asked for.
    pixels: number of pixels by what became of them, see `describe`.
  """

  points: Float[np.ndarray, "n 3"]
  normals: Float[np.ndarray, "n 3"] | None
  pixels: dict[str, int]


def read_depth(path: str | os.PathLike, scale: float | None = None) -> Depth:
  """Depths in the unit of the cloud, NaN where there is none.

  Zero, negative, infinite and undefined values are no depths.

  Args:
    path: PNG of 16 bits, TIFF of 16 or 32 bits or of floats, NPY (h, w), or, with the
      package OpenEXR, EXR.
    scale: stored numbers in a unit of length: 1000 for millimetres and a cloud in
      metres. None takes floats as they are.

  Raises:
    ValueError: the file is missing, broken, or of 8 bits or several channels, or holds
      integers and there is no scale.
  """
  path = pathlib.Path(path)
  if path.suffix.lower() not in SUFFIXES:
    raise ValueError(f"{path}: suffix {path.suffix!r}; {_WANTED}")
  if not path.is_file():
    raise ValueError(f"{path}: no such file")
  try:
    values = _read_values(path)
  except ImportError as error:
    raise ValueError(
      f"{path}: EXR needs the package OpenEXR: pip install OpenEXR, or convert the "
      "image to a 32-bit TIFF"
    ) from error
  except Image.DecompressionBombError as error:
    raise photos.too_many_pixels(path, error) from error
  except Exception as error:  # whatever a parser may raise on broken bytes
    reason = unreadable.reason(path, error)
    raise ValueError(
      f"{path}: cannot be read as a depth image ({reason}); {_WANTED}"
    ) from error
  if values.ndim != 2 or values.dtype.kind not in "iuf" or not values.size:
    raise ValueError(
      f"{path}: shape {values.shape} of {values.dtype} is no depth image; {_WANTED}"
    )
  if values.dtype.itemsize < 2:
    raise ValueError(f"{path}: 8 bits a pixel are a preview of depths; {_WANTED}")
  if scale is None and values.dtype.kind != "f":
    raise ValueError(
      f"{path}: integers without a unit; want depth_scale in the camera file, such as "
      "1000 for millimetres and a cloud in metres"
    )
  depth = values.astype(np.float64) / (scale or 1.0)
  return np.where(np.isfinite(depth) & (depth > 0), depth, np.nan)


def to_cloud(
  depth: Depth, camera: Camera, pose: Pose | None = None
) -> Float[np.ndarray, "n 3"]:
  """The points of the pixels that have a depth, row by row.

  Args:
    depth: depths by `read_depth`, or any with NaN where there is none.
    camera: its camera.
    pose: matrix from the camera to the world; None for points in the camera's frame.

  Raises:
    ValueError: the image has another size than the camera, or the matrix is no pose.
  """
  _check_size(depth, camera)
  rows, columns = np.nonzero(~np.isnan(depth))
  z = depth[rows, columns]
  x, y = (columns - camera.cx) * z / camera.fx, (rows - camera.cy) * z / camera.fy
  points = np.column_stack([x, y, z])
  if pose is None:
    return points
  check_pose(pose)
  return points @ pose[:3, :3].T + pose[:3, 3]


def find_edges(depth: Depth, jump: float = EDGE_JUMP) -> Bool[np.ndarray, "h w"]:
  """The pixels whose depth differs much from that of one of their four neighbours.

  There sensors mix the depths of two surfaces, so that points lie on neither.

  Args:
    depth: depths, NaN where there is none; beside those there is no edge.
    jump: least difference, as a share of the smaller of both depths.
  """
  is_edge = np.zeros(depth.shape, bool)
  # Transposed views, so that either axis is the first one in its turn.
  for values, marks in ((depth, is_edge), (depth.T, is_edge.T)):
    first, second = values[:-1], values[1:]
    is_step = np.abs(second - first) > jump * np.minimum(first, second)
    marks[:-1] |= is_step
    marks[1:] |= is_step
  return is_edge


def read_views(
  paths: Sequence[pathlib.Path],
  camera: Camera,
  poses: Sequence[Pose] = (),
  masks: Sequence[pathlib.Path] = (),
  *,
  edge_jump: float = EDGE_JUMP,
  max_points: int = MAX_POINTS,
  seed: int = 0,
  with_normals: bool = False,
) -> DepthCloud:
  """The cloud of one or several depth images of an object that does not move.

  Args:
    paths: files of the images, all of one camera.
    camera: the camera; pixels beyond its range of depths are left out.
    poses: matrices from the camera to the world, or none for one image, whose points
      are in the camera's frame.
    masks: mask files (`photos.read_mask`), or none; other pixels are left out.
    edge_jump: see `find_edges`, whose pixels are left out; infinity keeps them.
    max_points: points that are drawn at random from more.
    seed: seed of the drawn points.
    with_normals: fit normals to the points of each view.

  Raises:
    ValueError: a file cannot be used (the message names it), several images have no
      poses, or no pixel is left.
  """
  if not poses and len(paths) > 1:
    raise ValueError(
      f"{len(paths)} depth images of one object without poses; want --poses=poses.json"
    )
  clouds, normals, pixels = [], [], dict.fromkeys(_OUTCOMES, 0)
  for index, path in enumerate(paths):
    depth = read_depth(path, camera.scale)
    mask = _read_mask(masks[index], path, depth) if masks else None
    outcome = _sort_pixels(depth, camera, mask, edge_jump)
    counts = np.bincount(outcome.reshape(-1), minlength=len(_OUTCOMES))
    for name, count in zip(_OUTCOMES, counts.tolist(), strict=True):
      pixels[name] += count
    depth = np.where(outcome == 0, depth, np.nan)
    try:
      clouds.append(to_cloud(depth, camera, poses[index] if poses else None))
    except ValueError as error:
      raise ValueError(f"{path}: {error}") from error
    if with_normals:
      eye = poses[index][:3, 3] if poses else np.zeros(3)
      normals.append(normals_lib.estimate(clouds[-1], eye))
  points = np.concatenate(clouds)
  directions = np.concatenate(normals) if with_normals else None
  if not len(points):
    raise ValueError(
      f"{paths[0]}: no depth is left: {describe(pixels)}; want a depth image of the "
      "object, or a wider depth_range, scale or mask"
    )
  if len(points) > max_points:
    rng = np.random.default_rng(seed)
    chosen = rng.choice(len(points), max_points, replace=False)
    points = points[chosen]
    directions = None if directions is None else directions[chosen]
  return DepthCloud(points, directions, pixels)


def describe(pixels: Mapping[str, int]) -> str:
  """What became of the pixels of depth images, in words."""
  used, *dropped = _OUTCOMES
  reasons = ", ".join(f"{pixels[name]} {name}" for name in dropped)
  total = sum(pixels.values())
  return f"{pixels[used]} of {total} pixels {used}; dropped: {reasons}"


def _sort_pixels(
  depth: Depth, camera: Camera, mask: np.ndarray | None, edge_jump: float
) -> np.ndarray:
  """Index into _OUTCOMES of every pixel, (h, w)."""
  # Edges are those of all depths: at the border of a mask they tell object from
  # background, of which the mask may have kept a seam.
  is_edge = find_edges(depth, edge_jump)
  is_outside = np.zeros(depth.shape, bool) if mask is None else ~mask
  is_beyond = (depth < camera.near) | (depth > camera.far)
  reasons = [np.isnan(depth), is_beyond, is_outside, is_edge]
  return np.select(reasons, [1, 2, 3, 4], 0)


def _check_size(depth: Depth, camera: Camera) -> None:
  height, width = depth.shape
  if camera.size not in (None, (width, height)):
    own_width, own_height = camera.size
    raise ValueError(
      f"an image of {width} x {height} pixels, want {own_width} x {own_height} as in "
      "the camera file; give the intrinsics of this size"
    )


def _read_mask(
  mask_path: pathlib.Path, path: pathlib.Path, depth: Depth
) -> Bool[np.ndarray, "h w"]:
  if not mask_path.is_file():
    raise ValueError(f"{path}: has no mask {mask_path}, want one for every depth image")
  mask = photos.read_mask(mask_path)
  if mask.shape != depth.shape:
    (height, width), (own_height, own_width) = depth.shape, mask.shape
    raise ValueError(
      f"{mask_path}: a mask of {own_width} x {own_height} pixels, want {width} x "
      f"{height} as {path} has; scale the mask to that"
    )
  return mask


def _read_values(path: pathlib.Path) -> np.ndarray:
  """The numbers of a file as they are stored."""
  suffix = path.suffix.lower()
  if suffix == ".npy":
    return np.load(path, allow_pickle=False)
  if suffix == ".exr":
    return _read_exr(path)
  with Image.open(path) as image:
    return np.asarray(image)


def _read_exr(path: pathlib.Path) -> np.ndarray:
  import OpenEXR

  channels: dict[str, Any] = OpenEXR.File(str(path), separate_channels=True).channels()
  for name in _CHANNELS:
    if name in channels:
      return channels[name].pixels
  raise ValueError(f"channels {', '.join(channels)}; want Z")
