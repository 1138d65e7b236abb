"""Windows of a scene, drawn at random for training (host, numpy).

Peng et al., "Convolutional Occupancy Networks", ECCV 2020, supplementary: the centre of
a window is uniform in the bounding box of the cloud, and query points are drawn with
replacement from the labelled points in its middle. Published code drops an example
without a point there, which at times leaves an empty batch; here another centre is
drawn. Centres are corners of cells, so that cells are the same ones in all windows.

Shape letters: N stored points, t query points, m stored surface points.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, Shaped

ATTEMPTS = 100


class Window(NamedTuple):
  """Size of the middle of a window, in which points are drawn.

  Attributes:
    query: side of the middle, in cube units.
    unit: side of a cell in cube units; centres are multiples of it.
  """

  query: float
  unit: float


def make(crop: tuple[float, ...]) -> Window | None:
  """The window that config.data.crop describes; None for whole shapes.

  Raises:
    ValueError: not two lengths, or a middle smaller than a cell.
  """
  if not crop:
    return None
  if len(crop) != 2 or not 0 < crop[1] <= crop[0]:
    raise ValueError(
      f"config.data.crop is {tuple(crop)}; want the side of the middle of a window and "
      "that of a cell, at most as large, or () for whole shapes"
    )
  return Window(*crop)


def draw(
  points: Shaped[np.ndarray, "N 3"],
  surface: Shaped[np.ndarray, "m 3"],
  rng: np.random.Generator,
  window: Window,
  count: int,
) -> tuple[Float[np.ndarray, "3"], Int[np.ndarray, " t"]]:
  """The centre of a window, and rows of labelled points in its middle.

  Args:
    points: the labelled points.
    surface: points on the surface, for their bounding box.
    rng: generator of the centre and of the rows.
    window: the size of the middle; both of its borders are in it.
    count: t, with replacement.
  """
  sparse = surface[::8].astype(np.float64)
  lower, upper = sparse.min(0), sparse.max(0)
  points = points.astype(np.float32)
  for _ in range(ATTEMPTS):
    centre = _snap(rng.uniform(lower, upper), window.unit)
    rows = _rows_within(points, centre, window.query)
    if len(rows):
      break
  else:  # hardly any labelled points in the box: about one of them
    centre = _snap(points[rng.integers(len(points))], window.unit)
    rows = _rows_within(points, centre, window.query)
  return centre.astype(np.float32), rows[rng.integers(len(rows), size=count)]


def _snap(point: Float[np.ndarray, "3"], unit: float) -> Float[np.ndarray, "3"]:
  """The nearest multiple of the unit, at most half a unit away along an axis."""
  return np.rint(point.astype(np.float64) / unit) * unit


def _rows_within(
  points: Float[np.ndarray, "N 3"], centre: Float[np.ndarray, "3"], side: float
) -> Int[np.ndarray, " k"]:
  # A rounding of float32 to spare, for a point half a unit from its own centre.
  reach = np.float32(side / 2 * (1 + 1e-5))
  return np.flatnonzero((np.abs(points - centre.astype(np.float32)) <= reach).all(1))
