"""What a user brings, a file or an array, as inputs of a network (host, numpy)."""

import os
import pathlib

import numpy as np
import trimesh
from jaxtyping import Float


def read_grid(path: str | os.PathLike, side: int) -> Float[np.ndarray, "r r r"]:
  """An occupancy grid of 0 and 1, indexed (x, y, z).

  Args:
    path: NPY, NPZ with the array `voxels`, or binvox.
    side: r. Another size, other values and broken files are a ValueError.
  """
  try:
    if pathlib.Path(path).suffix.lower() == ".binvox":
      grid = np.asarray(trimesh.load(path).matrix)
    else:
      grid = np.load(path, allow_pickle=False)
      grid = grid if isinstance(grid, np.ndarray) else grid["voxels"]
  except Exception as error:  # whatever a parser may raise on a broken file
    raise ValueError(
      f"{path}: cannot be read as a grid ({type(error).__name__}: {error}); want NPY, "
      "NPZ with the array voxels, or binvox"
    ) from error
  if grid.shape != (side,) * 3:
    raise ValueError(
      f"{path}: a grid of shape {grid.shape}, want {(side,) * 3} as the network was "
      "trained with (config.data.voxel_side); make it anew in that size"
    )
  if not np.isin(grid, (0, 1)).all():
    raise ValueError(f"{path}: values other than 0 and 1; make it bool by a threshold")
  return grid.astype(np.float32)
