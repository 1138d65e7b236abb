"""From the string of a source to its meshes."""

import zipfile

import pytest

from data_prep import sources
from data_prep.sources import synthetic
from data_prep.sources.entry import MeshEntry, check_names


def _collect(source, out):
  return sources.collect(source, out, per_category=1, seed=3, workers=1)


def _touch(root, *names):
  for name in names:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).touch()
  return root


def test_each_kind_of_source_is_found_by_its_name(tmp_path):
  _touch(tmp_path / "folder", "chair/a.obj")
  _touch(tmp_path / "shapenet", "03001627/a/model.obj")
  _touch(tmp_path / "official", "03001627/a/points.npz")
  (tmp_path / "t.csv").write_text("file,category,split\na.obj,chair,val\n")
  catalogue = "category#1=Living room\nmodel#1=/a.obj\n"
  with zipfile.ZipFile(tmp_path / "a.sh3f", "w") as library:
    library.writestr("PluginFurnitureCatalog.properties", catalogue)
  names = {}
  for number, source in enumerate(
    (
      "folder:folder",
      "csv:t.csv",
      "shapenet:shapenet",
      "official:official",
      "sh3f:a.sh3f",
    )
  ):
    kind, _, where = source.partition(":")
    entries = _collect(f"{kind}:{tmp_path / where}", tmp_path / f"out{number}")
    names[kind] = [(*entry[:2], entry.split) for entry in entries]
  assert names == {
    "folder": [("chair", "a", "")],
    "csv": [("chair", "a", "val")],
    "shapenet": [("03001627", "a", "")],
    "official": [("03001627", "a", "")],
    "sh3f": [("living-room", "a-a", "")],
  }


def test_hollow_shapes_are_a_source_of_their_own(tmp_path):
  entries = _collect("hollow", tmp_path)
  assert {entry.category for entry in entries} == {"hollow"}


def test_synthetic_shapes_are_made_where_the_data_set_lies(tmp_path):
  entries = _collect("synthetic", tmp_path)
  assert [entry.category for entry in entries] == list(synthetic.CATEGORIES)
  assert all(entry.path.is_relative_to(tmp_path / "meshes") for entry in entries)


@pytest.mark.parametrize("source", ["", "folder", "folder:", "csv:", "sh3f", "web:x"])
def test_an_unknown_source_is_refused_with_those_there_are(tmp_path, source):
  with pytest.raises(ValueError, match="want one of: synthetic, hollow, folder:"):
    _collect(source, tmp_path)


def test_a_folder_without_its_kind_is_told_of_it(tmp_path):
  with pytest.raises(ValueError, match=f"want one of: .*; for .* folder:{tmp_path}$"):
    _collect(str(tmp_path), tmp_path)


def test_two_files_of_one_name_are_refused(tmp_path):
  _touch(tmp_path, "chair/a/b.obj", "chair/a-b.obj")
  with pytest.raises(ValueError, match=r"2 meshes are chair/a-b.*column id"):
    _collect(f"folder:{tmp_path}", tmp_path / "out")
  (tmp_path / "t.csv").write_text("file,category\nx/a.obj,chair\ny/a.obj,chair\n")
  with pytest.raises(ValueError, match="2 meshes are chair/a:"):
    _collect(f"csv:{tmp_path / 't.csv'}", tmp_path / "out")


@pytest.mark.parametrize("name", ["", "..", ".hidden", "a/b", "a\nb", "a\0"])
def test_a_name_that_no_file_can_have_is_refused(tmp_path, name):
  for entry in (MeshEntry(name, "a", tmp_path), MeshEntry("a", name, tmp_path)):
    with pytest.raises(ValueError, match="want names without"):
      check_names([entry])
