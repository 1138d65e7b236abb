"""The reference's layout as it is written here, from examples and whole data sets."""

import json

import numpy as np
import pytest
import tensorflow_datasets as tfds
import trimesh
from PIL import Image

from data_prep.pipeline import shards
from data_prep.pipeline.prepare import prepare
from data_prep.sampling import inside_test
from data_prep.sampling import points as points_lib
from data_prep.sampling import surface as surface_lib
from data_prep.sources import official, official_rooms, official_writer
from occnet_jax.data import images as images_lib
from occnet_jax.geometry import rendering
from occnet_jax.geometry.solids import Solid
from tests.helpers.official_files import LOC, NUMBERS, SCALE, make_cells


def _pyramid():
  vertices = [[-0.5, -0.4, -0.3], [0.5, -0.4, -0.3], [0, 0.4, -0.3], [0, 0, 0.3]]
  faces = [[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]]
  return Solid(np.array(vertices, np.float64), np.array(faces, np.int64))


def _example(views):
  """An example of ours: a solid, sampled and drawn."""
  solid, rng = _pyramid(), np.random.default_rng(0)
  contains = inside_test.make_inside_test(solid)
  points, occupancies = points_lib.uniform_points(contains, rng, count=203)
  surface, normals = surface_lib.surface_points(solid, rng, count=50)
  drawn = rendering.render_views(solid, rng, views=views, side=64)
  images = [rendering.encode(image) for image in drawn.images]
  return {
    "points": {"points": points, "occupancies": occupancies},
    "points_surface": {"points": points[:16], "occupancies": occupancies[:2]},
    "pointcloud": {"points": surface, "normals": normals},
    "voxels": np.packbits(make_cells()),
    "views": {**drawn._asdict(), "images": images},
    "loc": LOC,
    "scale": np.float64(SCALE),
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
  numbers = {**NUMBERS, "points": 203, "near_points": 16, "surface_points": 50}
  found = official.read_example(tmp_path / "a", **numbers)
  _assert_same(found, example)
  for i in range(2):
    ours = images_lib.decode_view(example["views"], i).astype(int)
    theirs = images_lib.decode_view(found["views"], i).astype(int)
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
  np.testing.assert_array_equal(cells, make_cells())
  with Image.open(tmp_path / "img_choy2016" / "000.jpg") as picture:
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
  numbers = {**NUMBERS, "points": 2000, "voxel_side": 16, "views": 0}
  example = official.read_example(box.path, **numbers)
  half = np.array([1, 0.49, 0.84]) / 2
  points = example["points"]["points"].astype(np.float64)
  gap = (np.abs(points) - half).max(1)
  inside = np.unpackbits(example["points"]["occupancies"])[:2000]
  clear = np.abs(gap) > 1e-6
  np.testing.assert_array_equal(inside[clear] > 0, gap[clear] < 0)
  metadata = json.loads((tmp_path / "metadata.yaml").read_text())
  assert metadata["ellipsoid"] == {"id": "ellipsoid", "name": "ellipsoid"}


@pytest.mark.parametrize("write", [official_writer, official_rooms])
def test_a_data_set_with_names_of_other_folders_is_not_written(
  tmp_path, tiny_data, write
):
  builder = tfds.builder_from_directory(tiny_data)
  example = {**builder.as_data_source("test")[0], "id": "../../escaped"}
  record = shards.serialize(builder.info.features, example)
  data = tmp_path / "data"
  shards.write_shard(shards.shard_path(data, "test", 0, 1), [record])
  shards.finish(data, builder.info.features, {"test": [1]})
  with pytest.raises(ValueError, match="want names without a leading dot, slashes"):
    write.write_layout(data, tmp_path / "a" / "b")
  assert not (tmp_path / "a").exists()


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
