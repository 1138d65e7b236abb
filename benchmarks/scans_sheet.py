"""Picture of scanned objects: a cloud, its mesh, and the object, side by side.

  python -m benchmarks.scans_sheet --model=scan --out=docs/scans.png

The objects and their clouds are those of benchmarks/scans.py; --input names one of its
kinds of cloud.
"""

import argparse
import pathlib
import zlib

import numpy as np
import trimesh
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

import occnet_jax
from benchmarks import scans
from occnet_jax.files import atomic_write
from occnet_jax.geometry import frames, rendering

SHOWN = ("mug", "headphones", "stanfordbunny", "scissors", "teapot", "hammer")
SHOWN += ("wineglass", "airplane")
SIDE, GAP, HEADING = 220, 12, 34  # pixels
ZOOM = 1.3  # of cubes, whose corners nothing reaches
COLUMNS = 2  # objects side by side
BALLS, RADIUS = 2500, 0.008  # drawn of a cloud
TITLES = ("Points", "Mesh", "Object")


def draw(mesh: trimesh.Trimesh, box: np.ndarray) -> UInt8[np.ndarray, "s s 3"]:
  """A mesh as it lies in a box, which fills the picture; z, which is up there, is y."""
  vertices = frames.to_frame(np.asarray(mesh.vertices), *frames.unit_cube_frame(box))
  upright = ZOOM * vertices[:, [0, 2, 1]] * [1, 1, -1]
  return rendering.draw(upright, np.asarray(mesh.faces), SIDE)


def as_balls(cloud: np.ndarray) -> trimesh.Trimesh:
  ball = trimesh.creation.icosphere(1, RADIUS)
  points = cloud[:BALLS]
  vertices = points[:, None] + np.asarray(ball.vertices)
  first = len(ball.vertices) * np.arange(len(points)).reshape(-1, 1, 1)
  faces = (first + ball.faces).reshape(-1, 3)
  return trimesh.Trimesh(vertices.reshape(-1, 3), faces, process=False)


def draw_object(
  model: occnet_jax.Model, name: str, mesh: trimesh.Trimesh, kind: str
) -> UInt8[np.ndarray, "s w 3"]:
  truth = scans.sample_truth(mesh)
  seed = zlib.crc32(name.encode())
  cloud, *_ = scans.observe(truth, scans.INPUTS[kind], seed=seed)
  made = model.reconstruct(cloud)
  return np.concatenate(
    [draw(x, mesh.bounds) for x in (as_balls(cloud), made, mesh)], 1
  )


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--model", default="scan")
  parser.add_argument("--out", type=pathlib.Path, required=True)
  parser.add_argument("--objects", type=pathlib.Path, default="runs/scans")
  parser.add_argument("--input", choices=scans.INPUTS, default="3,000 points")
  args = parser.parse_args()
  args.objects.mkdir(parents=True, exist_ok=True)
  model = occnet_jax.from_pretrained(args.model)
  objects = scans.load_objects(args.objects)
  names = [name for name in SHOWN if name in objects]
  tiles = [draw_object(model, name, objects[name], args.input) for name in names]
  rows = -(-len(tiles) // COLUMNS)
  width = tiles[0].shape[1]
  size = COLUMNS * width + (COLUMNS - 1) * GAP, rows * SIDE + HEADING
  sheet = Image.new("RGB", size, "white")
  for i, tile in enumerate(tiles):
    left = i % COLUMNS * (width + GAP)
    sheet.paste(Image.fromarray(tile), (left, HEADING + i // COLUMNS * SIDE))
  pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(20)
  for column in range(COLUMNS):
    for k, title in enumerate(TITLES):
      middle = column * (width + GAP) + (k + 0.5) * SIDE
      pen.text((middle, HEADING / 2), title, "#444", font, anchor="mm")
  with atomic_write(args.out) as scratch, scratch.open("wb") as file:
    sheet.quantize(64).save(file, "PNG", optimize=True)


if __name__ == "__main__":
  main()
