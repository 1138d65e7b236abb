"""Migration, validation and comparison of configs; workdirs of earlier versions."""

import importlib
import json
import tarfile

import jax
import numpy as np
import pytest

import occnet_jax
from configs import (
  atlasnet,
  base,
  convonet,
  dmc,
  ifnet,
  onet,
  pix2mesh,
  poco,
  psgn,
  quickstart,
  r2n2,
  sap,
  single,
)
from occnet_jax import config as config_lib
from occnet_jax import migration
from occnet_jax.models import registry
from occnet_jax.nn import precision
from occnet_jax.train import checkpoint, loop
from tests.helpers import ROOT

OLD = ROOT / "tests" / "data" / "workdirs" / "workdir_0_1_0.tar.xz"
RECIPES = [
  *(("convonet", [variant]) for variant in convonet.VARIANTS),
  *(("ifnet", [variant]) for variant in ifnet.VARIANTS),
  *(("onet", [variant]) for variant in onet.VARIANTS),
  *(("pix2mesh", [variant]) for variant in pix2mesh.VARIANTS),
  *(("poco", [variant]) for variant in poco.VARIANTS),
  *(("quickstart", [variant]) for variant in quickstart.VARIANTS),
  *(("atlasnet", [variant]) for variant in atlasnet.VARIANTS),
  *(("dmc", [variant]) for variant in dmc.VARIANTS),
  *(("psgn", [variant]) for variant in psgn.VARIANTS),
  *(("r2n2", [variant]) for variant in r2n2.VARIANTS),
  *(("sap", [variant]) for variant in sap.VARIANTS),
  *(("single", [variant]) for variant in single.VARIANTS),
  *((name, []) for name in ("deepsdf", "furniture", "own_data")),
]


@pytest.fixture(scope="module")
def old(tmp_path_factory):
  """A run of version 0.1.0 with options that have other names now, and its outputs."""
  folder = tmp_path_factory.mktemp("old")
  with tarfile.open(OLD) as archive:
    archive.extractall(folder, filter="data")
  return folder


def test_a_workdir_of_an_earlier_version_gives_the_same_network(old, monkeypatch):
  # Its outputs were written where "auto", the config's precision, means bfloat16.
  config = json.loads((old / "workdir" / "config.json").read_text())
  assert config["generation"]["precision"] == "auto"
  monkeypatch.setattr(precision, "resolve", lambda name: "bfloat16")
  model = occnet_jax.restore(old / "workdir")
  with np.load(old / "expected.npz") as file:
    expected = dict(file)
  assert model.record["step"] == expected["step"]
  np.testing.assert_allclose(model.level, np.log(0.7 / 0.3), rtol=1e-12)
  latent = model.encode(expected["cloud"][None])
  logits = model.decode(latent, expected["points"][None])
  np.testing.assert_allclose(logits, expected["logits"], rtol=1e-4, atol=1e-4)


def test_a_run_of_an_earlier_version_resumes_with_the_renamed_fields(
  old, tiny_data, tmp_path
):
  workdir = old / "workdir"
  before = json.loads((workdir / "config.json").read_text())
  assert before["model"]["octaves"] == 2 and before["data"]["stretch"] == 0.2
  config = base.get_config()
  config.data.update(
    dir=str(tiny_data), points=128, cloud_points=32, workers=0, random_stretch=0.2
  )
  config.model.update(
    encoder_hidden_size=8, c_dim=8, hidden_size=8, fourier_octaves=2, tau=0.3
  )
  config.optim.update(learning_rate=3e-3, ema_decay=0.9)
  config.train.update(batch_size=4, steps=64, save_every=2, validate_every=100)
  config.val.points = 500
  config = config.to_dict()
  config_lib.check_workdir(config, workdir)
  loop.train(config, workdir)
  assert checkpoint.restore(workdir, 64).state["step"] == 64
  with pytest.raises(ValueError, match=r"model\.fourier_octaves is 3, there 2"):
    changed = config | {"model": config["model"] | {"fourier_octaves": 3}}
    config_lib.check_workdir(changed, workdir)


