"""One mesh file to one serialised example (host, numpy)."""

import hashlib
import pathlib
import time
from typing import Any, NamedTuple

import numpy as np
import tensorflow_datasets as tfds

from data_prep import labels, sample, shards, voxelize
from data_prep import solid as solids
from occnet_jax.geometry import meshes

COLUMNS = ("id", "category", "split", "outcome", "reason", "seconds")

Settings = dict[str, Any]
Row = dict[str, Any]  # of the report, by COLUMNS


class Task(NamedTuple):
  """One mesh on its way to an example."""

  settings: Settings
  category: str
  model_id: str
  path: pathlib.Path
  split: str
  shard: int
  solid_path: pathlib.Path | None


def make_rng(seed: int, *names: str) -> np.random.Generator:
  """A generator of its own for every name, the same on every machine."""
  digest = hashlib.sha256("\0".join(names).encode()).digest()
  return np.random.default_rng([seed, *np.frombuffer(digest, "<u4").tolist()])


def prepare_one(task: Task) -> tuple[Row, bytes | None]:
  """One mesh: its row of the report, and the serialised example if it could be used."""
  start = time.perf_counter()
  try:
    record = make_features(task.settings).serialize_example(make_example(task))
  except Exception as error:  # whatever is wrong with this mesh, the others go on
    kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
    return make_row(
      task, "rejected", f"{kind}{error}", time.perf_counter() - start
    ), None
  return make_row(task, "ok", "", time.perf_counter() - start), record


def make_example(task: Task) -> shards.Example:
  """From a mesh file to the arrays of `shards.make_features`.

  Raises:
    ValueError: the file cannot be read, or what is in it is no solid.
  """
  settings = task.settings
  solid = solids.close(*meshes.read_mesh(task.path))
  loc, scale = meshes.unit_cube_frame(solid.vertices)
  solid = solids.Solid((solid.vertices - loc) / scale, solid.faces)
  contains = labels.labeller(solid)

  def rng(what: str) -> np.random.Generator:
    return make_rng(settings["seed"], what, task.category, task.model_id)

  points, occupancies = sample.uniform_points(
    contains,
    rng("points"),
    count=settings["points"],
    padding=settings["padding"],
    dtype=settings["dtype"],
  )
  surface, normals = sample.surface_points(
    solid,
    rng("surface"),
    count=settings["surface_points"],
    dtype=settings["dtype"],
  )
  example = {}
  if settings["near_points"]:
    near, near_occupancies = sample.near_points(
      contains,
      surface,
      rng("near"),
      count=settings["near_points"],
      sigmas=settings["near_sigmas"],
      padding=settings["padding"],
      dtype=settings["dtype"],
    )
    example["points_surface"] = {"points": near, "occupancies": near_occupancies}
  if task.solid_path is not None:
    meshes.write_mesh(task.solid_path, *solid)
  return example | {
    "points": {"points": points, "occupancies": occupancies},
    "pointcloud": {"points": surface, "normals": normals},
    "voxels": voxelize.voxelize(contains, side=settings["voxel_side"]),
    "loc": loc,
    "scale": np.float64(scale),
    "id": task.model_id,
    "category": task.category,
  }


def make_features(settings: Settings) -> tfds.features.FeaturesDict:
  names = ("points", "near_points", "surface_points", "voxel_side", "dtype")
  return shards.make_features(**{name: settings[name] for name in names})


def make_row(task: Task, outcome: str, reason: str, seconds: float) -> Row:
  values = (task.model_id, task.category, task.split, outcome, reason)
  return dict(zip(COLUMNS, (*values, round(seconds, 3)), strict=True))
