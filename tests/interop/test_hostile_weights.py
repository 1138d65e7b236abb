"""Pretrained models that are damaged, of another network, or made to do harm."""

import json
import os
import pickle
import shutil
import tracemalloc

import numpy as np
import pytest

from occnet_jax.interop import weights
from occnet_jax.trained_model import Model
from tests.helpers.pretrained import make_model, read_safetensors, write_safetensors

NAME = "params/encoder/fc_pos/kernel"  # (3, 16)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
  directory = tmp_path_factory.mktemp("whole") / "model"
  make_model().save_pretrained(directory)
  return directory


@pytest.fixture
def directory(whole, tmp_path):
  """A copy of a whole model, alone in a folder."""
  return shutil.copytree(whole, tmp_path / "folder" / "model")


def refused(directory, words):
  """One sentence says why, in little memory; nothing is written."""
  before = sorted(directory.parents[1].rglob("*"))
  tracemalloc.start()
  try:
    with pytest.raises(ValueError, match=words) as raised:
      weights.read(directory)
    assert tracemalloc.get_traced_memory()[1] < 2**26
  finally:
    tracemalloc.stop()
  message = str(raised.value)
  assert "\n" not in message and len(message) < 700 and str(directory) in message
  assert sorted(directory.parents[1].rglob("*")) == before


def edit_header(directory, edit):
  path = directory / "model.safetensors"
  header, data = read_safetensors(path)
  data = edit(header, data) or data
  write_safetensors(path, header, data)


def edit_config(directory, edit):
  path = directory / "config.json"
  content = json.loads(path.read_text())
  edit(content)
  path.write_text(json.dumps(content))


@pytest.mark.parametrize("share", [0.0, 0.0001, 0.01, 0.3, 0.9, 0.9999])
def test_a_truncated_file_is_no_whole_one(directory, share):
  path = directory / "model.safetensors"
  content = path.read_bytes()
  path.write_bytes(content[: int(share * len(content))])
  refused(directory, "is no whole safetensors file .*download the model again")


def test_bytes_behind_the_arrays_are_refused(directory):
  with (directory / "model.safetensors").open("ab") as file:
    file.write(b"#!/bin/sh")
  refused(directory, "is no whole safetensors file")


@pytest.mark.parametrize("length", [1, 2**31, 2**62, 2**64 - 1])
def test_a_header_that_lies_about_its_own_size_is_refused(directory, length):
  path = directory / "model.safetensors"
  write_safetensors(path, *read_safetensors(path), length=length)
  refused(directory, "is no whole safetensors file")


@pytest.mark.parametrize(
  "offsets", [[0, 2**40], [2**40, 2**40 + 96], [96, 0], [-96, 0], [0, 95], ["0", "96"]]
)
def test_offsets_that_are_not_those_of_the_array_are_refused(directory, offsets):
  edit_header(directory, lambda header, _: header[NAME].update(data_offsets=offsets))
  refused(directory, "is no whole safetensors file")


@pytest.mark.parametrize(
  ("shape", "words"),
  [
    ([16, 3], r"fc_pos/kernel is F16 of shape \(16, 3\), want F16 or F32 of \(3, 16\)"),
    ([48], r"fc_pos/kernel is F16 of shape \(48,\)"),
    ([2**40, 2**40], "is no whole safetensors file"),
    ([2**63, 2], "is no whole safetensors file"),
    ([-3, -16], "is no whole safetensors file"),
  ],
)
def test_a_shape_that_is_not_the_networks_is_refused(directory, shape, words):
  edit_header(directory, lambda header, _: header[NAME].update(shape=shape))
  refused(directory, words)


@pytest.mark.parametrize("kind", ["BF16", "I16", "U16"])
def test_numbers_of_another_type_are_refused(directory, kind):
  edit_header(directory, lambda header, _: header[NAME].update(dtype=kind))
  refused(directory, f"fc_pos/kernel is {kind} of shape .*want F16 or F32")


def test_an_array_too_many_or_too_few_is_refused(directory):
  def add(header, data):
    for name in ("../../evil", "/tmp/evil", "params/\nevil"):
      header[name] = {
        "dtype": "U8",
        "shape": [1],
        "data_offsets": [len(data), len(data) + 1],
      }
      data += b"!"
    return data

  edit_header(directory, add)
  refused(directory, r"'\.\./\.\./evil' is left over; .*use the files of one model")


def test_a_renamed_array_is_missing_and_left_over(directory):
  def rename(header, data):
    header["../evil"] = header.pop(NAME)

  edit_header(directory, rename)
  refused(directory, r"fc_pos/kernel is missing; '\.\./evil' is left over")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite_are_refused(directory, value):
  def spoil(header, data):
    start = header[NAME]["data_offsets"][0]
    return data[:start] + np.float16(value).tobytes() + data[start + 2 :]

  edit_header(directory, spoil)
  refused(directory, "fc_pos/kernel: 1 of 48 numbers are not finite")