@pytest.mark.parametrize(("name", "variant"), RECIPES)
def test_every_recipe_is_a_config(name, variant):
  config = importlib.import_module(f"configs.{name}").get_config(*variant).to_dict()
  settings = config_lib.parse(config)
  assert settings.model["name"] in registry.METHODS
  assert migration.migrate(config) == config


def test_the_quickstart_is_local_and_one_of_its_other_variants_is_the_paper_s():
  variants = [], ["patches"], ["paper"]
  local, patches, paper = (quickstart.get_config(*variant) for variant in variants)
  systems = [config.model.name for config in (local, patches, paper)]
  assert systems == ["ifnet", "convonet", "onet"]
  assert local.prep.to_dict() == patches.prep.to_dict()  # one data set serves both
  assert local.prep.out != paper.prep.out  # of other sizes
  with pytest.raises(ValueError, match=r"quickstart\.py:big: unknown; want .*, paper"):
    quickstart.get_config("big")


def test_added_fields_of_earlier_configs_have_values_that_change_nothing():
  config = base.get_config().to_dict()
  for name in migration.SINCE:
    section, field = name.split(".")
    del config[section][field]
  migrated = migration.migrate(config)
  assert migrated["data"]["placement"] == "stream"
  assert config_lib.parse(migrated).generation.precision == "float32"


@pytest.mark.parametrize(
  ("field", "value", "message"),
  [
    ("val.select", "chamfer_l1", r"'chamfer_l1'; want one of: iou, loss"),
    ("train.on_nonfinite", "hope", r"is 'hope'; want stop or skip"),
    ("optim.ema_batches", 2, r"ema_batches is 2 without averaged variables"),
    ("train.steps_per_call", 7, r"steps is 300000; want a multiple of .*=7"),
    ("train.steps_per_call", 0, r"steps_per_call is 0; want 1 or more"),
    ("train.save_every", 0, r"save_every is 0; want 1 or more"),
    ("optim.learning_rate", -1e-3, r"learning_rate is -0\.001; want 0 or more"),
    ("optim.learning_rate", float("nan"), r"learning_rate is nan; want 0 or more"),
    ("optim.learning_rate", float("inf"), r"learning_rate is inf; want a finite"),
    ("data.cloud_sigma", -1.0, r"cloud_sigma is -1\.0; want 0 or more"),
    ("val.shapes", -1, r"val\.shapes is -1; want 0 or more"),
    ("test.shapes", -1, r"test\.shapes is -1; want 0 or more"),
    ("model.hidden_size", 0, r"model\.hidden_size is 0; want 1 or more"),
    ("test.samples", 0, r"test\.samples is 0; want 1 or more"),
    ("seed", -1, r"config\.seed is -1; want 0 or more"),
    ("seed", 2**40, r"config\.seed is 1099511627776; want at most 4294967295"),
    ("optim.clip_norm", -1.0, r"clip_norm is -1\.0; want 0 or more"),
    ("optim.ema_decay", 2.0, r"ema_decay is 2\.0; want a share from 0, not 1 or"),
    ("optim.ema_decay", -1.0, r"ema_decay is -1\.0; want 0 or more"),
    ("train.log_every", -1, r"log_every is -1; want 1 or more"),
    ("train.steps", -5, r"steps is -5; want 0 or more"),
    ("val.batch_size", 0, r"val\.batch_size is 0; want 1 or more"),
    ("val.points", -1, r"val\.points is -1; want 0 or more"),
    ("test.threshold", 2.0, r"threshold is 2\.0; want probabilities between 0 and 1"),
    ("test.threshold", 0.0, r"threshold is 0\.0; want probabilities between"),
    ("model.tau_grid", (), r"tau_grid is \(\); want probabilities between 0 and 1"),
    ("model.tau_grid", (0.2, 1.0), r"tau_grid is .*; want probabilities between"),
    ("data.near_fraction", 2.0, r"near_fraction is 2\.0; .* not more than 1"),
    ("optim.ema_decay", 1.0, r"ema_decay is 1\.0; .* not 1 or more"),
  ],
)
def test_settings_that_do_not_agree_are_refused(field, value, message):
  config = base.get_config()
  config.update_from_flattened_dict({field: value})
  with pytest.raises(ValueError, match=message):
    config_lib.parse(config.to_dict())


