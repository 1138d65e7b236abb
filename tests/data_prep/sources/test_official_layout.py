"""The reference's layout, written by hand as its scripts do and read back."""

import json

import numpy as np
import pytest
import tensorflow_datasets as tfds
import trimesh
from PIL import Image

from data_prep import labels, render, sample, shards
from data_prep.prepare import prepare
from data_prep.solid import Solid
from data_prep.sources import official, official_writer
from occnet_jax.data import views as views_lib
from occnet_jax.geometry import cameras

_NUMBERS = {
  "points": 1000,
  "near_points": 0,
  "surface_points": 500,
  "voxel_side": 4,
  "dtype": "float16",
  "views": 2,
}
_LOC, _SCALE = np.array([0.5, -2.0, 3.0]), 4.0


def _cells():
  """A grid that tells its axes apart."""
  cells = np.zeros((4, 4, 4), bool)
  cells[3, 0, 0] = cells[1, 2, 0] = cells[0, 1, 3] = True
  return cells


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
  frame = {"loc": _LOC, "scale": np.float64(_SCALE)}
  points = (1.1 * (rng.random((count, 3)) - 0.5)).astype(np.float16)
  inside = np.linalg.norm(points.astype(float), axis=1) < 0.5
  packed = np.packbits(inside)
  np.savez(folder / "points.npz", points=points, occupancies=packed, **frame)
  cloud = {
    name: rng.random((600, 3)).astype(np.float16) for name in ("points", "normals")
  }
  np.savez(folder / "pointcloud.npz", **cloud, **frame)
  (folder / "model.binvox").write_bytes(_binvox(_cells()))
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
  example = official.read_example(tmp_path / "a", **_NUMBERS)
  np.testing.assert_array_equal(example["points"]["points"], points[:1000])
  found = np.unpackbits(example["points"]["occupancies"])[:1000]
  np.testing.assert_array_equal(found, inside[:1000])
  for name in ("points", "normals"):
    np.testing.assert_array_equal(example["pointcloud"][name], cloud[name][:500])
  cells = np.unpackbits(example["voxels"]).reshape(4, 4, 4)
  np.testing.assert_array_equal(cells, _cells())
  np.testing.assert_array_equal(example["loc"], _LOC)
  assert example["scale"] == _SCALE
  for i in range(2):
    picture = views_lib.decode_view(example["views"], i)
    assert picture.shape == (137, 137, 3)
    np.testing.assert_allclose(picture[0, 0], (250, 10 * i, 0), atol=4)
  features = shards.make_features(**_NUMBERS)
  described = {"id": "a", "category": "chair"}
  for name in features.keys() - example.keys() - described.keys():
    described[name] = ""  # what is known of a mesh only
  features.serialize_example({**example, **described})


def test_a_view_sees_the_unit_cube_where_the_file_saw_the_mesh(tmp_path):
  *_, matrices = _write_model(tmp_path / "a")
  views = official.read_example(tmp_path / "a", **_NUMBERS)["views"]
  points = np.random.default_rng(0).random((20, 3)) - 0.5
  for i in range(2):
    world_mat, camera_mat = matrices[f"world_mat_{i}"], matrices[f"camera_mat_{i}"]
    pixels, depth = cameras.project(_SCALE * points + _LOC, world_mat, camera_mat)
    found, near = cameras.project(points, views["world_mat"][i], views["camera_mat"][i])
    np.testing.assert_allclose(found, pixels, atol=1e-3)
    np.testing.assert_allclose(near, depth / _SCALE, rtol=1e-5)
    rotation = views["world_mat"][i][:, :3]
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-6)


def test_pictures_have_the_cameras_of_their_number(tmp_path):
  _write_model(tmp_path / "a")
  every = {**_NUMBERS, "views": 3}
  whole = official.read_example(tmp_path / "a", **every)["views"]["world_mat"]
  (tmp_path / "a" / "img_choy2016" / "001.jpg").unlink()
  found = official.read_example(tmp_path / "a", **_NUMBERS)["views"]["world_mat"]
  np.testing.assert_array_equal(found, whole[[0, 2]])


