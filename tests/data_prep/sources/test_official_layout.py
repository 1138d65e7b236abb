"""The reference's layout, written by hand as its scripts do and read back."""

import json

import numpy as np
import pytest
from PIL import Image

from data_prep.pipeline import shards
from data_prep.sources import official
from occnet_jax.data import images
from occnet_jax.geometry import cameras
from tests.helpers.official_files import LOC, NUMBERS, SCALE, make_cells


def _binvox(cells):
  """Run lengths with y fastest, then z, then x, as Min's program writes them."""
  values = cells.transpose(0, 2, 1).ravel().astype(np.uint8)
  runs = b"".join(bytes([value, 1]) for value in values)
  side = len(cells)
  head = f"#binvox 1\ndim {side} {side} {side}\ntranslate -0.5 -0.5 -0.5\nscale 1\n"
  return head.encode() + b"data\n" + runs


def _write_model(folder, *, count=1003, seed=0):
  """A model with 1,003 points, 600 surface points and 3 views."""
  rng = np.random.default_rng(seed)
  folder.mkdir(parents=True)
  frame = {"loc": LOC, "scale": np.float64(SCALE)}
  points = (1.1 * (rng.random((count, 3)) - 0.5)).astype(np.float16)
  inside = np.linalg.norm(points.astype(float), axis=1) < 0.5
  packed = np.packbits(inside)
  np.savez(folder / "points.npz", points=points, occupancies=packed, **frame)
  cloud = {
    name: rng.random((600, 3)).astype(np.float16) for name in ("points", "normals")
  }
  np.savez(folder / "pointcloud.npz", **cloud, **frame)
  (folder / "model.binvox").write_bytes(_binvox(make_cells()))
  pictures = folder / "img_choy2016"
  pictures.mkdir()
  matrices = {}
  for i in range(3):
    Image.new("RGB", (137, 137), (250, 10 * i, 0)).save(pictures / f"{i:03}.jpg")
    matrices[f"world_mat_{i}"] = cameras.world_matrix(40.0 * i, 27.0, 8.0 + i)
    matrices[f"camera_mat_{i}"] = cameras.camera_matrix(137)
  np.savez(pictures / "cameras.npz", **matrices)
  return points, inside, cloud, matrices


def test_models_are_listed_with_the_split_of_their_list(tmp_path):
  (tmp_path / "metadata.yaml").write_text(
    json.dumps({"02691156": {"id": "02691156", "name": "airplane,aeroplane,plane"}})
  )
  for synset in ("02691156", "03001627", "04379243"):
    (tmp_path / synset).mkdir()
  (tmp_path / "02691156" / "train.lst").write_text("b\na")
  (tmp_path / "02691156" / "test.lst").write_text("c\n")
  (tmp_path / "02691156" / "softras_test.lst").write_text("a")
  _write_model(tmp_path / "03001627" / "d")
  (tmp_path / "03001627" / "empty").mkdir()
  entries = official.list_examples(tmp_path)
  assert [entry[:4] for entry in entries] == [
    ("03001627", "d", tmp_path / "03001627" / "d", ""),
    ("airplane", "a", tmp_path / "02691156" / "a", "train"),
    ("airplane", "b", tmp_path / "02691156" / "b", "train"),
    ("airplane", "c", tmp_path / "02691156" / "c", "test"),
  ]
  assert all("ShapeNet" in entry.licence for entry in entries)


def test_a_table_beside_the_synsets_tells_the_licence(tmp_path):
  for synset in ("1", "chair"):
    _write_model(tmp_path / synset / "a")
  (tmp_path / "meshes.csv").write_text(
    "file,category,licence,attribution\n1/a,1,CC0,Doe\n"
  )
  entries = official.list_examples(tmp_path)
  assert [entry[4:] for entry in entries] == [("Doe", "CC0"), ("", "")]


def test_a_model_is_read_as_the_arrays_of_an_example(tmp_path):
  points, inside, cloud, _ = _write_model(tmp_path / "a")
  example = official.read_example(tmp_path / "a", **NUMBERS)
  np.testing.assert_array_equal(example["points"]["points"], points[:1000])
  found = np.unpackbits(example["points"]["occupancies"])[:1000]
  np.testing.assert_array_equal(found, inside[:1000])
  for name in ("points", "normals"):
    np.testing.assert_array_equal(example["pointcloud"][name], cloud[name][:500])
  cells = np.unpackbits(example["voxels"]).reshape(4, 4, 4)
  np.testing.assert_array_equal(cells, make_cells())
  np.testing.assert_array_equal(example["loc"], LOC)
  assert example["scale"] == SCALE
  for i in range(2):
    picture = images.decode_view(example["views"], i)
    assert picture.shape == (137, 137, 3)
    np.testing.assert_allclose(picture[0, 0], (250, 10 * i, 0), atol=4)
  features = shards.make_features(**NUMBERS)
  described = {"id": "a", "category": "chair"}
  for name in features.keys() - example.keys() - described.keys():
    described[name] = ""  # what is known of a mesh only
  features.serialize_example({**example, **described})


def test_a_view_sees_the_unit_cube_where_the_file_saw_the_mesh(tmp_path):
  *_, matrices = _write_model(tmp_path / "a")
  views = official.read_example(tmp_path / "a", **NUMBERS)["views"]
  points = np.random.default_rng(0).random((20, 3)) - 0.5
  for i in range(2):
    world_mat, camera_mat = matrices[f"world_mat_{i}"], matrices[f"camera_mat_{i}"]
    pixels, depth = cameras.project(SCALE * points + LOC, world_mat, camera_mat)
    found, near = cameras.project(points, views["world_mat"][i], views["camera_mat"][i])
    np.testing.assert_allclose(found, pixels, atol=1e-3)
    np.testing.assert_allclose(near, depth / SCALE, rtol=1e-5)
    rotation = views["world_mat"][i][:, :3]
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-6)


