"""Damaged, missing and vanished shards, with real files."""

import os
import pathlib
import shutil

import numpy as np
import pytest

from occnet_jax.data import loader, source

FIELDS = {"points": {"points": True}}


@pytest.fixture
def marked(tiny_data, tmp_path, monkeypatch):
  monkeypatch.setattr(source, "WAITS", (0.01, 0.3))
  return pathlib.Path(shutil.copytree(tiny_data, tmp_path / "data"))


@pytest.fixture
def data(marked):
  """A data set of an earlier version, without marks of its shards."""
  (marked / source.MARKS).unlink()
  return marked


def shard(data, number):
  return sorted(data.glob("*train.array_record*"))[number]


def read_all(split):
  return [split[i]["points"]["points"] for i in range(len(split))]


def test_any_flipped_bit_is_an_error_or_changes_nothing(data):
  path, rng = shard(data, 1), np.random.default_rng(0)
  intact = read_all(source.open_split(data, "train", FIELDS))
  content, noticed = path.read_bytes(), 0
  for at in rng.integers(len(content), size=30):
    changed = bytearray(content)
    changed[at] ^= 1 << rng.integers(8)
    path.write_bytes(changed)
    try:
      read = read_all(source.open_split(data, "train", FIELDS))
    except OSError as error:
      noticed += 1
      assert f"{path}: shape " in str(error)
    else:
      np.testing.assert_array_equal(read, intact)
  assert noticed > 5


@pytest.mark.parametrize("kept", [0.0, 0.5, 0.999])
def test_a_truncated_shard_is_named(data, kept):
  path = shard(data, 1)
  os.truncate(path, int(kept * path.stat().st_size))
  with pytest.raises(OSError, match=rf"{path.name}: shape \d+ cannot be read"):
    read_all(source.open_split(data, "train", FIELDS))


def test_a_shard_of_fewer_shapes_than_it_had_is_an_error(data):
  shutil.copy(shard(data, -1), shard(data, 0))
  lengths = source.open_split(data, "train", FIELDS).shards
  assert lengths[-1][1] < lengths[0][1]
  with pytest.raises(OSError, match=r"00000-of-\d+: shape \d+ cannot be read"):
    read_all(source.open_split(data, "train", FIELDS))


def test_storage_that_comes_back_is_read_again(data, monkeypatch):
  intact = read_all(source.open_split(data, "train", FIELDS))
  split = source.open_split(data, "train", FIELDS)
  away = data.rename(data.with_name("away"))
  waits, sleep = [], source.time.sleep

  def come_back(seconds):
    waits.append(seconds)
    if seconds == 0.3:
      away.rename(data)
    sleep(seconds)

  monkeypatch.setattr(source.time, "sleep", come_back)
  np.testing.assert_array_equal(read_all(split), intact)
  assert 0.3 in waits


def test_storage_that_stays_away_ends_the_batches_with_an_error(data):
  split = source.open_split(data, "train", FIELDS)
  shutil.rmtree(data)
  batches = loader.train_batches(
    split,
    lambda example, rng: {"points": example["points"]["points"]},
    batch_size=4,
    seed=0,
    start=0,
    workers=0,
  )
  with pytest.raises(OSError, match="cannot be read"):
    for _ in range(20):
      next(batches)


def test_errors_that_no_storage_makes_are_raised_at_once(data, monkeypatch):
  def wait(seconds):
    raise AssertionError("the read was repeated")

  monkeypatch.setattr(source.time, "sleep", wait)
  split = source.open_split(data, "train", FIELDS)
  for index in (len(split), 10**9, -1):
    with pytest.raises(IndexError, match=rf"shape {index} of {len(split)} in "):
      split[index]

  class Faulty:
    def __len__(self):
      return 5

    def __getitem__(self, index):
      raise TypeError("a fault of the program")

  split.records = Faulty()
  with pytest.raises(TypeError, match="a fault of the program"):
    split[0]


def test_shapes_that_a_description_leaves_out_are_noticed(data):
  path = data / "dataset_info.json"
  assert '"8"' in path.read_text()
  path.write_text(path.read_text().replace('"8"', '"6"', 1))
  with pytest.raises(ValueError, match=r"holds 8 shapes, but dataset_info.json says 6"):
    for split in ("train", "val", "test"):
      source.open_split(data, split, FIELDS)


def test_a_description_with_a_damaged_name_of_shards_names_the_data_set(data):
  path = data / "dataset_info.json"
  path.write_text(path.read_text().replace("{SHARD", "}SHARD"))
  with pytest.raises(ValueError, match=r"data: dataset_info.json or features.json"):
    source.open_split(data, "train", FIELDS)


@pytest.mark.parametrize("name", ["dataset_info.json", "features.json"])
def test_damaged_descriptions_of_a_data_set_are_an_error_that_names_them(data, name):
  (data / name).write_bytes(b'{"splits": [\xfd')
  with pytest.raises(ValueError, match=r"data: dataset_info.json or features.json"):
    source.open_split(data, "train", FIELDS)


def exchange(data):
  first, second = shard(data, 0), shard(data, 1)
  first.rename(data / "between")
  second.rename(first)
  (data / "between").rename(second)


def copy_over(data):
  shutil.copy(shard(data, 0), shard(data, 1))


def copy_from_test(data):
  shutil.copy(next(data.glob("*test.array_record*")), shard(data, 1))


def cut(data):
  os.truncate(shard(data, 1), shard(data, 1).stat().st_size // 2)


@pytest.mark.parametrize("change", [exchange, copy_over, copy_from_test, cut])
def test_a_shard_that_is_not_the_one_that_was_prepared_is_named(marked, change):
  source.open_split(marked, "train", FIELDS)
  change(marked)
  with pytest.raises(
    ValueError, match=r"array_record-0000\d-of-\d+: is not the shard that was prepared"
  ):
    source.open_split(marked, "train", FIELDS)
  source.open_split(marked, "test", FIELDS)
