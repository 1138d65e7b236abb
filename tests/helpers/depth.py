"""Depth images of meshes as sensors make them, and the files that go with them."""

import json

import numpy as np
import trimesh
from PIL import Image

from occnet_jax.geometry import cameras, rendering
from occnet_jax.geometry.solids import Solid

CAMERA = {"fx": 310.0, "fy": 300.0, "cx": 165.5, "cy": 117.25}
SIZE = {"width": 320, "height": 240}
NOISE = 0.002  # standard deviation at a depth of 1, growing with the depth squared
SCALE = 5000.0  # of 16-bit images: steps of 0.2 mm


def ring():
  """A mesh with a hole, in metres, away from the origin of the world."""
  mesh = trimesh.creation.torus(0.15, 0.06)
  mesh.apply_transform(trimesh.transformations.rotation_matrix(1.0, (1, 0.3, 0)))
  return mesh.apply_translation((2.0, -1.0, 3.0))


def look(mesh, azimuth, elevation=35.0, distance=0.9):
  """Matrix from a camera that looks at the middle of a mesh to the world."""
  pose = np.eye(4)
  pose[:3] = cameras.world_matrix(azimuth, elevation, distance)
  pose = np.linalg.inv(pose)
  pose[:3, 3] += mesh.bounds.mean(0)
  return pose


def render(mesh, pose, samples=1):
  """Depth at the centres of pixels, or its mean over some rays; 0 without a hit."""
  scene = rendering.Scene(Solid(np.asarray(mesh.vertices), np.asarray(mesh.faces)))
  width, height = SIZE["width"], SIZE["height"]
  offsets = (np.arange(samples) + 0.5) / samples - 0.5
  total, hits = np.zeros(height * width), np.zeros(height * width)
  for dv in offsets:
    for du in offsets:
      v, u = np.indices((height, width)).reshape(2, -1)
      x = (u + du - CAMERA["cx"]) / CAMERA["fx"]
      y = (v + dv - CAMERA["cy"]) / CAMERA["fy"]
      # Directions whose z is 1, so that the parameter of the hit is its depth.
      directions = np.column_stack([x, y, np.ones(len(x))]) @ pose[:3, :3].T
      origins = np.broadcast_to(pose[:3, 3], directions.shape)
      face, depth = scene.first_hit(origins, directions)
      total[face >= 0] += depth[face >= 0]
      hits += face >= 0
  return (total / np.maximum(hits, 1)).reshape(height, width)


def sense(depth, seed=0):
  """The depth with a sensor's noise, and holes where some pixels failed."""
  rng = np.random.default_rng(seed)
  noisy = depth + NOISE * depth**2 * rng.standard_normal(depth.shape)
  noisy[rng.random(depth.shape) < 0.02] = 0
  noisy[100:110, 150:165] = 0
  return noisy


def write_png(path, depth):
  """A 16-bit PNG of depths in metres, at SCALE."""
  path.parent.mkdir(parents=True, exist_ok=True)
  Image.fromarray(np.rint(SCALE * depth).astype(np.uint16)).save(path)
  return path


def write_json(path, content):
  path.write_text(json.dumps(content))
  return path
