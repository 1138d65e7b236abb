"""A user's depth images in place of clouds (host, numpy).

Shape letter: n points.
"""

import collections
import hashlib
import os
import pathlib
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from occnet_jax.geometry import depth, depth_cameras
from occnet_jax.geometry.colours import Cloud
from occnet_jax.geometry.depth_cameras import Pose

ACCEPTED = ("depth images", depth.SUFFIXES)  # as in `user_inputs.ACCEPTED`


class DepthInputs:
  """The camera of depth images, and their poses if there are any.

  Args:
    intrinsics: the camera file, see `depth_cameras.read_camera`.
    poses: the file of poses, see `depth_cameras.read_poses`; None for images that are
      an object each.
    with_normals: fit normals to the points of each view, towards its camera.

  Attributes:
    pixels: number of pixels by what became of them, over all images that were read.
    origin: digests of both files and the choice of normals, which tell their clouds
      from others.

  Raises:
    ValueError: a file cannot be used.
  """

  def __init__(
    self,
    intrinsics: str | os.PathLike,
    poses: str | os.PathLike | None = None,
    *,
    with_normals: bool = False,
  ):
    self.pixels: collections.Counter[str] = collections.Counter()
    self._camera = depth_cameras.read_camera(intrinsics)
    self._poses = None if poses is None else depth_cameras.read_poses(poses)
    self._poses_path = poses
    self._with_normals = with_normals
    self.origin = {
      name: hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()
      for name, path in (("intrinsics", intrinsics), ("poses", poses))
      if path is not None
    }
    if with_normals:
      self.origin["camera_normals"] = "fitted"

  @property
  def is_posed(self) -> bool:
    """Whether there are poses, so that several images can show one object."""
    return self._poses is not None

  def find_poses(
    self, paths: Sequence[pathlib.Path], root: pathlib.Path
  ) -> dict[pathlib.Path, Pose]:
    """The pose of each image: that of its path within a folder, or of its bare name.

    Raises:
      ValueError: there are poses, but not of all images.
    """
    if self._poses is None:
      return {}
    poses = {
      path: self._poses.get(
        path.relative_to(root).as_posix(), self._poses.get(path.name)
      )
      for path in paths
    }
    lacking = [path for path, pose in poses.items() if pose is None]
    if lacking:
      names = ", ".join(path.relative_to(root).as_posix() for path in lacking[:3])
      more = ", ..." if len(lacking) > 3 else ""
      raise ValueError(
        f"{self._poses_path}: has no pose of {len(lacking)} of {len(paths)} images "
        f"({names}{more}); want one for each, under its name"
      )
    return poses

  def read(
    self,
    paths: Sequence[pathlib.Path],
    masks: Sequence[pathlib.Path],
    poses: Sequence[Pose],
  ) -> Float[np.ndarray, "n 3"] | Cloud:
    """The cloud of the images of an object, see `depth.read_views`."""
    cloud = depth.read_views(
      paths, self._camera, poses, masks, with_normals=self._with_normals
    )
    self.pixels.update(cloud.pixels)
    if cloud.normals is None:
      return cloud.points
    return Cloud(cloud.points, normals=cloud.normals, outward=True)

  def describe(self) -> str:
    """What became of the pixels, in words."""
    return depth.describe(self.pixels)


def open_inputs(
  intrinsics: str | os.PathLike | None,
  poses: str | os.PathLike | None,
  *,
  with_normals: bool = False,
) -> DepthInputs | None:
  """Both files as options of a command name them; None without either.

  Raises:
    ValueError: there are poses or normals but no camera, or a file cannot be used.
  """
  if intrinsics is not None:
    return DepthInputs(intrinsics, poses, with_normals=with_normals)
  if with_normals:
    raise ValueError(
      "--camera-normals is for depth images; want --intrinsics=camera.json with it"
    )
  if poses is not None:
    raise ValueError(
      f"--poses={poses}: is for depth images; want --intrinsics=camera.json with it"
    )
  return None
