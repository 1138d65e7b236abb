"""Categories and names from a folder's files."""

import os
import sys

import pytest

from data_prep.sources import folder


def _touch(root, *names):
  for name in names:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).touch()


def test_sub_folders_are_categories_and_deeper_ones_part_of_the_name(tmp_path):
  _touch(
    tmp_path, "lone.stl", "chair/b.obj", "chair/a.OFF", "table/x/model.ply", "notes.txt"
  )
  entries = folder.list_meshes(tmp_path)
  assert [(entry.category, entry.model_id) for entry in entries] == sorted(
    [(tmp_path.name, "lone"), ("chair", "a"), ("chair", "b"), ("table", "x-model")]
  )
  assert all(entry.path.is_file() for entry in entries)


def test_files_that_differ_in_the_suffix_only_keep_it(tmp_path):
  _touch(tmp_path, "chair/a.obj", "chair/a.ply", "chair/b.obj")
  names = [entry.model_id for entry in folder.list_meshes(tmp_path)]
  assert names == ["a.obj", "a.ply", "b"]


def test_hidden_files_and_folders_are_left_out(tmp_path):
  _touch(tmp_path, "chair/.part-1.off", ".trash/a.obj", "chair/a.obj")
  assert [entry.model_id for entry in folder.list_meshes(tmp_path)] == ["a"]


def test_a_folder_without_meshes_is_refused(tmp_path):
  with pytest.raises(ValueError, match="no mesh files"):
    folder.list_meshes(tmp_path)
  with pytest.raises(ValueError, match="no such folder and no mesh file"):
    folder.list_meshes(tmp_path / "none")


def test_a_file_is_the_one_model_of_a_category_of_its_name(tmp_path):
  _touch(tmp_path, "chair/my chair.obj", "chair/other.obj", "chair/notes.txt")
  (entry,) = folder.list_meshes(tmp_path / "chair" / "my chair.obj")
  assert entry[:2] == ("my chair", "my chair")
  assert entry.path == tmp_path / "chair" / "my chair.obj"
  with pytest.raises(ValueError, match="no such folder and no mesh file"):
    folder.list_meshes(tmp_path / "chair" / "notes.txt")


def test_names_with_spaces_and_of_any_script_are_kept(tmp_path):
  _touch(tmp_path, "Stühle & Tische/椅子 (1).obj", "Stühle & Tische/ .a.b.PLY")
  entries = folder.list_meshes(tmp_path)
  assert [entry[:2] for entry in entries] == [
    ("Stühle & Tische", " .a.b"),
    ("Stühle & Tische", "椅子 (1)"),
  ]


@pytest.mark.skipif(
  sys.platform != "linux", reason="macOS refuses such names, so none can reach the code"
)
def test_names_that_are_no_text_can_be_stored_and_their_files_found(tmp_path):
  for name in (b"a\xff.obj", b"b\nc.obj"):
    (tmp_path / "chair").mkdir(exist_ok=True)
    with open(os.fsencode(tmp_path / "chair") + b"/" + name, "w"):
      pass
  entries = folder.list_meshes(tmp_path)
  assert [entry.model_id for entry in entries] == ["a\ufffd", "b\ufffdc"]
  assert all(entry.path.is_file() for entry in entries)
