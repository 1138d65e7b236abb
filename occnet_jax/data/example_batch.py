"""Batches of zeros, from which the forms of variables follow (host).

Apart from the loader, so that using a trained network imports none of it.

Shape letters: b shapes, t points.
"""

import jax
import numpy as np

from occnet_jax.config import DataSettings
from occnet_jax.data import inputs
from occnet_jax.types import Batch


def example_batch(data: DataSettings, shapes: int = 1) -> Batch:
  """A batch of zeros with the shapes and types that training has; reads nothing.

  Where a config asks for all stored points (0), it has a single one, because no
  variable of a network depends on their number.

  Args:
    data: settings of the data.
    shapes: b.
  """
  spec, t = inputs.make(data).spec, data.points or 1
  batch = {
    "points": np.zeros((shapes, t, 3), np.float32),
    "occupancies": np.zeros((shapes, t), np.float32),
    "inputs": jax.tree.map(lambda array: np.repeat(array[None], shapes, axis=0), spec),
  }
  if "distances" in data.targets:
    batch["distances"] = np.zeros_like(batch["occupancies"])
  if "surface" in data.targets:
    batch["surface"] = np.zeros_like(batch["points"])
    batch["normals"] = np.zeros_like(batch["points"])
  if "cloud_normals" in data.targets:
    batch["cloud_normals"] = np.zeros_like(batch["inputs"])
  if "voxels" in data.targets:
    batch["voxels"] = np.zeros((shapes, *[data.voxel_side] * 3), np.float32)
  return batch