def test_occupancies_are_read_packed_or_not(tmp_path):
  _write_model(tmp_path / "a")
  packed = official.read_example(tmp_path / "a", **_NUMBERS)["points"]
  path = tmp_path / "a" / "points.npz"
  with np.load(path) as stored:
    arrays = dict(stored)
  for kind in (bool, np.uint8, np.float32):
    inside = np.unpackbits(arrays["occupancies"])[:1003].astype(kind)
    np.savez(path, **{**arrays, "occupancies": inside})
    found = official.read_example(tmp_path / "a", **_NUMBERS)["points"]
    np.testing.assert_array_equal(found["occupancies"], packed["occupancies"])


def _pyramid():
  vertices = [[-0.5, -0.4, -0.3], [0.5, -0.4, -0.3], [0, 0.4, -0.3], [0, 0, 0.3]]
  faces = [[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]]
  return Solid(np.array(vertices, np.float64), np.array(faces, np.int64))


def _example(views):
  """An example of ours: a solid, sampled and drawn."""
  solid, rng = _pyramid(), np.random.default_rng(0)
  contains = labels.labeller(solid)
  points, occupancies = sample.uniform_points(contains, rng, count=203)
  surface, normals = sample.surface_points(solid, rng, count=50)
  drawn = render.render_views(solid, rng, views=views, side=64)
  images = [render.encode(image) for image in drawn.images]
  return {
    "points": {"points": points, "occupancies": occupancies},
    "points_surface": {"points": points[:16], "occupancies": occupancies[:2]},
    "pointcloud": {"points": surface, "normals": normals},
    "voxels": np.packbits(_cells()),
    "views": {**drawn._asdict(), "images": images},
    "loc": _LOC,
    "scale": np.float64(_SCALE),
  }


def _assert_same(found, wanted):
  for name, value in wanted.items():
    if isinstance(value, dict):
      _assert_same(found[name], value)
    elif name == "world_mat":
      np.testing.assert_allclose(found[name], value, atol=1e-6)
    elif name != "images":
      np.testing.assert_array_equal(found[name], value)
      assert found[name].dtype == value.dtype


def test_a_written_example_reads_back_the_same(tmp_path):
  pytest.importorskip("embreex")
  example = _example(views=2)
  official_writer.write_example(tmp_path / "a", example)
  numbers = {**_NUMBERS, "points": 203, "near_points": 16, "surface_points": 50}
  found = official.read_example(tmp_path / "a", **numbers)
  _assert_same(found, example)
  for i in range(2):
    ours = views_lib.decode_view(example["views"], i).astype(int)
    theirs = views_lib.decode_view(found["views"], i).astype(int)
    assert np.abs(ours - theirs).mean() < 1  # JPEG
  official_writer.write_example(tmp_path / "b", found)
  again = official.read_example(tmp_path / "b", **numbers)
  assert again["views"]["images"] == found["views"]["images"]


def test_files_are_written_with_the_keys_and_types_of_the_reference(tmp_path):
  pytest.importorskip("embreex")
  official_writer.write_example(tmp_path, _example(views=1))
  assert {path.name for path in tmp_path.iterdir()} == {
    "points.npz",
    "points_surface.npz",
    "pointcloud.npz",
    "model.binvox",
    "img_choy2016",
  }
  with np.load(tmp_path / "points.npz") as arrays:
    kinds = {name: (array.shape, str(array.dtype)) for name, array in arrays.items()}
  assert kinds == {
    "points": ((203, 3), "float16"),
    "occupancies": ((26,), "uint8"),
    "loc": ((3,), "float64"),
    "scale": ((), "float64"),
  }
  head, _, body = (tmp_path / "model.binvox").read_bytes().partition(b"data\n")
  assert head.startswith(b"#binvox 1\ndim 4 4 4\n")
  runs = np.frombuffer(body, np.uint8).reshape(-1, 2)
  cells = np.repeat(runs[:, 0], runs[:, 1]).reshape(4, 4, 4).transpose(0, 2, 1)
  np.testing.assert_array_equal(cells, _cells())
  picture = Image.open(tmp_path / "img_choy2016" / "000.jpg")
  assert (picture.format, picture.mode, picture.size) == ("JPEG", "RGB", (64, 64))
  with np.load(tmp_path / "img_choy2016" / "cameras.npz") as arrays:
    kinds = {name: array.shape for name, array in arrays.items()}
  assert kinds == {"world_mat_0": (3, 4), "camera_mat_0": (3, 3)}


