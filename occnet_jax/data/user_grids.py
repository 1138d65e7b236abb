"""A user's file of an occupancy grid (host, numpy).

Shape letters: r grid side.
"""

import contextlib
import os
import pathlib
import re
import zipfile

import numpy as np
import trimesh
from jaxtyping import Float

from occnet_jax import unreadable


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
