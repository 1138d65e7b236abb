"""A texture of a mesh, baked from the colours of a cloud (host, numpy).

Every triangle has its own half of a square cell of the picture, so that no library has
to unfold the mesh. A cell of s x s texels, for s = 6 (A and B are its two triangles,
whose corners lie in the centres of the texels in brackets):

  row 0   [A] A  A [A] A  B      m = s - 3 texels from corner to corner. A sampler
  row 1    A  A  A  A  B  B      mixes the four texels around a place, so for A those
  row 2    A  A  A  B  B [B]     up to column + row = m + 1 are filled, and for B those
  row 3   [A] A  B  B  B  B      from 2 (s - 1) - (m + 1) on: all of them, none twice.
  row 4    A  B  B  B  B  B
  row 5    B  B [B] B  B [B]

Shape letters: n points, v vertices, f faces, h w sides of the picture.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, UInt8

from occnet_jax.geometry import colours as colours_lib
from occnet_jax.geometry.colours import Cloud

SMALLEST_CELL = 4  # texels: one from corner to corner
USUAL_SIDE, LARGEST_SIDE = 2048, 4096  # texels
PER_POINT = 4  # texels of a cloud's point; more would show nothing new


class Texture(NamedTuple):
  """A picture, and where the corners of each triangle lie in it.

  Attributes:
    places: (f, 3, 2), from (0, 0) to (1, 1), the first to the right and the second
      downwards, as in glTF.
    image: (h, w, 3) sRGB of 8 bits.
  """

  places: Float[np.ndarray, "f 3 2"]
  image: UInt8[np.ndarray, "h w 3"]


def bake(
  vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"], cloud: Cloud
) -> Texture:
  """The colours of a cloud on a mesh in its frame, as `colours.at_vertices` mixes them.

  Args:
    vertices, faces: the mesh.
    cloud: points with colours.

  Raises:
    ValueError: a cloud without colours, or a mesh without faces or with so many that
      their cells fill more than a picture of LARGEST_SIDE.
  """
  if cloud.colours is None:
    raise ValueError("a texture is baked from colours, and the input has none")
  if not len(faces):
    raise ValueError("a texture is for faces, and these are points")
  in_row = int(np.ceil(np.sqrt(-(-len(faces) // 2))))  # cells, of two triangles each
  if in_row * SMALLEST_CELL > LARGEST_SIDE:
    most = 2 * (LARGEST_SIDE // SMALLEST_CELL) ** 2
    raise ValueError(
      f"{len(faces):,} faces, want at most {most:,} for a texture; simplify the mesh"
    )
  useful = int(np.sqrt(PER_POINT * len(cloud)))
  cell = max(SMALLEST_CELL, min(USUAL_SIDE, useful) // in_row)
  corners = _corners(cell)
  numbers = np.arange(len(faces))
  row, column = np.divmod(numbers // 2, in_row)
  start = cell * np.stack([column, row], axis=1)[:, None]
  side = cell * in_row
  places = (start + corners[numbers % 2] + 0.5) / side  # centres of texels
  image = np.zeros((side, side, 3), np.uint8)
  for half in range(2):
    texels, weights = _fill(cell, half)
    chosen = numbers[half::2]
    if not len(chosen):
      continue
    points = np.einsum("tc,fcx->ftx", weights, vertices[faces[chosen]])
    colours = colours_lib.at_vertices(points.reshape(-1, 3), cloud)
    at = (start[chosen] + texels).reshape(-1, 2)
    image[at[:, 1], at[:, 0]] = colours
  return Texture(places, image)


def _corners(cell: int) -> Int[np.ndarray, "2 3 2"]:
  """Texels (column, row) of the corners of both triangles in a cell."""
  reach = cell - 3
  first = np.array([[0, 0], [reach, 0], [0, reach]])
  return np.stack([first, cell - 1 - first])


def _fill(
  cell: int, half: int
) -> tuple[Int[np.ndarray, "t 2"], Float[np.ndarray, "t 3"]]:
  """Texels that a triangle needs, and the shares of its corners there.

  Texels beyond its long side get what is nearest on that side.
  """
  reach = cell - 3
  texels = np.argwhere(np.add.outer(np.arange(cell), np.arange(cell)) <= reach + 1)
  shares = texels / reach
  over = np.maximum(shares.sum(1, keepdims=True) - 1, 0)
  shares = np.clip(shares - over / 2, 0, 1)
  weights = np.column_stack([1 - shares.sum(1), shares])
  return (cell - 1 - texels if half else texels), np.clip(weights, 0, 1)
