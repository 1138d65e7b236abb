"""Sizes, a frame and a grid, shared by the tests of the reference's layout."""

import numpy as np

NUMBERS = {
  "points": 1000,
  "near_points": 0,
  "surface_points": 500,
  "voxel_side": 4,
  "dtype": "float16",
  "views": 2,
}
LOC, SCALE = np.array([0.5, -2.0, 3.0]), 4.0


def make_cells():
  """A grid that tells its axes apart."""
  cells = np.zeros((4, 4, 4), bool)
  cells[3, 0, 0] = cells[1, 2, 0] = cells[0, 1, 3] = True
  return cells
