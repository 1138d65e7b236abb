"""A small source, what it is prepared with, and what its tests share."""

import time

import numpy as np
import tensorflow_datasets as tfds
import trimesh

SMALL = {
  "solid": {"thickness": 0.0},  # sheets are no solids
  "points": 400,
  "surface_points": 300,
  "voxel_side": 8,
  "workers": 2,
  "shard_size": 3,
}
SPLITS = ("train", "val", "test")


def wait_until(holds):
  """The first result of `holds` that is true; fails after a minute."""
  deadline = time.monotonic() + 60
  while not (result := holds()):
    assert time.monotonic() < deadline, "a minute passed"
    time.sleep(0.002)
  return result


def arrays(*parts):
  """Vertices and faces of meshes, side by side."""
  mesh = trimesh.util.concatenate(parts)
  return np.array(mesh.vertices), np.array(mesh.faces, np.int64)


def box(extent, centre=(0, 0, 0)):
  """A box of one extent, or of three."""
  extent = np.broadcast_to(extent, 3)
  return trimesh.creation.box(extents=extent).apply_translation(centre)


def in_box(points, extent, centre=(0, 0, 0)):
  """Whether points lie within `box(extent, centre)`."""
  return (np.abs(points - centre) < np.asarray(extent) / 2).all(1)


def write_source(root):
  """Eight boxes, four tori, and three files that cannot be used."""
  for name in ("box", "torus", "bad"):
    (root / name).mkdir()
  for i in range(8):
    box = trimesh.creation.box(extents=(2, 1 + i / 10, 0.5))
    box.apply_translation((i, 0, 0)).export(root / "box" / f"box{i}.off")
  for i in range(4):
    torus = trimesh.creation.torus(0.3, 0.05 + i / 50, 16, 8)
    torus.export(root / "torus" / f"torus{i}.obj")
  (root / "bad" / "line.off").write_text("OFF\n2 1 0\n0 0 0\n1 0 0\n3 0 1 1\n")
  (root / "bad" / "nan.obj").write_text("v 0 0 nan\nv 1 0 0\nv 0 1 0\nf 1 2 3\n")
  (root / "bad" / "text.ply").write_text("hello")
  return f"folder:{root}"


def read_examples(directory):
  """Every example of a data set by split and id, as bytes that can be compared."""
  builder = tfds.builder_from_directory(directory)
  return {
    (split, example["id"].decode()): _flatten(example)
    for split in builder.info.splits
    for example in builder.as_data_source(split)
  }


def _flatten(example):
  if isinstance(example, dict):
    return {key: _flatten(value) for key, value in example.items()}
  return np.asarray(example).tobytes()
