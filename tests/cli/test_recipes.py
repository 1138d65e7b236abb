"""Recipes by name, their fields with their meaning, and the config of a run."""

import json

import pytest

from configs import base, onet
from configs.models import ifnet as ifnet_fields
from occnet_jax.cli import config_table, recipes
from tests.helpers import ROOT


def failure(call, *args):
  with pytest.raises(ValueError) as caught:
    call(*args)
  return str(caught.value)


@pytest.mark.parametrize("name", ["onet", "onet.py", "configs/onet.py", "configs/onet"])
@pytest.mark.parametrize("variant", ["", ":image"])
def test_a_recipe_has_a_name_in_any_folder(name, variant, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  assert recipes.resolve(name + variant) == f"{ROOT}/configs/onet.py{variant}"
  expected = onet.get_config(*([variant[1:]] if variant else [])).to_dict()
  assert recipes.load(name + variant) == expected


def test_a_file_of_ones_own_comes_first(tmp_path, monkeypatch):
  (tmp_path / "configs").mkdir()
  monkeypatch.chdir(tmp_path)
  (tmp_path / "configs" / "onet.py").write_text(
    "from configs import base\n\n\ndef get_config():\n"
    "  config = base.get_config()\n  config.name = 'mine'\n  return config\n"
  )
  assert recipes.load("configs/onet.py")["name"] == "mine"
  assert recipes.load("onet")["name"] == "onet:pointcloud"


def test_fields_are_changed_and_mistakes_are_sentences():
  config = recipes.load("own_data", ["--config.train.steps=7", "--config.prep.out=a"])
  assert config["train"]["steps"] == 7 and config["data"]["dir"] == "a"
  message = failure(recipes.load, "own_data", ["--config.train.stepz=7"])
  assert message.startswith("--config.train.stepz: the config has no field stepz; want")
  message = failure(recipes.load, "own_date")
  assert message.startswith("--config=own_date: no such recipe; want own_data, or ano")
  assert "no such variant" in failure(recipes.load, "onet:photo")
  message = failure(recipes.load, "elsewhere/onet.py")
  assert "no such config file" in message


def test_the_config_of_a_run_comes_back_with_changes(tmp_path):
  config = base.get_config("ifnet").to_dict()
  (tmp_path / "config.json").write_text(json.dumps(config))
  assert recipes.load_run(tmp_path) == config
  changed = recipes.load_run(
    tmp_path, ["--config.test.shapes=3", "--config.model.hidden_sizes=(8,8)"]
  )
  assert changed["test"]["shapes"] == 3 and changed["model"]["hidden_sizes"] == (8, 8)
  changed["test"]["shapes"] = config["test"]["shapes"]
  changed["model"]["hidden_sizes"] = config["model"]["hidden_sizes"]
  assert changed == config
  message = failure(recipes.load_run, tmp_path / "nowhere")
  assert message.endswith("name its config, as in --config=own_data")


def test_a_value_that_a_run_left_open_can_be_set(tmp_path):
  config = base.get_config().to_dict()
  assert config["test"]["threshold"] is None
  (tmp_path / "config.json").write_text(json.dumps(config))
  changed = recipes.load_run(tmp_path, ["--config.test.threshold=0.4"])
  assert changed["test"]["threshold"] == 0.4


def test_every_field_of_every_recipe_has_a_meaning():
  for name in (*recipes.names(), "base"):
    for row in config_table.rows(name):
      assert row.meaning, f"{name}: {row.name}"


def test_a_meaning_is_the_comment_behind_a_field_or_above_it(tmp_path):
  path = tmp_path / "fields.py"
  path.write_text(
    "def get_config():\n"
    "  config = make()\n"
    "  one = config.one = make()\n"
    "  one.first = 1  # behind it\n"
    "  # Above it, in\n"
    "  # two lines.\n"
    "  one.second = 2\n"
    "  two = one.two = make()\n"
    "\n"
    "  two.third = 3\n"
    "  config.last = make(\n"
    "    4  # within it\n"
    "  )\n"
  )
  assert config_table.comments(path) == {
    "one.first": "behind it",
    "one.second": "Above it, in two lines.",
    "one.two.third": "",
    "last": "within it",
  }


def test_the_table_has_every_field_once_and_its_value():
  names = [row.name for row in config_table.rows("ifnet")]
  assert len(set(names)) == len(names) and "prep.solid.fill" in names
  own = ifnet_fields.get_config()
  assert {f"model.{name}" for name in own} == {n for n in names if n[:6] == "model."}
  text = config_table.as_text("ifnet:svr", ["--config.seed=12"])
  assert "\nseed = 12\n    seed of initial values" in text
  listed = config_table.as_text(None)
  assert all(f"{name} " in listed for name in recipes.names())
