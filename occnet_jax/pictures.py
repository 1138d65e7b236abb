"""Pictures of meshes, without a display (host)."""

import pathlib
from collections.abc import Sequence

import numpy as np
import trimesh
from jaxtyping import UInt8
from PIL import Image

from occnet_jax.files import write_aside
from occnet_jax.geometry import cameras

AZIMUTH, ELEVATION = 30.0, 25.0  # degrees: the face of the object, from its left


def picture(mesh: trimesh.Trimesh, side: int = 256) -> UInt8[np.ndarray, "h h 3"]:
  """A mesh of the cube's frame before white; plain white if it has no face."""
  from data_prep import render
  from data_prep.solid import Solid

  if not len(mesh.faces):
    return np.full((side, side, 3), 255, np.uint8)
  vertices = np.asarray(mesh.vertices, np.float64)
  solid = Solid(vertices, np.asarray(mesh.faces, np.int64))
  # One distance for all, or a row of pictures would hide how sizes differ.
  corners = np.stack(np.meshgrid(*[[-0.5, 0.5]] * 3), -1).reshape(-1, 3)
  distance = cameras.closest_distance(corners, AZIMUTH, ELEVATION)
  world = cameras.world_matrix(AZIMUTH, ELEVATION, distance)
  return render.render(render.Scene(solid), world, cameras.camera_matrix(side), side)


def write_sheet(
  path: pathlib.Path,
  meshes: Sequence[trimesh.Trimesh],
  *,
  columns: int,
  side: int = 256,
) -> None:
  """Writes a PNG with a picture of every mesh, row by row."""
  rows = -(-len(meshes) // columns)
  sheet = np.full((rows * side, columns * side, 3), 255, np.uint8)
  for i, mesh in enumerate(meshes):
    top, left = i // columns * side, i % columns * side
    sheet[top : top + side, left : left + side] = picture(mesh, side)
  with write_aside(path) as scratch, scratch.open("wb") as file:
    Image.fromarray(sheet).save(file, "PNG")
