"""From one mesh file to one serialised example (host, numpy)."""

import math
import pathlib
import time
import typing
from typing import Any, NamedTuple

import numpy as np
import tensorflow_datasets as tfds

from data_prep.pipeline import shards
from data_prep.pipeline.report import Row, make_row
from data_prep.pipeline.splits import make_rng
from data_prep.sampling import distances, inside_test, voxels
from data_prep.sampling import points as points_lib
from data_prep.sampling import surface as surface_lib
from data_prep.sources import official, official_rooms, rooms, synthetic
from data_prep.sources.entry import SPLITS, MeshEntry
from data_prep.watertight import solid as solid_lib
from data_prep.watertight.framed import load_watertight
from occnet_jax.geometry import mesh_io, rendering
from occnet_jax.geometry.solids import Solid

Settings = dict[str, Any]


class Task(NamedTuple):
  """One mesh to prepare.

  Attributes:
    settings: settings of the data set.
    entry: the mesh.
    split: name of the split that the mesh is in.
    solid_path: file for its labelled surface, or None.
  """

  settings: Settings
  entry: MeshEntry
  split: str
  solid_path: pathlib.Path | None


def check_settings(settings: Settings) -> None:
  """Raises ValueError for values that are out of range."""
  minima = {
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
  for name, least in minima.items():
    if not least <= settings[name] < math.inf:  # not NaN either
      raise ValueError(f"{name} is {settings[name]}, want at least {least}")
  if wrong := [sigma for sigma in settings["near_sigmas"] if not 0 <= sigma < math.inf]:
    raise ValueError(f"near_sigmas has {wrong[0]}, want at least 0")
  for name, value in settings["solid"].items():
    if not 0 <= value < math.inf:
      raise ValueError(f"solid.{name} is {value}, want at least 0")
  if is_generated(settings) and settings["per_category"] < 1:
    raise ValueError(f"per_category is {settings['per_category']}, want at least 1")
  if settings["val_fraction"] + settings["test_fraction"] >= 1:
    raise ValueError(
      f"val_fraction {settings['val_fraction']} and test_fraction "
      f"{settings['test_fraction']} leave nothing to train on; want a sum below 1"
    )
  for name, choices in {
    "dtype": ("float16", "float32"),
    "duplicates": ("drop", "keep"),
  }.items():
    if settings[name] not in choices:
      raise ValueError(f"{name} is {settings[name]!r}, want {' or '.join(choices)}")
  if unknown := set(settings["solid_splits"]) - set(SPLITS):
    raise ValueError(f"solid_splits has {sorted(unknown)}, want some of {SPLITS}")
  if is_official(settings) and settings.get("distances"):
    raise ValueError(
      "distances is True, but examples that the reference prepared have no meshes to "
      "measure them from; set prep.distances to False, or prepare the meshes"
    )
  if is_official(settings) and settings.get("single_shape"):
    raise ValueError(
      "single_shape is True, but an example that the reference prepared has the same "
      "samples in all splits; set prep.single_shape to False, or prepare the mesh"
    )
  rendered = settings["views"] and not is_official(settings)
  if rendered and not rendering.is_available():
    raise ValueError(
      f"views is {settings['views']}, but the renderer Embree is not installed: pip "
      "install embreex, or set prep.views to 0"
    )


def is_official(settings: Settings) -> bool:
  """Whether the source holds examples that the reference prepared, not meshes."""
  return settings["source"].startswith(("official:", "official_rooms:"))


def is_rooms(settings: Settings) -> bool:
  """Whether the source puts rooms together from objects, which need no repair."""
  return settings["source"].startswith("rooms:")


def is_generated(settings: Settings) -> bool:
  """Whether `per_category` decides how many shapes the source has."""
  return settings["source"] in synthetic.SETS or is_rooms(settings)


def prepare_one(task: Task) -> tuple[Row, bytes | None]:
  """The row of a mesh in the report, and its serialised example unless it failed."""
  start = time.perf_counter()

  def row(outcome: str, reason: str = "", **more: Any) -> Row:
    seconds = time.perf_counter() - start
    return make_row(task.entry, task.split, outcome, reason, seconds, **more)

  try:
    example = make_example(task)
    record = shards.serialize(make_features(task.settings), example)
  except MemoryError as error:
    return row("memory", f"the machine has too little memory: {error}"), None
  except Exception as error:  # a mesh must not end the preparation of the others
    is_of_system = isinstance(error, OSError)  # says nothing about the mesh
    is_plain = isinstance(error, ValueError) or is_of_system
    kind = "" if is_plain else f"{type(error).__name__}: "
    # The report names the mesh already.
    reason = f"{kind}{error}".removeprefix(f"{task.entry.path}: ")
    return row("system" if is_of_system else "rejected", reason), None
  return row("ok", quality=example.get("quality")), record


def make_example(task: Task) -> shards.Example:
  """The arrays of `make_features`, from a mesh file or from prepared files.

  Raises:
    ValueError: the file cannot be read, or its mesh is no solid.
  """
  settings, entry = task.settings, task.entry
  if is_official(settings):
    of_rooms = settings["source"].startswith("official_rooms:")
    reader = official_rooms if of_rooms else official
    arrays = reader.read_example(entry.path, **_arrays(settings))
  else:
    arrays = _sample_mesh(task)
  return arrays | {
    "id": entry.model_id,
    "category": entry.category,
    "split": task.split,
    "attribution": entry.attribution,
    "licence": entry.licence,
  }


def _sample_mesh(task: Task) -> shards.Example:
  settings, entry = task.settings, task.entry
  weights, quality, loc, scale = None, None, np.zeros(3), 1.0
  if is_rooms(settings):
    solid, weights = rooms.read_room(entry.path)
  else:
    solid, quality, loc, scale = load_watertight(entry.path, settings["solid"])
  contains = inside_test.make_inside_test(solid)

  # Where all splits have the same shape, their samples must differ.
  split = [task.split] if settings.get("single_shape") else []

  def rng(purpose: str) -> np.random.Generator:
    names = purpose, entry.category, entry.model_id, *split
    return make_rng(settings["seed"], *names)

  points, occupancies = points_lib.uniform_points(
    contains,
    rng("points"),
    count=settings["points"],
    padding=settings["padding"],
    dtype=settings["dtype"],
  )
  surface, normals = surface_lib.surface_points(
    solid,
    rng("surface"),
    count=settings["surface_points"],
    dtype=settings["dtype"],
    weights=weights,
  )
  example = {}
  if settings["near_points"]:
    near, near_occupancies = points_lib.near_points(
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
  example["points"] = {"points": points, "occupancies": occupancies}
  if settings.get("distances"):
    for labelled in (example["points"], example.get("points_surface")):
      if labelled:
        labelled["distances"] = distances.signed_distances(solid, **labelled)
  example |= {
    "pointcloud": {"points": surface, "normals": normals},
    "voxels": voxels.voxelize(contains, side=settings["voxel_side"]),
    "loc": loc,
    "scale": np.float64(scale),
  }
  if quality is not None:
    example["quality"] = quality._asdict()
  if task.solid_path is not None:
    mesh_io.write_mesh(task.solid_path, *solid)
  return example


def _draw_views(
  solid: Solid, rng: np.random.Generator, settings: Settings
) -> shards.Example:
  views = rendering.render_views(
    solid, rng, views=settings["views"], side=settings["view_side"]
  )
  return {
    **views._asdict(),
    "images": [rendering.encode(image) for image in views.images],
  }


def _arrays(settings: Settings) -> dict[str, Any]:
  """The settings that decide which arrays an example has."""
  names = ("points", "near_points", "surface_points", "voxel_side", "dtype", "views")
  return {name: settings[name] for name in names}


def make_features(settings: Settings) -> tfds.features.FeaturesDict:
  """Features of the data set that the settings describe."""
  repaired = not (is_official(settings) or is_rooms(settings))
  quality = typing.get_type_hints(solid_lib.RepairReport) if repaired else {}
  return shards.make_features(
    **_arrays(settings), distances=settings.get("distances", False), quality=quality
  )
