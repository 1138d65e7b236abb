"""Pictures of meshes and inputs, and PNG sheets of them, without a display (host).

Shape letters: n points, h side of a picture.
"""

import io
import pathlib
from collections.abc import Sequence

import numpy as np
import trimesh
from jaxtyping import Float, UInt8
from PIL import Image

from occnet_jax.files import atomic_write
from occnet_jax.geometry import frames, photos, rendering
from occnet_jax.viz.panes import Mesh, ReportShape

Picture = UInt8[np.ndarray, "h h 3"]
MAX_BALLS = 2000  # points drawn of a true surface that has no mesh
INPUT_SIDE = 224  # pixels of a picture of one input, or of one reconstruction
MAX_INPUT_BALLS, INPUT_BALL_RADIUS = 3000, 0.008  # of a cloud; in units of its extent
FRONT, BACK = 330.0, 150.0  # azimuths of reconstructions in degrees


def write_sheet(
  path: pathlib.Path,
  meshes: Sequence[trimesh.Trimesh],
  *,
  columns: int,
  side: int = 256,
) -> None:
  """Writes a PNG with a picture of every mesh, row by row.

  Args:
    path: PNG file to write.
    meshes: meshes in the unit-cube frame, or points without faces.
    columns: number of pictures in a row.
    side: side length of a picture in pixels.
  """
  tiles = [tile((np.asarray(m.vertices), np.asarray(m.faces)), side) for m in meshes]
  write_tiles(path, tiles, columns)


def write_shapes(
  path: pathlib.Path, shapes: Sequence[ReportShape], side: int = 192
) -> None:
  """Writes a PNG of shapes, two a row: input, reconstruction, truth.

  The tile of a missing input or reconstruction is white.
  """
  tiles = []
  for shape in shapes:
    truth = shape.truth or _balls(
      shape.truth_points[:MAX_BALLS], trimesh.creation.icosphere(1, 0.012)
    )
    tiles.append(tile(shape.observation, side))
    tiles += [tile(mesh, side) for mesh in (shape.reconstruction, truth)]
  write_tiles(path, tiles, columns=6)


def draw_input(kind: str, observed: np.ndarray) -> Picture | None:
  """An object as `user_inputs.read_item` returns it; None if it cannot be drawn.

  Args:
    kind: kind of config.data.inputs: cloud, image, images or voxels.
    observed: (n, 3), (h, h, 3), (k, h, h, 3) or (r, r, r).
  """
  if kind.startswith("image"):
    return photos.contact_sheet(observed if observed.ndim == 4 else observed[None])
  if not rendering.is_available() or not observed.any():
    return None
  if kind == "voxels":
    boxes = trimesh.voxel.VoxelGrid(observed > 0).as_boxes()
    vertices, faces = np.asarray(boxes.vertices), np.asarray(boxes.faces)
  else:
    vertices, faces = _balls_of_cloud(observed)
  return rendering.draw(vertices, faces, INPUT_SIDE, azimuth=FRONT, fit=True)


def draw_front_and_back(mesh: trimesh.Trimesh) -> dict[str, Picture]:
  """Pictures "front" and "back" of a mesh, or of points; {} without Embree."""
  if not rendering.is_available():
    return {}
  vertices, faces = np.asarray(mesh.vertices), np.asarray(mesh.faces)
  if len(vertices) and not len(faces):
    vertices, faces = _balls_of_cloud(vertices)
  return {
    name: rendering.draw(vertices, faces, INPUT_SIDE, azimuth=azimuth, fit=True)
    for name, azimuth in (("front", FRONT), ("back", BACK))
  }


def tile(part: np.ndarray | Mesh | None, side: int) -> Picture:
  """A cloud, a mesh, the first of some images, or white for None."""
  if part is None:
    return np.full((side, side, 3), 255, np.uint8)
  if isinstance(part, np.ndarray) and part.ndim > 2:
    image = Image.fromarray(np.uint8(255 * part.reshape(-1, *part.shape[-3:])[0]))
    return np.asarray(image.resize((side, side), Image.Resampling.BICUBIC))
  if isinstance(part, np.ndarray):
    part = _balls(part, trimesh.creation.icosphere(1, 0.012))
  elif len(part[0]) and not len(part[1]):  # points without faces
    part = _balls(part[0], trimesh.creation.icosphere(1, 0.012))
  return rendering.draw(*part, side)


def _balls_of_cloud(cloud: Float[np.ndarray, "n 3"]) -> Mesh:
  """Balls at some points of a cloud in any frame, in that of the unit cube."""
  points = frames.to_frame(cloud, *frames.cloud_frame(cloud))
  points = points[:: -(-len(points) // MAX_INPUT_BALLS)]
  ball = trimesh.creation.icosahedron().apply_scale(INPUT_BALL_RADIUS)
  return _balls(points, ball)


def _balls(points: Float[np.ndarray, "n 3"], ball: trimesh.Trimesh) -> Mesh:
  """Vertices and faces of a ball around each point."""
  vertices = points[:, None] + np.asarray(ball.vertices)[None]
  first = len(ball.vertices) * np.arange(len(points)).reshape(-1, 1, 1)
  return vertices.reshape(-1, 3), (first + ball.faces[None]).reshape(-1, 3)


def write_tiles(path: pathlib.Path, tiles: Sequence[Picture], columns: int) -> None:
  """Writes a PNG of pictures of one side, row by row."""
  with atomic_write(path) as scratch, scratch.open("wb") as file:
    file.write(png(tiles, columns))


def png(tiles: Sequence[Picture], columns: int) -> bytes:
  """A PNG file of pictures of one side, row by row."""
  side = len(tiles[0]) if tiles else 1
  sheet = np.full((-(-len(tiles) // columns) * side, columns * side, 3), 255, np.uint8)
  for i, tile in enumerate(tiles):
    top, left = i // columns * side, i % columns * side
    sheet[top : top + side, left : left + side] = tile
  file = io.BytesIO()
  Image.fromarray(sheet).save(file, "PNG", optimize=True)
  return file.getvalue()