@pytest.mark.parametrize(
  ("fields", "message"),
  [
    ({"data.inputs": "none"}, "'pointnet_simple', which reads cloud, but .* 'none'"),
    ({"data.inputs": "voxels"}, "reads cloud, but .* is 'voxels'"),
    ({"model.encoder": "voxel_simple"}, "reads voxels, but .* is 'cloud'"),
    ({"model.encoder": "resnet18"}, "reads image or images, but .* is 'cloud'"),
    ({"model.encoder": "code_table"}, "reads index, but .* is 'cloud'"),
    ({"model.c_dim": 0}, "c_dim is 0 with the encoder 'pointnet_simple'; want 1"),
  ],
)
def test_no_encoder_is_trained_on_inputs_that_it_does_not_read(
  tiny_config, tmp_path, fields, message
):
  for name, value in fields.items():
    section, field = name.split(".")
    tiny_config[section][field] = value
  with pytest.raises(ValueError, match=message):
    loop.train(tiny_config, tmp_path)


def test_every_recipe_has_an_encoder_of_its_inputs():
  for name, variant in RECIPES:
    module = importlib.import_module(f"configs.{name}")
    config = module.get_config(*variant).to_dict()
    config_lib.check_encoder(config["model"], config["data"]["inputs"])


def test_an_override_may_be_older_and_of_another_system():
  """It replaces how a network is used, and nothing of what the network is."""
  run = base.get_config("deepsdf").to_dict()
  by = base.get_config("onet").to_dict()
  by["test"]["tau"] = 0.4  # the field's name in version 0.1.0
  del by["test"]["threshold"]
  by["generation"]["upsampling_steps"] = 1
  used = config_lib.override(run, by)
  assert used["model"] == run["model"] and used["data"] == run["data"]
  settings = config_lib.parse(used)
  assert settings.test.threshold == 0.4 and settings.generation.upsampling_steps == 1
  by["model"]["tau_grid"] = (0.5,)
  assert config_lib.override(by | {"test": {}}, by)["model"]["tau_grid"] == (0.5,)
  run, by = (base.get_config("single").to_dict() for _ in range(2))
  by["model"] |= {"levels_used": 2, "hidden_size": 3}
  model = config_lib.override(run, by)["model"]
  assert model == run["model"] | {"levels_used": 2}
  del by["generation"]
  with pytest.raises(ValueError, match="lacks generation; see configs"):
    config_lib.override(run, by)


def test_unknown_and_missing_fields_are_named():
  config = base.get_config().to_dict()
  config["train"]["stepps"] = config["train"].pop("steps")
  with pytest.raises(ValueError, match=r"config.train: stepps, steps missing or"):
    config_lib.parse(config)


def test_a_field_that_is_gone_is_refused_where_it_changed_the_result():
  config = base.get_config().to_dict()
  config["train"]["accumulate"] = 1
  assert "accumulate" not in migration.migrate(config)["train"]
  config["train"]["accumulate"] = 4
  migration.migrate(config)  # such a run can still be used
  with pytest.raises(ValueError, match=r"config.train.accumulate is 4, .* gone"):
    migration.migrate(config, to_resume=True)


def test_records_of_earlier_checkpoints_have_a_level():
  record = migration.migrate_record({"tau": 0.2, "step": 3, "owed": True})
  assert record == {"level": np.log(0.25), "step": 3, "validation_pending": True}
  assert float(jax.nn.sigmoid(record["level"])) == pytest.approx(0.2)
