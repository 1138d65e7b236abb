"""Pictures of a volume in the patient's frame, and its mesh upright (host).

Shape letters: h w sides of a picture.
"""

import numpy as np
import trimesh
from jaxtyping import Float, Shaped
from scipy import ndimage

from occnet_jax.geometry.volumes import Volume

SIDE = 320  # pixels of the picture of a slice
DARKEST, BRIGHTEST = 1, 99  # percentiles of the values that are black and white
# From RAS+ (x right, y front, z up) to the frame of the pictures: y up, facing -z.
_UPRIGHT = np.array([[1.0, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]])


def upright(mesh: trimesh.Trimesh) -> trimesh.Trimesh:
  """A copy of a mesh in the patient's frame, with y up and the face towards -z."""
  return mesh.copy().apply_transform(_UPRIGHT)


def draw_slices(volume: Volume) -> Float[np.ndarray, "h w 3"]:
  """The middle slices from above, from the front and from the side, from 0 to 1.

  They are in the proportions of the array's spacing, whatever its orientation.
  """
  values, spacing = volume.values, volume.spacing
  few = values[tuple(slice(None, None, -(-side // 128)) for side in values.shape)]
  low, high = np.nanpercentile(few.astype(np.float32), [DARKEST, BRIGHTEST])
  pictures = []
  for axis in (2, 1, 0):
    plane = values.take(values.shape[axis] // 2, axis).astype(np.float32)
    sides = np.delete(values.shape * spacing, axis)
    pictures.append(_fit(plane, sides))
  strip = np.concatenate(pictures, axis=1)
  grey = np.nan_to_num((strip - low) / max(high - low, 1e-12)).clip(0, 1)
  return np.repeat(grey[:, :, None], 3, axis=2).astype(np.float64)


def _fit(
  plane: Shaped[np.ndarray, "a b"], sides: Float[np.ndarray, "2"]
) -> Float[np.ndarray, "h w"]:
  """A slice, its second axis upwards, in the middle of a square; NaN around it.

  Args:
    plane: values.
    sides: lengths of both axes.
  """
  wide, tall = np.maximum(1, np.rint(SIDE * sides / sides.max())).astype(int)
  columns = (np.arange(wide) + 0.5) * plane.shape[0] / wide - 0.5
  rows = (np.arange(tall)[::-1] + 0.5) * plane.shape[1] / tall - 0.5
  grid = np.meshgrid(columns, rows)
  square = np.full((SIDE, SIDE), np.nan, np.float32)
  top, left = (SIDE - tall) // 2, (SIDE - wide) // 2
  square[top : top + tall, left : left + wide] = ndimage.map_coordinates(
    plane, grid, order=1, mode="nearest"
  )
  return square
