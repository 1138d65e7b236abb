"""The command line of preparation, and the defaults that it shares with the configs."""

import json
import runpy
import subprocess
import sys

import pytest

import data_prep
from data_prep import cli
from data_prep.pipeline import report
from data_prep.watertight import solid
from tests.helpers import ROOT

SMALL = ["points=400", "surface_points=300", "voxel_side=8", "workers=2"]


def test_the_defaults_of_preparation_are_those_of_the_configs():
  """Written twice, because preparation runs where the configs are not installed."""
  config = runpy.run_path(str(ROOT / "configs" / "base.py"))["get_config"]().prep
  config = config.to_dict()
  options = {f"solid.{name}": value for name, value in config.pop("solid").items()}
  others = {"source", "out", "others"}  # which the command line gives, or lacks
  assert others <= config.keys()
  config = {name: config[name] for name in config.keys() - others}
  assert cli.defaults() == config | options


def test_a_folder_becomes_a_data_set_with_the_settings_that_are_given(
  source, tmp_path, capsys
):
  out = tmp_path / "out"
  settings = [*SMALL, "solid.thickness=0", "near_sigmas=0.02,0.04"]
  cli.main([source, "--out", str(out), "--set", *settings, "--set", "shard_size=5"])
  found = json.loads((out / "prepare.json").read_text())
  assert found["points"] == 400 and found["shard_size"] == 5
  assert found["solid"]["thickness"] == 0 and found["near_sigmas"] == [0.02, 0.04]
  assert len(report.read(out)) == 15
  assert f"report: {out / report.FILE}" in capsys.readouterr().out


@pytest.mark.parametrize(
  ("setting", "message"),
  [
    ("points", "'points' is no setting; want name=value with one of the names seed"),
    ("pints=3", "'pints=3' is no setting"),
    ("points=1e5", "points is '1e5', want a value of type int, such as 100000"),
    ("retry=1", "retry is '1', want a value of type bool, such as False"),
    ("near_sigmas=a", "near_sigmas is 'a', want a value of type tuple"),
    ("solid.holes=True", "'solid.holes=True' is no setting"),
    ("points=0", "points is 0, want at least 1"),
  ],
)
def test_a_wrong_setting_ends_with_one_sentence(tmp_path, setting, message):
  with pytest.raises(SystemExit) as caught:
    cli.main(["synthetic", "--out", str(tmp_path), "--set", setting])
  assert str(caught.value).startswith(f"error: {message}")


def test_help_explains_every_setting_with_its_default():
  command = [sys.executable, "-m", "data_prep", "--help"]
  text = subprocess.run(command, capture_output=True, text=True, cwd=ROOT).stdout
  for name, value in cli.defaults().items():
    assert f"\n  {name}={value!r}\n      " in text
  assert "labelled points per shape, uniform in the padded cube" in text


def test_the_package_offers_its_two_functions():
  assert data_prep.make_watertight is solid.make_watertight
  assert callable(data_prep.prepare) and {"prepare"} <= set(dir(data_prep))
  with pytest.raises(AttributeError, match="'prepair'"):
    _ = data_prep.prepair
