"""Every task of the paper through the same stages, in small: train, generate, judge."""

import csv
import json
import shutil

import jax
import numpy as np
import pytest

import occnet_jax
from occnet_jax.cli import stages
from tests.helpers.small_tasks import make_config

VARIANTS = ("image", "images", "voxels", "unconditional", "autodecoder")


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_task_goes_all_the_way(tiny_task, variant, tmp_path):
  config, trained = tiny_task(variant)
  workdir = shutil.copytree(trained, tmp_path / "run")
  rows = (workdir / "logs" / "metrics.jsonl").read_text().splitlines()
  losses = [row["train/loss"] for row in map(json.loads, rows) if "train/loss" in row]
  assert losses[-1] < losses[0]
  stages.generate(config, workdir)
  stages.evaluate(config, workdir)
  stages.report(config, workdir)
  if variant == "unconditional":
    found = json.loads((workdir / "evaluation" / "generation.json").read_text())
    assert found["samples"] + found["empty"] == 4
    assert 0 < found["coverage"] <= 1 and found["mmd_chamfer_l1_x10"] > 0
    assert (workdir / "evaluation" / "samples.png").exists()
  else:
    text = (workdir / "evaluation" / "per_mesh.csv").read_text()
    rows = list(csv.DictReader(text.splitlines()))
    assert len(rows) == (8 if variant == "autodecoder" else 4)
    assert (workdir / "report.html").stat().st_size > 10_000


def test_samples_are_drawn_and_latents_are_readable(tiny_task):
  _, workdir = tiny_task("unconditional")
  model = occnet_jax.restore(workdir)
  latent = model.prior(3, seed=1)
  assert latent.z.shape == (3, 128)
  np.testing.assert_array_equal(latent.z, model.prior(3, seed=1).z)
  assert np.abs(latent.z - model.prior(3, seed=2).z).max() > 0.1
  points = np.random.default_rng(0).uniform(-0.5, 0.5, (2, 50, 3))
  mean, logstd = model.posterior(points, points[..., 0] > 0)
  assert mean.shape == logstd.shape == (2, 128)
  assert model.decode(model.with_z(latent, latent.z), points[[0, 0, 0]]).shape == (
    3,
    50,
  )


def test_an_interpolation_begins_and_ends_at_its_shapes(tiny_task, tmp_path):
  config, trained = tiny_task("voxels")
  workdir = shutil.copytree(trained, tmp_path / "run")
  stages.interpolate(config, workdir, steps=3)
  (pair,) = [path for path in (workdir / "interpolation").iterdir() if path.is_dir()]
  assert [path.name for path in sorted(pair.iterdir())] == [
    "00.ply",
    "01.ply",
    "02.ply",
  ]
  assert (workdir / "interpolation" / "interpolation.png").exists()
  with pytest.raises(ValueError, match="want at least 2"):
    stages.interpolate(config, workdir, steps=1)


def test_a_model_without_z_says_so(tiny_task):
  config, workdir = tiny_task("voxels")
  model = occnet_jax.restore(workdir)
  with pytest.raises(ValueError, match="has no random z"):
    model.prior(2)
  config = config | {"generation": config["generation"] | {"sample": True}}
  with pytest.raises(ValueError, match=r"generation\.sample is set, but this model"):
    stages.generate(config, workdir)
  with pytest.raises(ValueError, match=r"want \(b, 16, 16, 16\): voxels"):
    model.encode(np.zeros((1, 32, 32, 32)))


def test_a_code_is_fitted_to_a_shape_that_training_never_saw(tiny_task):
  model = occnet_jax.restore(tiny_task("autodecoder")[1])
  points = np.random.default_rng(0).uniform(-0.55, 0.55, (1, 3000, 3))
  inside = (np.abs(points) < [0.5, 0.3, 0.35]).all(-1)

  def loss(latent):
    logits = np.asarray(model.decode(latent, points))
    return (np.logaddexp(0, logits) - inside * logits).mean()

  start = jax.tree.map(
    lambda row: row.mean(0, keepdims=True), model.encode(np.arange(8))
  )
  # 0.81 of it: how far 300 steps come depends on the twenty steps of training.
  assert loss(model.fit(points, inside)) < 0.9 * loss(start)


def test_a_grid_of_another_side_is_one_sentence(tiny_views, tmp_path):
  config = make_config("voxels", tiny_views, **{"data.voxel_side": 32})
  with pytest.raises(ValueError, match=r"grid of 16 cells a side, want 32"):
    stages.train(config, tmp_path)


def test_data_without_views_are_one_sentence(tiny_data, tmp_path):
  config = make_config("image", tiny_data)
  with pytest.raises(ValueError, match=r"lacks the field 'views'"):
    stages.train(config, tmp_path)


def test_a_stretched_shape_has_no_view(tiny_views, tmp_path):
  config = make_config("image", tiny_views, **{"data.random_stretch": 0.2})
  with pytest.raises(ValueError, match=r"'image' cannot be deformed"):
    stages.train(config, tmp_path)
