"""Scenes through the doors of the package: `Model` and the command line."""

import csv
import re

import numpy as np
import pytest
import trimesh

import occnet_jax
from configs import base
from occnet_jax import api
from occnet_jax.api import Model
from occnet_jax.cli import reconstruct as reconstruct_lib
from occnet_jax.cli import stages
from occnet_jax.types import Windows
from tests.helpers import ROOT, nearest_points


def make_model(**generation):
  """A network of windows of unit .02, inside up to .03 from a point."""
  config = base.get_config()
  config.data.cloud_points = 50
  config.generation.update(generation)
  return Model(nearest_points.make_method(), {}, config.to_dict(), {"step": 0})


@pytest.fixture(scope="module")
def cloud():
  """Fifty points of a helix, 2 m long and 50 m from the origin."""
  angle = np.linspace(0, 6, 50)
  points = np.stack([0.4 * np.cos(angle), angle / 3, 0.4 * np.sin(angle)], 1)
  return points + np.array([50.0, -3.0, 2.0])


@pytest.fixture(scope="module")
def scene(cloud):
  """Its mesh in cells of .1 m."""
  return make_model().reconstruct_scene(cloud, cell_size=0.1)


def test_a_scene_is_in_the_frame_of_its_cloud_at_the_size_of_a_cell(cloud, scene):
  # Cells of .1 m are five of the network's units, so the radius is 5 x .03 m.
  mesh = scene
  assert mesh.is_watertight
  reached = cloud.min(0) - 0.15, cloud.max(0) + 0.15
  np.testing.assert_allclose(mesh.bounds, reached, atol=0.02)
  by_config = make_model(cell_size=0.1).reconstruct(cloud)
  np.testing.assert_array_equal(by_config.vertices, mesh.vertices)


def test_an_object_is_reconstructed_in_the_unit_cube_and_moved_back(cloud):
  """Without a size of cells the cloud is scaled as in training: .03 of 2 m."""
  mesh = make_model().reconstruct(cloud)
  reached = cloud.min(0) - 0.06, cloud.max(0) + 0.06
  np.testing.assert_allclose(mesh.bounds, reached, atol=0.01)


def test_the_config_of_the_run_simplifies_a_scene(cloud):
  mesh = make_model(cell_size=0.1, simplify_faces=200).reconstruct(cloud)
  assert 0 < len(mesh.faces) <= 200


def test_a_file_becomes_a_mesh_of_the_scene(cloud, scene, tmp_path, monkeypatch):
  source, target = tmp_path / "scan.xyz", tmp_path / "scan.ply"
  np.savetxt(source, cloud)
  model = make_model(cell_size=0.1)
  restored = lambda workdir, config_override: model  # noqa: E731
  monkeypatch.setattr(reconstruct_lib.api, "restore", restored)
  reconstruct_lib.reconstruct(tmp_path, source, target)
  mesh = trimesh.load_mesh(target)
  np.testing.assert_allclose(mesh.bounds, scene.bounds, atol=1e-4)


def test_further_training_of_a_network_of_windows_is_refused_at_every_door(
  cloud, tmp_path, monkeypatch
):
  np.savetxt(tmp_path / "scan.xyz", cloud)
  model = make_model(cell_size=0.1, finetune_steps=3)
  monkeypatch.setattr(api, "restore", lambda *args, **kwargs: model)
  sentence = pytest.raises(ValueError, match=r"finetune_steps is 3, but .*; want 0")
  with sentence:
    model.reconstruct(cloud)
  with sentence:
    make_model(cell_size=0.1).reconstruct(cloud, finetune_steps=3)
  with sentence:
    reconstruct_lib.reconstruct(tmp_path, tmp_path / "scan.xyz", tmp_path / "a.ply")
  monkeypatch.setattr(stages, "open_test_split", lambda settings: list)
  with sentence:
    stages.generate(model.config, tmp_path / "run")


SMALL = {
  "data.points": 64,
  "data.cloud_points": 64,
  "data.workers": 0,
  "data.crop": (0.5, 0.125),
  "model.features": ("grid",),
  "model.unit_size": 0.125,
  "model.grid_resolution": 8,
  "model.query_cells": 4,
  "model.c_dim": 8,
  "model.encoder_hidden_size": 8,
  "model.encoder_blocks": 2,
  "model.unet3d_levels": 2,
  "model.unet3d_filters": 8,
  "model.hidden_size": 8,
  "model.decoder_blocks": 1,
  "optim.learning_rate": 3e-3,
  "train.steps": 20,
  "train.batch_size": 8,
  "train.save_every": 20,
  "train.validate_every": 20,
  "train.preview_shapes": 0,
  "val.points": 256,
  "val.shapes": 4,
  "val.mesh_shapes": 1,
  "test.shapes": 2,
  "test.samples": 2000,
  "generation.points_per_batch": 512,  # a window's
}


@pytest.mark.usefixtures("plain_convolutions")
def test_a_network_of_windows_is_trained_and_measured_on_whole_shapes(
  tiny_data, tmp_path
):
  config = base.get_config("convonet")
  config.update_from_flattened_dict(SMALL | {"data.dir": str(tiny_data)})
  config = config.to_dict()
  stages.train(config, tmp_path)
  stages.generate(config, tmp_path)
  stages.evaluate(config, tmp_path)
  with (tmp_path / "evaluation" / "per_mesh.csv").open() as stream:
    rows = list(csv.DictReader(stream))
  assert len(rows) == 2 and all(0 <= float(row["iou"]) <= 1 for row in rows)
  model = occnet_jax.restore(tmp_path)
  assert {"loss", "iou", "chamfer_l1", "step"} <= model.record.keys()
  assert model.method.windows == Windows(unit_size=0.125, side=8, query=4, stride=4)
  mesh = model.reconstruct(np.random.default_rng(0).random((64, 3)), on_empty="empty")
  assert np.isfinite(mesh.vertices).all()


def test_the_example_of_the_page_makes_a_scene(cloud, monkeypatch):
  # At the network's own unit each point has windows of its own; a few points will do.
  cloud = cloud[::8]
  monkeypatch.setattr(occnet_jax, "restore", lambda run: make_model())
  text = (ROOT / "docs" / "scenes.md").read_text()
  (block,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
  names = {"occnet_jax": occnet_jax, "cloud": cloud}
  exec(block, names)
  # Cells of the network's own unit: up to .03 m from a point.
  low, high = cloud.min(0) - 0.03, cloud.max(0) + 0.03
  np.testing.assert_allclose(names["mesh"].bounds, (low, high), atol=0.005)
