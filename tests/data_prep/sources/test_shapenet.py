"""Trees of ShapeNetCore as they are downloaded."""

import json

import pytest

from data_prep.sources import shapenet

_TAXONOMY = [
  {"synsetId": "02691156", "name": "airplane,aeroplane,plane", "children": ["1"]},
  {"synsetId": "03001627", "name": "chair", "children": []},
  {"synsetId": "03002210", "name": "chair of state", "children": []},
]


def _touch(root, *names):
  for name in names:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).touch()


def test_version_one_and_two_are_listed_by_the_names_of_the_taxonomy(tmp_path):
  _touch(
    tmp_path,
    "03001627/b/model.obj",
    "03001627/a/model.obj",
    "02691156/c/models/model_normalized.obj",
    "02691156/d/models/model_normalized.solid.binvox",  # without its mesh
    "02691156/readme.txt",
  )
  (tmp_path / "taxonomy.json").write_text(json.dumps(_TAXONOMY))
  entries = shapenet.list_meshes(tmp_path)
  assert [(*entry[:2], str(entry.path.relative_to(tmp_path))) for entry in entries] == [
    ("airplane", "c", "02691156/c/models/model_normalized.obj"),
    ("airplane", "d", "02691156/d/models/model_normalized.obj"),
    ("chair", "a", "03001627/a/model.obj"),
    ("chair", "b", "03001627/b/model.obj"),
  ]
  assert {entry.split for entry in entries} == {""}
  assert all("ShapeNet" in entry.licence for entry in entries)


def test_without_a_taxonomy_synsets_are_their_own_category(tmp_path):
  _touch(tmp_path, "03001627/a/model.obj")
  assert shapenet.list_meshes(tmp_path)[0].category == "03001627"


def test_synsets_of_one_name_stay_apart():
  names = {"1": "bow,weapon", "2": "bow", "3": "and/or"}
  assert shapenet.categories(["1", "2", "3", "4"], names) == {
    "1": "bow-1",
    "2": "bow-2",
    "3": "and-or",
    "4": "4",
  }


def test_splits_of_the_challenge_are_kept_and_others_left_out(tmp_path):
  _touch(tmp_path, *(f"02691156/{name}/model.obj" for name in "abcd"))
  (tmp_path / "all.csv").write_text(
    "id,synsetId,subSynsetId,modelId,split\n1,02691156,1,a,train\n2,2691156,1,b,test\n"
    "3,02691156,1,c,val\n4,03001627,1,d,val\n5,03001627,1,e,val\n"
  )
  entries = shapenet.list_meshes(tmp_path)
  assert [entry[1::2][:2] for entry in entries] == [
    ("a", "train"),
    ("b", "test"),
    ("c", "val"),
  ]


@pytest.mark.parametrize(
  ("name", "text", "message"),
  [
    ("taxonomy.json", "{", "taxonomy.json: cannot be read"),
    ("taxonomy.json", '[{"id": 1}]', "want a JSON list"),
    ("all.csv", "a,b\n1,2\n", "all.csv: cannot be read"),
    ("all.csv", "synsetId,modelId,split\n02691156,a,trian\n", r"splits \['trian'\]"),
    ("all.csv", "synsetId,modelId,split\n02691156,x,train\n", "no models"),
  ],
)
def test_a_table_that_cannot_be_used_is_refused(tmp_path, name, text, message):
  _touch(tmp_path, "02691156/a/model.obj")
  (tmp_path / name).write_text(text)
  with pytest.raises(ValueError, match=message):
    shapenet.list_meshes(tmp_path)


def test_a_folder_without_models_is_refused(tmp_path):
  with pytest.raises(ValueError, match="no models"):
    shapenet.list_meshes(tmp_path)
  with pytest.raises(ValueError, match="no such folder"):
    shapenet.list_meshes(tmp_path / "none")
