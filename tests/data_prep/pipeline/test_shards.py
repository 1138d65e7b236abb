"""Written shards, read back by TFDS."""

import numpy as np
import pytest
import tensorflow_datasets as tfds

from data_prep.pipeline import shards
from occnet_jax.data import source as source_lib


def _example(rng, name, dtype, views=0):
  # Bytes of any kind and length, ends of text and of nothing among them.
  files = [rng.bytes(1000 * i) + b"\0\xff\x80\0" * i for i in range(views)]
  pictures = {
    "images": files,
    "world_mat": rng.random((views, 3, 4)).astype(np.float32),
    "camera_mat": rng.random((views, 3, 3)).astype(np.float32),
  }
  return {
    **({"views": pictures} if views else {}),
    "points": {
      "points": rng.random((50, 3)).astype(dtype),
      "occupancies": rng.integers(0, 256, 7).astype(np.uint8),
    },
    "pointcloud": {
      "points": rng.random((40, 3)).astype(dtype),
      "normals": rng.random((40, 3)).astype(dtype),
    },
    "voxels": rng.integers(0, 256, 16).astype(np.uint8),
    "loc": rng.random(3),
    "scale": np.float64(1 / 3),
    "id": name,
    "category": "Stühle",
    "split": "train",
    "attribution": "Zoë, 2019",
    "licence": "",
    "quality": {
      "method": "filled",
      "watertight": bool(rng.integers(2)),
      "parts": 3,
      "lost": rng.random(),
    },
  }


QUALITY = {"method": str, "watertight": bool, "parts": int, "lost": float}


def _assert_same(read, written):
  for key, value in written.items():
    if isinstance(value, dict):
      _assert_same(read[key], value)
    elif isinstance(value, list):
      assert list(read[key]) == value
    elif isinstance(value, str):
      assert read[key].decode() == value
    elif isinstance(value, bool | int | float):
      assert read[key] == value
    else:
      assert read[key].dtype == value.dtype
      np.testing.assert_array_equal(read[key], value)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_a_data_set_is_read_back_by_tfds_as_it_was_written(tmp_path, dtype):
  rng = np.random.default_rng(0)
  features = shards.make_features(
    points=50,
    near_points=0,
    surface_points=40,
    voxel_side=5,
    dtype=dtype,
    quality=QUALITY,
  )
  lengths = {"train": [3, 0, 2], "val": [0], "test": [1]}  # as after rejected meshes
  written = {}
  for split, counts in lengths.items():
    written[split] = []
    for index, count in enumerate(counts):
      examples = [_example(rng, f"{split}{index}{i}", dtype) for i in range(count)]
      path = shards.shard_path(tmp_path, split, index, len(counts))
      shards.write_shard(path, map(features.serialize_example, examples))
      written[split] += examples
  assert not shards.is_complete(tmp_path)
  shards.finish(tmp_path, features, lengths)
  assert shards.is_complete(tmp_path)
  assert not list(tmp_path.glob(".part-*"))
  builder = tfds.builder_from_directory(tmp_path)
  assert set(builder.info.splits) == {"train", "test"}  # no empty split
  for split in ("train", "test"):
    source = builder.as_data_source(split)
    assert len(source) == len(written[split])
    for i in (len(source) - 1, 0):
      _assert_same(source[i], written[split][i])


@pytest.mark.parametrize("views", [1, 5])
def test_views_are_read_back_byte_by_byte_and_only_if_asked_for(tmp_path, views):
  rng = np.random.default_rng(0)
  features = shards.make_features(
    points=50,
    near_points=0,
    surface_points=40,
    voxel_side=5,
    dtype="float16",
    views=views,
    quality=QUALITY,
  )
  examples = [_example(rng, f"shape{i}", "float16", views) for i in range(3)]
  records = map(features.serialize_example, examples)
  shards.write_shard(shards.shard_path(tmp_path, "train", 0, 1), records)
  shards.finish(tmp_path, features, {"train": [3]})
  whole = tfds.builder_from_directory(tmp_path).as_data_source("train")
  pictures = {"images": True, "world_mat": True, "camera_mat": True}
  chosen = source_lib.open_split(tmp_path, "train", {"views": pictures})
  others = source_lib.open_split(tmp_path, "train", {"loc": True})
  for i in (2, 0):
    _assert_same(whole[i], examples[i])
    _assert_same(chosen[i], {"views": examples[i]["views"]})
    assert "loc" not in chosen[i] and "views" not in others[i]


def test_without_views_there_is_no_such_field():
  features = shards.make_features(
    points=50, near_points=0, surface_points=40, voxel_side=5, dtype="float16"
  )
  assert "views" not in features


def test_a_shard_that_fails_midway_leaves_nothing(tmp_path):
  def records():
    yield b"first"
    raise OSError("no space left")

  with pytest.raises(OSError, match="no space"):
    shards.write_shard(tmp_path / "a.array_record-00000-of-00001", records())
  assert not list(tmp_path.iterdir())
