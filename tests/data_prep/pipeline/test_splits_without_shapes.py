"""What a preparation says of splits and categories that have no shape."""

import pytest
import trimesh

from data_prep.pipeline import prepare as prepare_lib
from data_prep.pipeline import report
from occnet_jax.data import source
from tests.helpers.small_data import SMALL


def test_categories_without_a_test_shape_are_named(tmp_path):
  for category, number in (("box", 2), ("plate", 1)):
    (tmp_path / "meshes" / category).mkdir(parents=True)
    for i in range(number):
      box = trimesh.creation.box((1, 2 + i, 1 if category == "box" else 0.5))
      box.export(tmp_path / "meshes" / category / f"{i}.ply")
  out = tmp_path / "out"
  made = prepare_lib.prepare(source=f"folder:{tmp_path / 'meshes'}", out=out, **SMALL)
  assert made.shapes == {"train": 2, "val": 0, "test": 1}
  (line,) = [x for x in report.summarise(out).splitlines() if "no test shape" in x]
  assert line.startswith("no test shape of plate, so no figures of theirs")


def test_a_split_without_shapes_comes_with_what_to_do(tmp_path):
  for category in ("box", "plate"):
    (tmp_path / "meshes" / category).mkdir(parents=True)
    for i in range(2):  # one for training, one for the test, none for validation
      box = trimesh.creation.box((1, 2 + i, 1 if category == "box" else 0.5))
      box.export(tmp_path / "meshes" / category / f"{i}.ply")
  out = tmp_path / "out"
  made = prepare_lib.prepare(source=f"folder:{tmp_path / 'meshes'}", out=out, **SMALL)
  assert made.shapes == {"train": 2, "val": 0, "test": 2}
  (line,) = [x for x in report.summarise(out).splitlines() if x.startswith("warning:")]
  assert "no shape for val" in line
  with pytest.raises(ValueError, match="has no split 'val'") as raised:
    source.open_split(out, "val", {})
  for text in (line, str(raised.value)):
    assert "--config.val.split=train" in text and "prep.val_fraction" in text
  assert len(source.open_split(out, "train", {})) == 2
