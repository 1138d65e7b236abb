"""Tables of meshes, by hand and as they are written."""

import pathlib

import pytest

from data_prep.sources import table
from data_prep.sources.entry import MeshEntry


def _table(folder, text, encoding="utf-8"):
  path = folder / "meshes.csv"
  path.write_bytes(text.encode(encoding))
  return path


def test_a_table_names_file_category_and_split(tmp_path):
  path = _table(
    tmp_path,
    "\ufeffFile, category,split,License,attribution,id\r\n"
    'b/Stuhl 1.obj,chair,test,CC BY 4.0,"Doe, J.",\r\n'
    "/abs/a.ply,Tisch,,,,t1\r\n",
  )
  assert table.list_meshes(path) == [
    MeshEntry("Tisch", "t1", pathlib.Path("/abs/a.ply")),
    MeshEntry(
      "chair",
      "Stuhl 1",
      tmp_path / "b" / "Stuhl 1.obj",
      "test",
      "Doe, J.",
      "CC BY 4.0",
    ),
  ]


def test_a_written_table_reads_back_the_same(tmp_path):
  entries = [
    MeshEntry("a b", "x,1", tmp_path / "a b" / "ü.obj", "val", 'Doe "D", J.', "CC0"),
    MeshEntry("c", "y", tmp_path / "y.obj"),
  ]
  table.write_table(tmp_path / "meshes.csv", entries)
  assert table.list_meshes(tmp_path / "meshes.csv") == entries


@pytest.mark.parametrize(
  ("text", "message"),
  [
    ("", "columns"),
    ("file,category\n", "lists no meshes"),
    ("file,spilt\na.obj,train\n", "columns"),
    ("file,category,spilt\na.obj,chair,train\n", "columns"),
    ("file,category\na.obj,\n", "line 2: no category"),
    ("file,category\na.obj,chair\n,chair\n", "line 3: no file"),
    ("file,category,split\na.obj,chair,validation\n", "split is 'validation'"),
    ("file,category\na.obj,chair,bench\n", "more values than columns"),
    ('file,category\n"a.obj,chair\n', "no CSV"),
  ],
)
def test_a_table_that_is_not_as_wanted_is_refused(tmp_path, text, message):
  with pytest.raises(ValueError, match=message):
    table.list_meshes(_table(tmp_path, text))


def test_a_table_in_another_encoding_is_refused(tmp_path):
  with pytest.raises(ValueError, match="UTF-8"):
    table.list_meshes(_table(tmp_path, "file,category\nStühle.obj,a\n", "latin-1"))


def test_a_missing_table_is_refused(tmp_path):
  with pytest.raises(ValueError, match="no such file"):
    table.list_meshes(tmp_path / "none.csv")
