"""Pictures of meshes, without a display (host)."""

import pathlib
from collections.abc import Sequence

import numpy as np
import trimesh
from jaxtyping import Float, UInt8
from PIL import Image

from occnet_jax.files import atomic_write
from occnet_jax.geometry import rendering
from occnet_jax.viz.report import ReportShape

BALLS = 2000  # points of a true surface that is known by points only


def picture(mesh: trimesh.Trimesh, side: int = 256) -> UInt8[np.ndarray, "h h 3"]:
  """A mesh of the unit-cube frame on a white background."""
  return rendering.draw(np.asarray(mesh.vertices), np.asarray(mesh.faces), side)


def write_sheet(
  path: pathlib.Path,
  meshes: Sequence[trimesh.Trimesh],
  *,
  columns: int,
  side: int = 256,
) -> None:
  """Writes a PNG with a picture of every mesh, row by row."""
  _write_tiles(path, [picture(mesh, side) for mesh in meshes], columns)


def write_shapes(
  path: pathlib.Path, shapes: Sequence[ReportShape], side: int = 192
) -> None:
  """Writes a PNG of shapes, two a row: what was seen, the reconstruction, the truth.

  What the network did not see and what was not reconstructed stays white.
  """
  tiles = []
  for shape in shapes:
    truth = shape.truth or _balls(shape.truth_points[:BALLS])
    for part in (shape.seen, shape.reconstruction, truth):
      if part is None:
        part = np.zeros((0, 3))
      if isinstance(part, np.ndarray) and part.ndim > 2:  # a picture, or the first
        image = Image.fromarray(np.uint8(255 * part.reshape(-1, *part.shape[-3:])[0]))
        tiles.append(np.asarray(image.resize((side, side), Image.Resampling.BICUBIC)))
        continue
      vertices, faces = part if isinstance(part, tuple) else _balls(part)
      tiles.append(picture(trimesh.Trimesh(vertices, faces, process=False), side))
  _write_tiles(path, tiles, columns=6)


def _balls(points: Float[np.ndarray, "n 3"]) -> tuple[np.ndarray, np.ndarray]:
  """Vertices and faces of a small ball around each point."""
  ball = trimesh.creation.icosphere(1, 0.012)
  vertices = points[:, None] + ball.vertices[None]
  first = len(ball.vertices) * np.arange(len(points)).reshape(-1, 1, 1)
  return vertices.reshape(-1, 3), (first + ball.faces[None]).reshape(-1, 3)


def _write_tiles(
  path: pathlib.Path, tiles: Sequence[UInt8[np.ndarray, "h h 3"]], columns: int
) -> None:
  side = len(tiles[0]) if tiles else 1
  sheet = np.full((-(-len(tiles) // columns) * side, columns * side, 3), 255, np.uint8)
  for i, tile in enumerate(tiles):
    top, left = i // columns * side, i % columns * side
    sheet[top : top + side, left : left + side] = tile
  with atomic_write(path) as scratch, scratch.open("wb") as file:
    Image.fromarray(sheet).save(file, "PNG", optimize=True)