def test_a_pickle_in_place_of_the_weights_runs_nothing(directory, tmp_path):
  class Calls:
    def __reduce__(self):
      return os.system, (f"touch {tmp_path / 'marker'}",)

  (directory / "model.safetensors").write_bytes(pickle.dumps(Calls()))
  refused(directory, "is no whole safetensors file")


def test_weights_far_larger_than_the_network_are_not_opened(directory):
  with (directory / "model.safetensors").open("ab") as file:
    file.truncate(2**33)  # a hole in the file system
  refused(directory, "has 8589934592 bytes, but the network .* use the files of one mo")


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_missing_file_is_named(directory, name):
  (directory / name).unlink()
  refused(directory, f"{name}: no such file")


@pytest.mark.parametrize(
  ("text", "words"),
  [
    (b"", "is no JSON"),
    (b"\xff\xfe", "is no JSON"),
    (b"[" * 200_000, "is no JSON"),
    (b'{"format_version": 1' + b"0" * 5000 + b"}", "is no JSON"),
    (b" " * 2**20 + b"{}", "has 1048578 bytes; want at most 1048576"),
    (
      b"[]",
      "format_version is None, want 1; name a directory that Model.save_pretrain",
    ),
    (b'{"format_version": "1"}', "format_version is '1', want 1"),
    (
      b'{"format_version": 2}',
      "is of format 2, want 1: .*pip install --upgrade occnet",
    ),
    (b'{"format_version": 1}', "lacks one of the sections prep, model, data"),
    (b'{"format_version": 1, "config": 3}', "lacks one of the sections"),
  ],
)
def test_a_config_file_of_another_kind_is_refused(directory, text, words):
  (directory / "config.json").write_bytes(text)
  refused(directory, words)


def test_a_run_in_place_of_a_model_is_named(directory):
  edit_config(directory, lambda content: content.pop("format_version"))
  (directory / "checkpoints").mkdir()
  refused(directory, r"this is a run: load it by occnet_jax\.restore or --workdir")


@pytest.mark.parametrize(
  "name", ["os:system", "occnet_jax.cli.occnet:main", "", None, ["onet"], {"onet": 1}]
)
def test_a_config_names_no_code(directory, name):
  edit_config(directory, lambda content: content["config"]["model"].update(name=name))
  refused(directory, r"want one of: .*a pretrained model brings no code")


@pytest.mark.parametrize(
  ("section", "fields"),
  [
    ("model", {"hidden_size": "many"}),
    ("model", {"hidden_size": -1}),
    ("model", {"hidden_size": None}),
    ("model", {"c_dim": 10**30}),
    ("model", {"decoder": "../decoder"}),
    ("model", {"tau_grid": "0.5"}),
    ("data", {"cloud_points": 10**30}),
    ("data", {"cloud_points": [3]}),
    ("data", {"inputs": "../clouds"}),
    ("data", {"unknown": 1}),
    ("test", {"threshold": "half"}),
    ("generation", {"precision": ["float8"]}),
  ],
)
def test_fields_that_no_network_has_are_one_sentence(directory, section, fields):
  edit_config(directory, lambda content: content["config"][section].update(fields))
  refused(directory, "config.json: describes no network of this version|does not fit")


@pytest.mark.parametrize("value", [None, "x", -1, 1e300, [], {"a": 1}])
def test_any_value_of_any_field_ends_in_a_model_or_in_one_sentence(directory, value):
  path = directory / "config.json"
  whole_file = path.read_text()
  refusals = 0
  for section in ("data", "model", "val", "test", "generation"):
    for name in json.loads(whole_file)["config"][section]:
      content = json.loads(whole_file)
      content["config"][section][name] = value
      path.write_text(json.dumps(content))
      try:
        Model(*weights.read(directory))
      except ValueError as error:
        message = str(error)
        assert str(directory) in message and "\n" not in message and len(message) < 900
        refusals += 1
  assert refusals > 5


@pytest.mark.parametrize(
  "record",
  [
    None,
    [],
    {},
    {"step": "12"},
    {"step": 1, "level": "0"},
    {"step": 1, "level": np.nan},
  ],
)
def test_a_record_without_a_step_or_a_level_is_refused(directory, record):
  edit_config(directory, lambda content: content.update(record=record))
  refused(directory, "its record has step .* and level .*; want a whole number, and")


@pytest.mark.parametrize("seed", range(4))
def test_a_damaged_file_is_read_or_refused(directory, seed):
  """Any change of a few bytes of the header ends in a value or a ValueError."""
  rng = np.random.default_rng(seed)
  path = directory / "model.safetensors"
  whole_file = path.read_bytes()
  end = len(whole_file) - len(read_safetensors(path)[1])
  refusals = 0
  for _ in range(100):
    changed = bytearray(whole_file)
    for at in rng.integers(0, end, 2):
      changed[at] = rng.integers(256)
    path.write_bytes(changed)
    try:
      weights.read(directory)
    except ValueError as error:
      assert str(path) in str(error)
      refusals += 1
  assert refusals > 50
