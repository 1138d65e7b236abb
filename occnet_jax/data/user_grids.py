"""A user's file of an occupancy grid (host, numpy).

Shape letters: r grid side.
"""

import contextlib
import os
import pathlib
import re
import zipfile
from typing import NamedTuple

import numpy as np
import trimesh
from jaxtyping import Float
from scipy import ndimage

from occnet_jax import unreadable
from occnet_jax.geometry import volumes
from occnet_jax.geometry.volumes import Volume


class GridShapeError(ValueError):
  """A grid of another side than the network's."""


def read_grid(path: str | os.PathLike, side: int) -> Float[np.ndarray, "r r r"]:
  """An occupancy grid of 0 and 1, indexed (x, y, z).

  Args:
    path: NPY, NPZ with the array `voxels`, or binvox.
    side: r.

  Raises:
    ValueError: the file is broken, has another side, or values other than 0 and 1.
  """
  try:
    if pathlib.Path(path).suffix.lower() == ".binvox":
      _check_side(path, _binvox_shape(path), side)
      grid = np.asarray(trimesh.load(path).matrix)
    else:
      _check_side(path, _numpy_shape(path), side)
      grid = np.load(path, allow_pickle=False)
      grid = grid if isinstance(grid, np.ndarray) else grid["voxels"]
  except GridShapeError:
    raise
  except Exception as error:  # whatever a parser may raise on a broken file
    reason = unreadable.reason(path, error)
    raise ValueError(
      f"{path}: cannot be read as a grid ({reason}); want NPY, "
      "NPZ with the array voxels, or binvox"
    ) from error
  _check_side(path, grid.shape, side)
  if not np.isin(grid, (0, 1)).all():
    raise ValueError(f"{path}: values other than 0 and 1; make it bool by a threshold")
  return grid.astype(np.float32)


class PlacedGrid(NamedTuple):
  """An object as a grid of the unit cube, and where the cube lies.

  Attributes:
    grid: (r, r, r) of 0 and 1, indexed (x, y, z).
    loc: centre of the cube, in the frame of the volume.
    scale: its side there.
  """

  grid: Float[np.ndarray, "r r r"]
  loc: Float[np.ndarray, "3"]
  scale: float


def place_mask(volume: Volume, side: int) -> PlacedGrid:
  """The object of a segmentation as networks of voxels are trained with objects.

  Its bounding box in the volume's frame (RAS+, millimetres) has its centre in that of
  the cube and its longest side as the cube's, and a cell is 1 if its centre is inside,
  where half of the way between voxels in and out is the border.

  Args:
    volume: a mask of 0 and 1, in any direction and with voxels of any sides.
    side: r.

  Raises:
    ValueError: other values, as of several labels, or none inside.
  """
  values, affine = volume
  if not np.isin(values, (0, 1)).all():
    raise ValueError(
      "has values other than 0 and 1; want the mask of one object, such as "
      "volume == label"
    )
  inside = np.argwhere(values)
  if not len(inside):
    raise ValueError("is a mask with nothing inside; want the mask of an object")
  centres = inside @ affine[:3, :3].T + affine[:3, 3]
  reach = np.abs(affine[:3, :3]).sum(1) / 2  # of a voxel from its centre, along x, y, z
  low, high = centres.min(0) - reach, centres.max(0) + reach
  loc, scale = (low + high) / 2, float((high - low).max())
  cells = (np.indices((side,) * 3).reshape(3, -1) + 0.5) / side - 0.5
  back = np.linalg.inv(affine)
  indices = back[:3, :3] @ (scale * cells + loc[:, None]) + back[:3, 3:]
  shares = ndimage.map_coordinates(
    np.asarray(values, np.float32), indices, order=1, mode="constant"
  )
  # Just below one half, so that rounding does not open a border through cells' centres.
  grid = shares.reshape((side,) * 3) >= 0.5 - 1e-6
  return PlacedGrid(grid.astype(np.float32), loc, scale)


def read_mask(path: str | os.PathLike, side: int) -> PlacedGrid:
  """The `place_mask` of a file that `volumes.read_volume` reads, and its errors."""
  volume = volumes.read_volume(path)
  try:
    return place_mask(volume, side)
  except ValueError as error:
    raise ValueError(f"{path}: {error}") from error


def _binvox_shape(path: str | os.PathLike) -> tuple[int, ...]:
  """The shape in the header of a binvox file; Trimesh reads cubes only."""
  with open(path, "rb") as stream:
    head = stream.read(1000)
  dim = re.search(rb"^dim((?: +\d+){3})\s*$", head, re.MULTILINE)
  if dim is None:
    raise ValueError("has no line with dim and three numbers")
  return tuple(map(int, dim[1].split()))


def _numpy_shape(path: str | os.PathLike) -> tuple[int, ...]:
  """The shape in the header of an NPY file, or of the array voxels of an NPZ file."""
  with contextlib.ExitStack() as stack:
    stream = stack.enter_context(open(path, "rb"))
    if zipfile.is_zipfile(stream):
      archive = stack.enter_context(zipfile.ZipFile(stream))
      stream = stack.enter_context(archive.open("voxels.npy"))
    else:
      stream.seek(0)
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0
    if version > (1, 0):
      read = np.lib.format.read_array_header_2_0
    return read(stream)[0]


def _check_side(path: str | os.PathLike, shape: tuple[int, ...], side: int) -> None:
  if shape != (side,) * 3:
    raise GridShapeError(
      f"{path}: a grid of shape {shape}, want {(side,) * 3} as the network was trained "
      "with (config.data.voxel_side); make it again in that size"
    )