def test_a_prepared_data_set_is_written_and_listed_again(tmp_path, tiny_data):
  official_writer.write_layout(tiny_data, tmp_path)
  entries = official.list_examples(tmp_path)
  lists = {
    split: (tmp_path / "box" / f"{split}.lst").read_text()
    for split in ("train", "val", "test")
  }
  assert not any(text.endswith("\n") for text in lists.values())
  assert [len(text.split("\n")) for text in lists.values()] == [14, 2, 4]
  assert {(entry.category, entry.model_id) for entry in entries} == {
    (category, f"{category}_{i:02}")
    for category in ("box", "ellipsoid")
    for i in range(20)
  }
  box = next(entry for entry in entries if entry.model_id == "box_03")
  assert box.model_id in lists[box.split].split("\n")
  numbers = {**_NUMBERS, "points": 2000, "voxel_side": 32, "views": 0}
  example = official.read_example(box.path, **numbers)
  half = np.array([1, 0.49, 0.84]) / 2
  points = example["points"]["points"].astype(np.float64)
  gap = (np.abs(points) - half).max(1)
  inside = np.unpackbits(example["points"]["occupancies"])[:2000]
  clear = np.abs(gap) > 1e-6
  np.testing.assert_array_equal(inside[clear] > 0, gap[clear] < 0)
  metadata = json.loads((tmp_path / "metadata.yaml").read_text())
  assert metadata["ellipsoid"] == {"id": "ellipsoid", "name": "ellipsoid"}


def _read(directory):
  builder = tfds.builder_from_directory(directory)
  return {
    (split, example["category"], example["id"]): example
    for split in builder.info.splits
    for example in builder.as_data_source(split)
  }


def test_a_data_set_prepared_from_the_layout_is_the_one_it_was_written_from(tmp_path):
  rows = ["file,category,split,attribution,licence"]
  for i, split in enumerate(("train", "val", "test")):
    trimesh.creation.box((1, 0.5, 0.2 + i / 10)).export(tmp_path / f"{i}.obj")
    rows.append(f'{i}.obj,Kästen,{split},"Doe, {i}",CC BY')
  (tmp_path / "boxes.csv").write_text("\n".join(rows), encoding="utf-8")
  numbers = {"points": 300, "surface_points": 200, "voxel_side": 8, "workers": 1}
  source = f"csv:{tmp_path / 'boxes.csv'}"
  prepare(source=source, out=tmp_path / "ours", near_points=64, **numbers)
  official_writer.write_layout(tmp_path / "ours", tmp_path / "layout")
  source = f"official:{tmp_path / 'layout'}"
  prepare(source=source, out=tmp_path / "theirs", near_points=64, **numbers)
  ours, theirs = _read(tmp_path / "ours"), _read(tmp_path / "theirs")
  assert ours.keys() == theirs.keys() and len(ours) == 3
  fields = ("points", "points_surface", "pointcloud", "voxels", "loc", "scale")
  for key, example in ours.items():
    _assert_same(theirs[key], {name: example[name] for name in fields})
    for name in ("attribution", "licence"):
      assert theirs[key][name] == example[name] != b""


def test_an_unfinished_data_set_is_not_written(tmp_path):
  with pytest.raises(ValueError, match="prepare it first"):
    official_writer.write_layout(tmp_path, tmp_path / "out")


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
    (_text("model.binvox", _binvox(_cells())[:-4]), "model.binvox: cannot be read"),
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
    official.read_example(folder, **_NUMBERS)


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
    official.read_example(tmp_path / "a", **{**_NUMBERS, **changed})


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
