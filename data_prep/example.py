"""One mesh file to one serialised example (host, numpy)."""

import hashlib
import importlib.util
import pathlib
import time
from typing import Any, NamedTuple

import numpy as np
import tensorflow_datasets as tfds

from data_prep import labels, sample, shards, voxelize
from data_prep import solid as solids
from occnet_jax.geometry import meshes

COLUMNS = ("id", "category", "split", "outcome", "reason", "seconds")
SPLITS = ("train", "val", "test")

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


def check_settings(settings: Settings) -> None:
  """Raises ValueError for values that no mesh could meet."""
  wanted = {
    "seed": 0,
    "points": 1,
    "near_points": 0,
    "surface_points": 1,
    "padding": 0,
    "voxel_side": 1,
    "views": 0,
    "view_side": 1 if settings["views"] else 0,
    "shard_size": 1,
    "val_fraction": 0,
    "test_fraction": 0,
  }
  for name, least in wanted.items():
    if settings[name] < least:
      raise ValueError(f"{name} is {settings[name]}, want at least {least}")
  if settings["source"] == "synthetic" and settings["per_category"] < 1:
    raise ValueError(f"per_category is {settings['per_category']}, want at least 1")
  if settings["val_fraction"] + settings["test_fraction"] >= 1:
    raise ValueError(
      f"val_fraction {settings['val_fraction']} and test_fraction "
      f"{settings['test_fraction']} leave nothing to train on; want a sum below 1"
    )
  if settings["dtype"] not in ("float16", "float32"):
    raise ValueError(f"dtype is {settings['dtype']!r}, want float16 or float32")
  if unknown := set(settings["solid_splits"]) - set(SPLITS):
    raise ValueError(f"solid_splits has {sorted(unknown)}, want some of {SPLITS}")
  if settings["views"] and importlib.util.find_spec("embreex") is None:
    raise ValueError(
      f"views is {settings['views']}, but the renderer Embree is not installed: pip "
      "install embreex, or set prep.views to 0"
    )


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
  if settings["views"]:
    example["views"] = _draw_views(solid, rng("views"), settings)
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


def _draw_views(
  solid: solids.Solid, rng: np.random.Generator, settings: Settings
) -> shards.Example:
  from data_prep import render  # Embree has no package for Linux on ARM

  views = render.render_views(
    solid, rng, views=settings["views"], side=settings["view_side"]
  )
  return {**views._asdict(), "images": [render.encode(image) for image in views.images]}


def make_features(settings: Settings) -> tfds.features.FeaturesDict:
  names = ("points", "near_points", "surface_points", "voxel_side", "dtype", "views")
  return shards.make_features(**{name: settings[name] for name in names})


def make_row(task: Task, outcome: str, reason: str, seconds: float) -> Row:
  values = (task.model_id, task.category, task.split, outcome, reason)
  return dict(zip(COLUMNS, (*values, round(seconds, 3)), strict=True))
