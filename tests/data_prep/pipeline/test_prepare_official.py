"""Data of the reference's layout become shards like our own."""

import pytest

from data_prep.pipeline import report
from data_prep.pipeline.prepare import prepare
from data_prep.sources import official_writer
from tests.helpers.small_data import SMALL, read_examples


@pytest.fixture(scope="module")
def layout(prepared, tmp_path_factory):
  """The prepared shapes in the reference's layout."""
  root = tmp_path_factory.mktemp("layout")
  official_writer.write_layout(prepared.directory, root)
  return root


def test_what_was_written_in_the_layout_comes_back_with_its_splits(
  layout, prepared, tmp_path
):
  found = prepare(source=f"official:{layout}", out=tmp_path, **SMALL)
  assert found.shapes == prepared.shapes and found.rejected == 0
  before, after = read_examples(prepared.directory), read_examples(tmp_path)
  assert after.keys() == before.keys()
  for key, example in after.items():
    for name in ("points", "voxels", "category", "id", "split"):
      assert example[name] == before[key][name]
  assert "quality" not in example


def test_a_model_without_its_files_is_a_row(layout, prepared, tmp_path):
  [(split, name), *_] = sorted(read_examples(prepared.directory))
  [folder] = layout.glob(f"*/{name}")
  gone = folder / "pointcloud.npz"
  gone.rename(folder / "away")
  try:
    found = prepare(source=f"official:{layout}", out=tmp_path, **SMALL)
  finally:
    (folder / "away").rename(gone)
  assert found.rejected == 1 and found.shapes[split] == prepared.shapes[split] - 1
  [row] = [row for row in report.read(tmp_path) if row["outcome"] != "ok"]
  assert row["id"] == name and "pointcloud.npz" in row["reason"]


def test_more_than_the_files_hold_is_said_of_each(layout, tmp_path):
  more = {**SMALL, "points": SMALL["points"] + 1}
  with pytest.raises(ValueError, match="none of 12 meshes could be used"):
    prepare(source=f"official:{layout}", out=tmp_path, **more)
