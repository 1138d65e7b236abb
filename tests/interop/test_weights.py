"""Pretrained models as they are written, replaced and read again."""

import json

import jax
import numpy as np
import pytest
import safetensors.numpy

import occnet_jax
from configs import base
from occnet_jax.interop import weights
from tests.helpers import pretrained
from tests.helpers.training import assert_close


@pytest.fixture(scope="module")
def model():
  return pretrained.make_model()


def write(model, directory, **options):
  weights.write(
    directory, model.variables, model.config, model.record, "# A card\n", **options
  )


def arrays_of(variables):
  """Every array by its path, by a walk of its own."""
  arrays, stack = {}, [("", variables)]
  while stack:
    prefix, node = stack.pop()
    for name, value in node.items():
      if isinstance(value, dict):
        stack.append((f"{prefix}{name}/", value))
      else:
        arrays[f"{prefix}{name}"] = np.asarray(value)
  return arrays


@pytest.mark.parametrize(("dtype", "code"), [("float16", "<f2"), ("float32", "<f4")])
def test_a_file_holds_every_array_by_its_path(model, tmp_path, dtype, code):
  write(model, tmp_path / "model", dtype=dtype)
  header, data = pretrained.read_safetensors(tmp_path / "model" / "model.safetensors")
  header.pop("__metadata__", None)
  arrays = arrays_of(model.variables)
  assert header.keys() == arrays.keys()
  assert {"params", "batch_stats"} == {name.split("/")[0] for name in arrays}
  for name, array in arrays.items():
    start, end = header[name]["data_offsets"]
    stored = np.frombuffer(data[start:end], code).reshape(header[name]["shape"])
    np.testing.assert_array_equal(stored, array.astype(dtype))


def test_a_model_is_a_directory_of_three_files(model, tmp_path):
  write(model, tmp_path / "deep" / "model")
  names = {path.name for path in (tmp_path / "deep" / "model").iterdir()}
  assert names == {"model.safetensors", "config.json", "README.md"}
  content = json.loads((tmp_path / "deep" / "model" / "config.json").read_text())
  assert content == {
    "format_version": 1,
    "package_version": occnet_jax.__version__,
    "config": model.config,
    "record": model.record,
  }
  assert (tmp_path / "deep" / "model" / "README.md").read_text() == "# A card\n"
  assert [path.name for path in (tmp_path / "deep").iterdir()] == ["model"]
  for path in (tmp_path / "deep" / "model").iterdir():
    assert path.stat().st_mode & 0o444 == 0o444  # others may read it


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_what_is_read_is_what_was_written_up_to_rounding(model, tmp_path, dtype):
  write(model, tmp_path, dtype=dtype)
  read = weights.read(tmp_path)
  assert read.config == model.config and read.record == model.record
  assert read.method.output.level == model.record["level"]
  expected = jax.tree.map(
    lambda x: np.asarray(x).astype(dtype).astype(np.float32), model.variables
  )
  jax.tree.map(np.testing.assert_array_equal, read.variables, expected)
  assert jax.tree.structure(read.variables) == jax.tree.structure(model.variables)


def test_a_network_without_statistics_is_read_too(tmp_path):
  config = base.get_config("siren")
  config.data.update(inputs="none", targets=("surface",))
  config.model.hidden_size = 8
  config = config.to_dict()
  _, specs = weights.build(config, {})
  variables = pretrained.random_variables(specs)
  assert variables["batch_stats"] == {}
  weights.write(tmp_path, variables, config, {"step": 0}, "", dtype="float32")
  assert_close(weights.read(tmp_path).variables, variables, rtol=0)


def test_another_config_replaces_the_threshold_and_the_grid(model, tmp_path):
  write(model, tmp_path)
  config = pretrained.make_config()
  config["test"]["threshold"] = 0.25
  config["generation"]["resolution_0"] = 5
  read = weights.read(tmp_path, config)
  np.testing.assert_allclose(read.method.output.level, np.log(0.25 / 0.75), rtol=1e-6)
  assert read.config["generation"]["resolution_0"] == 5


