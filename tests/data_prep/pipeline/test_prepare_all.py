"""Several data sets by one config, each in its own directory."""

import json

import pytest

from configs import base, scan
from data_prep.pipeline import prepare as prepare_lib
from occnet_jax.cli import stages
from occnet_jax.data import source
from tests.helpers.small_data import SMALL

HOLLOW = {"source": "hollow", "per_category": 1, "points": 300}


def test_the_stage_prepares_each_with_what_differs(tmp_path, capsys):
  config = base.get_config().to_dict()
  config["prep"] |= SMALL | {"out": str(tmp_path / "a"), "per_category": 2}
  config["prep"] |= {"points": 200, "val_fraction": 0.0, "test_fraction": 0.0}
  config["prep"]["others"] = {"hollow": HOLLOW | {"out": str(tmp_path / "b")}}
  stages.prepare(config, None)
  settings = [json.loads((tmp_path / k / "prepare.json").read_text()) for k in "ab"]
  assert settings[0]["points"] == 200 and settings[1]["points"] == 300
  sizes = [
    len(source.open_split(tmp_path / k, "train", {"points": {"points": True}}))
    for k in "ab"
  ]
  assert sizes == [2 * 13, 1]
  printed = capsys.readouterr().out
  assert str(tmp_path / "a") in printed and str(tmp_path / "b") in printed


@pytest.mark.parametrize(
  ("own", "message"),
  [
    ({"out": "b", "point": 3}, r"prep.others.more: 'point' is no setting; want some"),
    ({"source": "hollow"}, r"prep.others.more.out: want a directory of its own"),
    ({"out": "./a"}, r"prep.others.more.out: want a directory of its own"),
  ],
)
def test_settings_that_do_not_fit_are_refused_before_anything_is_made(
  tmp_path, monkeypatch, own, message
):
  monkeypatch.chdir(tmp_path)
  with pytest.raises(ValueError, match=message):
    prepare_lib.prepare_all(source="synthetic", out="a", others={"more": own})
  assert list(tmp_path.iterdir()) == []


def test_the_mixture_of_scans_is_what_is_prepared_for_it():
  config = scan.get_config().to_dict()
  made = [own["out"] for own in config["prep"]["others"].values()]
  assert sorted(directory for directory, _ in config["data"]["mixture"]) == sorted(made)
  assert config["data"]["dir"] == config["prep"]["out"]
