"""Several data sets by one config, each in its own directory."""

import json
import shutil

import pytest
import trimesh

from configs import base, scan
from data_prep.pipeline import contents, mixture, report
from data_prep.pipeline.prepare import prepare
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
    mixture.prepare_all(source="synthetic", out="a", others={"more": own})
  assert list(tmp_path.iterdir()) == []


def test_a_mesh_is_in_one_data_set_of_a_mixture_and_in_one_of_its_splits(
  tmp_path, write_meshes
):
  """Its file in a second folder, under another name, is a duplicate there."""
  first = write_meshes(tmp_path / "first", 3)
  second = tmp_path / "second"
  shutil.copytree(first / "box", second / "chest")
  (second / "ball").mkdir()
  for name in ("a", "b"):
    trimesh.creation.icosphere(2, 1 + ord(name)).export(second / "ball" / f"{name}.ply")
  settings = SMALL | {"val_fraction": 0.4, "test_fraction": 0.3}
  own = {"source": f"folder:{second}", "out": tmp_path / "b"}
  sets = mixture.prepare_all(
    source=f"folder:{first}", out=tmp_path / "a", others={"more": own}, **settings
  )
  assert [sum(each.shapes.values()) for each in sets] == [6, 2]
  left_out = [row for row in report.read(tmp_path / "b") if row["outcome"] != "ok"]
  assert [row["reason"] for row in left_out] == [
    f"same content as box/box_0{k} of {tmp_path / 'a'}" for k in range(3)
  ]
  again = mixture.prepare_all(
    source=f"folder:{first}", out=tmp_path / "a", others={"more": own}, **settings
  )
  assert again == sets
  alone = prepare(source=f"folder:{second}", out=tmp_path / "c", **settings)
  assert sum(alone.shapes.values()) == 5
  assert not (tmp_path / "c" / contents.FILE).exists()


def test_what_is_kept_twice_on_purpose_is_kept_across_a_mixture(tmp_path, write_meshes):
  meshes = write_meshes(tmp_path / "meshes", 2)
  own = {"out": tmp_path / "b", "seed": 3}
  settings = SMALL | {"source": f"folder:{meshes}", "duplicates": "keep"}
  sets = mixture.prepare_all(out=tmp_path / "a", others={"more": own}, **settings)
  assert [sum(each.shapes.values()) for each in sets] == [4, 4]


def test_the_mixture_of_scans_is_what_is_prepared_for_it():
  config = scan.get_config().to_dict()
  made = [own["out"] for own in config["prep"]["others"].values()]
  assert sorted(directory for directory, _ in config["data"]["mixture"]) == sorted(made)
  assert config["data"]["dir"] == config["prep"]["out"]