def test_a_config_of_an_earlier_version_is_migrated(model, tmp_path):
  write(model, tmp_path)
  content = json.loads((tmp_path / "config.json").read_text())
  content["config"]["test"]["tau"] = content["config"]["test"].pop("threshold")
  (tmp_path / "config.json").write_text(json.dumps(content))
  assert weights.read(tmp_path).config == model.config


def test_a_model_replaces_a_model_and_nothing_else(model, tmp_path):
  write(model, tmp_path / "model", dtype="float32")
  write(model, tmp_path / "model", dtype="float16")
  header, _ = pretrained.read_safetensors(tmp_path / "model" / "model.safetensors")
  kinds = {entry["dtype"] for name, entry in header.items() if name[:2] != "__"}
  assert kinds == {"F16"}
  (tmp_path / "model" / "thesis.tex").write_text("years of work")
  with pytest.raises(
    ValueError, match=r"holds other files \(thesis\.tex\); want a new"
  ):
    write(model, tmp_path / "model")
  assert (tmp_path / "model" / "thesis.tex").read_text() == "years of work"
  with pytest.raises(ValueError, match=r"thesis\.tex: is a file; want a directory"):
    write(model, tmp_path / "model" / "thesis.tex")


def test_a_failed_write_leaves_the_model_before_it(model, tmp_path, monkeypatch):
  def full_disk(arrays, path):
    path.write_bytes(b"half")
    raise OSError("no space left")

  write(model, tmp_path / "model")
  before = (tmp_path / "model" / "model.safetensors").read_bytes()
  monkeypatch.setattr(safetensors.numpy, "save_file", full_disk)
  with pytest.raises(OSError, match="no space left"):
    write(model, tmp_path / "model")
  with pytest.raises(OSError, match="no space left"):
    write(model, tmp_path / "other")
  assert (tmp_path / "model" / "model.safetensors").read_bytes() == before
  assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_numbers_that_the_type_does_not_hold_are_refused(model, tmp_path):
  large = jax.tree.map(lambda x: 1e5 * np.ones_like(x), model.variables)
  args = large, model.config, model.record, ""
  with pytest.raises(ValueError, match=r"/mean: .* not finite.*dtype='float32' stores"):
    weights.write(tmp_path / "model", *args)
  assert not (tmp_path / "model").exists()
  weights.write(tmp_path / "model", *args, dtype="float32")
  assert_close(weights.read(tmp_path / "model").variables, large, rtol=0)
  with pytest.raises(ValueError, match="dtype='int8'; want one of: float16, float32"):
    weights.write(tmp_path / "model", *args, dtype="int8")


def test_a_system_of_somebodys_own_is_not_written(model, tmp_path):
  config = model.config | {"model": {"name": "own_balls:build"}}
  with pytest.raises(
    ValueError, match=r"'own_balls:build'; want one of: .*brings no co"
  ):
    weights.write(tmp_path, model.variables, config, model.record, "")


def test_no_path_of_the_machine_is_shared(tmp_path):
  model = pretrained.make_model()
  model.config["prep"] |= {
    "source": "folder:/home/ada/secret/chairs",
    "out": "/home/ada/secret/data",
    "others": {"more": {"source": "csv:/home/ada/secret/t.csv", "out": "data/more"}},
  }
  model.config["data"]["mixture"] = (("/home/ada/secret/more", 2), ("data/more", 1))
  model.save_pretrained(tmp_path / "model")
  for file in ("config.json", "README.md"):
    assert "secret" not in (tmp_path / "model" / file).read_text()
  config = weights.read(tmp_path / "model").config
  assert config["prep"]["source"] == "folder:chairs"
  assert config["prep"]["out"] == "data"
  assert config["prep"]["others"]["more"] == {"source": "csv:t.csv", "out": "data/more"}
  assert [list(pair) for pair in config["data"]["mixture"]] == [
    ["more", 2],
    ["data/more", 1],
  ]
