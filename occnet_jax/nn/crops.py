"""Cells and positions in a window of a scene (device, jnp).

A network of windows sees a cube about the origin, divided into r cells a side, r even,
and leaves what lies outside alone; so it serves scenes of any size, a window at a time.
What its layers get of a position is where in its cell a point is, not where in the
scene. Along an axis, with r = 4 and t = p / unit_size,

  cells         |  0  |  1  |  2  |  3  |    a point is in cell floor(t) + r / 2
  t            -2    -1     0     1     2    and at t - floor(t) within it

so that cell and position change at the same place.

Peng et al., "Convolutional Occupancy Networks", ECCV 2020, section 4.5 and
supplementary. Shape letters: b shapes, n points, k features.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from occnet_jax.nn.positional import fourier_features

OCTAVES = 10  # frequencies of "sin_cos"


class Crop(NamedTuple):
  """A window of cells in place of the padded cube.

  Attributes:
    unit_size: side of a cell.
    coordinates: a key of `COORDINATES`, what layers get of a position.
    read_at: "nodes" or "cells", where features of the cells are taken to lie when they
      are read: on nodes from border to border of the window, as published, or in the
      centres of the cells. Only the latter does not depend on where the window is.
  """

  unit_size: float
  coordinates: str = "local"
  read_at: str = "nodes"


READ_AT = ("nodes", "cells")


def find_indices(
  points: Float[Array, "b n 3"], side: int, crop: Crop
) -> tuple[Int[Array, "b n 3"], Bool[Array, "b n"]]:
  """The cell of every point along each axis, and whether it is in the window.

  The window is half-open: a point on its upper faces is outside. (Published code counts
  it to the window and finds it in the first cell of the next row.)
  """
  index = jnp.floor(points / crop.unit_size).astype(jnp.int32) + side // 2
  return index, ((index >= 0) & (index < side)).all(-1)


def read_positions(
  points: Float[Array, "b t d"], side: int, crop: Crop
) -> Float[Array, "b t d"]:
  """Positions at which cells are interpolated, 0 in the first and side - 1 in the last.

  On "nodes" the shift against the centres of the cells grows from -1/2 to 1/2 of a cell
  between the borders of the window, as in the padded cube (nn/grid_features.py).
  """
  cells = points / crop.unit_size + side / 2  # 0 .. side in the window
  return cells * ((side - 1) / side) if crop.read_at == "nodes" else cells - 0.5


def encode_positions(
  points: Float[Array, "b n 3"], crop: Crop | None, octaves: int = 0
) -> Float[Array, "b n k"]:
  """What the first layer of an encoder or a decoder gets of positions.

  Args:
    points: in the frame of the window or of the cube.
    crop: the window; None for the cube.
    octaves: frequencies of Fourier features in the cube.
  """
  if crop is None:
    return fourier_features(points, octaves)
  return COORDINATES[crop.coordinates](points, crop)


def _within_cell(points: Float[Array, "b n 3"], crop: Crop) -> Float[Array, "b n 3"]:
  cells = points / crop.unit_size
  return cells - jnp.floor(cells)


def _waves_within_cell(
  points: Float[Array, "b n 3"], crop: Crop
) -> Float[Array, "b n 60"]:
  """sin and cos of 2^i pi (2 l - 1), i = 0 .. 9, three of each before the next i."""
  waves = (2.0 ** jnp.arange(OCTAVES) * jnp.pi).reshape(1, 1, -1, 1)
  phases = waves * (2 * _within_cell(points, crop) - 1)[..., None, :]
  both = jnp.concatenate([jnp.sin(phases), jnp.cos(phases)], -1)
  return both.reshape(*points.shape[:2], 6 * OCTAVES)


COORDINATES = {
  "": lambda points, crop: points,
  "local": _within_cell,
  "sin_cos": _waves_within_cell,
}
