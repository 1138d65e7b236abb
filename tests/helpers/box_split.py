"""A split of boxes in memory, in the form of stored examples."""

import numpy as np
import trimesh


def box_shape(id, width):
  """A box as a stored example: width x 0.5 x 0.5, centred."""
  rng = np.random.default_rng(0)
  extents = np.array([width, 0.5, 0.5])
  points = rng.uniform(-0.55, 0.55, (800, 3)).astype(np.float16)
  inside = (np.abs(points.astype(np.float64)) < extents / 2).all(1)
  mesh = trimesh.creation.box(extents)
  surface, faces = trimesh.sample.sample_surface(mesh, 500, seed=0)
  return {
    "id": id.encode(),
    "category": b"box",
    "width": width,
    "points": {"points": points, "occupancies": np.packbits(inside)},
    "pointcloud": {
      "points": np.asarray(surface, np.float16),
      "normals": mesh.face_normals[faces].astype(np.float16),
    },
  }


def make_split(prefix, count=3):
  return [box_shape(f"{prefix}{i}", 0.3 + 0.1 * i) for i in range(count)]


def exact(shape, index):
  """A reconstruction without any error."""
  return trimesh.creation.box([shape["width"], 0.5, 0.5])
