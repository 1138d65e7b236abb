"""configs/single.py from one mesh file to its mesh, in small."""

import csv
import functools
import json
import shutil

import numpy as np
import pytest
import trimesh

import occnet_jax
from configs import single
from occnet_jax.cli import stages
from tests.helpers.small_data import read_examples

SMALL = {
  "prep.points": 5000,
  "prep.near_points": 5000,
  "prep.surface_points": 5000,
  "prep.workers": 1,
  "data.points": 512,
  "data.workers": 0,
  "model.hidden_size": 32,
  "train.batch_size": 2,  # the tests have two devices
  "train.log_every": 10,
  "train.steps": 100,
  "val.points": 1000,
  "test.samples": 2000,
  "generation.resolution_0": 16,
  "generation.upsampling_steps": 1,
}

SMALLER = {  # what else makes a variant quick
  "hashgrid": {
    "data.points": 256,
    "model.levels": 4,
    "model.finest_resolution": 64,
  },
  "multires": {"data.points": 256, "model.levels": 3},
  "siren": {"data.points": 256, "train.steps": 200},
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
  """A mesh file of a ball and the directory in which it is prepared."""
  where = tmp_path_factory.mktemp("single")
  trimesh.creation.icosphere(3, 7.0).export(where / "one.obj")
  return where


def make_config(variant, data, **changed):
  config = single.get_config(variant)
  fields = {
    **SMALL,
    **SMALLER.get(variant, {}),
    "prep.source": f"folder:{data / 'one.obj'}",
    "prep.out": str(data / "prepared"),
    **changed,
  }
  config.update_from_flattened_dict(fields)
  return config.to_dict()


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
  """A function variant -> config, workdir and scores of a run of it, made once.

  Tests only read what lies there; one that changes it works on a copy.
  """

  @functools.cache
  def get(variant):
    config, workdir = make_config(variant, data), tmp_path_factory.mktemp(variant)
    return config, workdir, run(config, workdir)

  return get


def run(config, workdir):
  for stage in (stages.prepare, stages.train, stages.generate, stages.evaluate):
    stage(config, workdir)
  with (workdir / "evaluation" / "per_mesh.csv").open() as stream:
    (row,) = csv.DictReader(stream)
  return row


@pytest.mark.parametrize(
  ("variant", "least"),
  [("hashgrid", 0.8), ("fourier", 0.8), ("siren", 0.5), ("multires", 0.8)],
)
def test_one_mesh_becomes_a_field_and_a_mesh_again(trained, variant, least):
  config, workdir, row = trained(variant)
  assert (row["category"], row["id"]) == ("one", "one")
  assert float(row["iou"]) > least
  stages.report(config, workdir)
  assert (workdir / "report.html").exists()
  model = occnet_jax.restore(workdir)
  mesh = model.extract(model.encode(np.zeros((1, 0))))
  assert mesh.volume == pytest.approx(4 / 3 * np.pi * 0.5**3, rel=2 * (1 - least))
  with pytest.raises(ValueError, match="no points whose labels a latent could be fit"):
    model.fit(np.zeros((1, 5, 3)), np.zeros((1, 5)))


def test_all_splits_have_the_shape_with_samples_of_their_own(data):
  stages.prepare(make_config("hashgrid", data), None)
  examples = read_examples(data / "prepared")
  assert {split for split, _ in examples} == {"train", "val", "test"}
  for field in ("points", "points_surface", "pointcloud"):
    stored = [example[field]["points"] for example in examples.values()]
    assert len(set(stored)) == 3
  assert len({example["voxels"] for example in examples.values()}) == 1


def test_a_trained_network_generates_at_another_level_of_detail(trained, tmp_path):
  config, made, _ = trained("multires")
  workdir = shutil.copytree(made, tmp_path / "run")
  path = workdir / "meshes" / "one" / "one.ply"
  finest = path.read_bytes()
  coarse = {**config, "model": {**config["model"], "levels_used": 1}}
  stages.generate(coarse, workdir)
  assert path.read_bytes() != finest
  model = occnet_jax.restore(workdir, config_override=coarse)
  assert model.settings.model["levels_used"] == 1
  points = np.random.default_rng(0).uniform(-0.5, 0.5, (1, 9, 3))
  latent = model.encode(np.zeros((1, 0)))
  whole = occnet_jax.restore(workdir).decode(latent, points)
  assert np.abs(model.decode(latent, points) - whole).max() > 1e-4
  stages.generate(config, workdir)
  assert path.read_bytes() == finest


def test_a_folder_of_several_meshes_is_no_single_shape(data, write_meshes, tmp_path):
  source = f"folder:{write_meshes(tmp_path / 'meshes', 2)}"
  config = make_config(
    "fourier", data, **{"prep.source": source, "prep.out": str(tmp_path / "out")}
  )
  with pytest.raises(ValueError, match=r"source has 4 meshes, .*single_shape wants 1"):
    stages.prepare(config, None)


def test_an_unknown_variant_is_named():
  with pytest.raises(ValueError, match="hash: unknown; want one of: fourier, hashgrid"):
    single.get_config("hash")


def test_the_log_has_every_term_of_sirens_loss(trained):
  _, workdir, _ = trained("siren")
  row = json.loads((workdir / "logs" / "metrics.jsonl").read_text().splitlines()[0])
  terms = [row[f"train/{n}"] for n in ("surface", "off_surface", "normal", "eikonal")]
  weighted = np.dot(terms, [3000, 100, 100, 50])
  assert row["train/loss"] == pytest.approx(weighted, rel=1e-4)
