"""A small mesh, and the volume of any."""

import numpy as np


def volume(vertices, faces):
  a, b, c = vertices[faces].transpose(1, 0, 2)
  return np.einsum("fk,fk", a, np.cross(b, c)) / 6


def pentagon_prism():
  """Corners and polygons of an upright prism, wound outward."""
  turn = 2 * np.pi * np.arange(5) / 5
  ring = np.stack([np.cos(turn), np.sin(turn)], 1)
  corners = np.concatenate([np.c_[ring, np.zeros(5)], np.c_[ring, np.ones(5)]])
  sides = [[i, (i + 1) % 5, (i + 1) % 5 + 5, i + 5] for i in range(5)]
  return corners, [[4, 3, 2, 1, 0], [5, 6, 7, 8, 9], *sides]


def l_prism(start=0):
  """Corners and polygons of a prism of area 14 and volume 3, wound outward.

  Its ground is the square of side 2 without the quadrant where x and y exceed 1; the
  polygons of its concave ends begin at the corner `start`.
  """
  ring = np.array([(0, 0), (2, 0), (2, 1), (1, 1), (1, 2), (0, 2)], float)
  corners = np.concatenate([np.c_[ring, np.zeros(6)], np.c_[ring, np.ones(6)]])
  end = [(i + start) % 6 for i in range(6)]
  sides = [[i, (i + 1) % 6, (i + 1) % 6 + 6, i + 6] for i in range(6)]
  return corners, [end[::-1], [i + 6 for i in end], *sides]