def test_pictures_have_the_cameras_of_their_number(tmp_path):
  _write_model(tmp_path / "a")
  every = {**NUMBERS, "views": 3}
  whole = official.read_example(tmp_path / "a", **every)["views"]["world_mat"]
  (tmp_path / "a" / "img_choy2016" / "001.jpg").unlink()
  found = official.read_example(tmp_path / "a", **NUMBERS)["views"]["world_mat"]
  np.testing.assert_array_equal(found, whole[[0, 2]])


def test_occupancies_are_read_packed_or_not(tmp_path):
  _write_model(tmp_path / "a")
  packed = official.read_example(tmp_path / "a", **NUMBERS)["points"]
  path = tmp_path / "a" / "points.npz"
  with np.load(path) as stored:
    arrays = dict(stored)
  for kind in (bool, np.uint8, np.float32):
    inside = np.unpackbits(arrays["occupancies"])[:1003].astype(kind)
    np.savez(path, **{**arrays, "occupancies": inside})
    found = official.read_example(tmp_path / "a", **NUMBERS)["points"]
    np.testing.assert_array_equal(found["occupancies"], packed["occupancies"])


def _without(name, key):
  def damage(folder):
    with np.load(folder / name) as stored:
      arrays = dict(stored)
    del arrays[key]
    np.savez(folder / name, **arrays)

  return damage


def _with(name, **changed):
  def damage(folder):
    with np.load(folder / name) as stored:
      arrays = dict(stored)
    np.savez(folder / name, **{**arrays, **changed})

  return damage


def _text(name, content=b"hello"):
  return lambda folder: (folder / name).write_bytes(content)


def _gone(name):
  return lambda folder: (folder / name).unlink()


@pytest.mark.parametrize(
  ("damage", "message"),
  [
    (_gone("points.npz"), "points.npz: no such file"),
    (_gone("pointcloud.npz"), "pointcloud.npz: no such file"),
    (_gone("model.binvox"), "model.binvox: no such file"),
    (_gone("img_choy2016/cameras.npz"), "cameras.npz: no such file"),
    (_text("points.npz"), "points.npz: cannot be read"),
    (_text("model.binvox"), "model.binvox: cannot be read"),
    (_text("model.binvox", _binvox(make_cells())[:-4]), "model.binvox: cannot be read"),
    (_text("model.binvox", _binvox(np.ones((5, 5, 5)))), "5 x 5 x 5 cells, want 4"),
    (_text("img_choy2016/000.jpg"), "000.jpg: cannot be decoded"),
    (_without("points.npz", "occupancies"), "occupancies"),
    (_without("pointcloud.npz", "normals"), "normals"),
    (_without("img_choy2016/cameras.npz", "world_mat_1"), "world_mat_1"),
    (_with("points.npz", points=np.ones((5, 3))), "occupancies have the shape"),
    (_with("points.npz", occupancies=np.ones(7)), "occupancies have the shape"),
    (_with("pointcloud.npz", points=np.ones((499, 3))), "want at least"),
    (_with("pointcloud.npz", normals=np.ones((600, 2))), "want at least"),
    (_with("pointcloud.npz", points=np.full((600, 3), np.nan)), "not finite"),
    (_with("pointcloud.npz", scale=0.0), "scale 0.0"),
    (_with("pointcloud.npz", loc=np.ones(2)), "three numbers"),
    (_with("pointcloud.npz", points=np.array([{}])), "cannot be read"),
    (_with("img_choy2016/cameras.npz", world_mat_1=np.eye(4)), "cameras.npz"),
  ],
)
def test_a_damaged_model_is_refused_with_the_file_named(tmp_path, damage, message):
  folder = tmp_path / "a"
  _write_model(folder)
  damage(folder)
  with pytest.raises(ValueError, match=message):
    official.read_example(folder, **NUMBERS)


@pytest.mark.parametrize(
  ("changed", "message"),
  [
    ({"points": 2000}, "want at least"),
    ({"views": 24}, "3 pictures, want 24"),
    ({"near_points": 10}, "points_surface.npz: no such file"),
    ({"voxel_side": 64}, "want 64 a side"),
  ],
)
def test_more_than_the_files_hold_is_refused(tmp_path, changed, message):
  _write_model(tmp_path / "a")
  with pytest.raises(ValueError, match=message):
    official.read_example(tmp_path / "a", **{**NUMBERS, **changed})


@pytest.mark.parametrize(
  ("name", "text", "message"),
  [
    ("metadata.yaml", "{", "metadata.yaml: cannot be read"),
    ("metadata.yaml", "[1, 2]", "metadata.yaml: cannot be read"),
    ("1/val.lst", "a\nb", "a is in train.lst too"),
    ("1/train.lst", "\n", "no models"),
  ],
)
def test_a_layout_that_cannot_be_used_is_refused(tmp_path, name, text, message):
  (tmp_path / "1").mkdir()
  (tmp_path / "1" / "train.lst").write_text("a")
  (tmp_path / name).write_text(text)
  with pytest.raises(ValueError, match=message):
    official.list_examples(tmp_path)


def test_a_folder_without_synsets_is_refused(tmp_path):
  with pytest.raises(ValueError, match="no models"):
    official.list_examples(tmp_path)
  with pytest.raises(ValueError, match="no such folder"):
    official.list_examples(tmp_path / "none")
