"""The config of a workdir across versions, and random draws of stages."""

import copy
import json
from unittest import mock

import jax
import numpy as np
import pytest
import trimesh

from configs import base as base_config
from configs import onet
from occnet_jax import api
from occnet_jax import config as config_lib
from occnet_jax.cli import generative, stages
from occnet_jax.data.example_batch import example_batch
from occnet_jax.models import registry
from tests.helpers import ROOT
from tests.helpers.box_split import make_split


@pytest.fixture
def base():
  return base_config.get_config().to_dict()


def test_a_run_of_an_earlier_version_goes_on_with_todays_defaults(base, tmp_path):
  """A field that is new wants an entry in occnet_jax/config.py."""
  before = (ROOT / "tests" / "config_before.json").read_text()
  (tmp_path / "config.json").write_text(before)
  config_lib.check_workdir(base, tmp_path)
  assert json.loads((tmp_path / "config.json").read_text()) == json.loads(
    json.dumps(base)
  )


def test_a_way_between_shapes_is_not_written_outside_of_the_workdir(base, tmp_path):
  model = mock.create_autospec(api.Model, instance=True)
  with pytest.raises(ValueError, match=r"the name '\.\./a0'; want names without"):
    generative.interpolate(
      config_lib.parse(base), model, tmp_path, make_split("../a"), steps=2
    )
  assert not list(tmp_path.iterdir())


def test_one_shape_has_no_way_to_another(base, tmp_path):
  model = mock.create_autospec(api.Model, instance=True)
  one = make_split("a")[:1]
  with pytest.raises(ValueError, match=r"1 shapes of the test split .*want 2 or more"):
    generative.interpolate(config_lib.parse(base), model, tmp_path, one, steps=2)


def leaves(config, prefix=""):
  for name, value in config.items():
    if isinstance(value, dict):
      yield from leaves(value, f"{prefix}{name}.")
    else:
      yield f"{prefix}{name}", value


def test_a_call_that_failed_before_its_first_checkpoint_claims_no_workdir(
  tiny_config, tmp_path
):
  wrong = copy.deepcopy(tiny_config)
  wrong["model"]["encoder"] = "foo"
  with pytest.raises(ValueError, match=r"encoder is 'foo'"):
    stages.train(wrong, tmp_path)
  config_lib.check_workdir(tiny_config, tmp_path)
  (tmp_path / "checkpoints" / "latest" / "4").mkdir(parents=True)
  with pytest.raises(ValueError, match=r"encoder is 'foo', there 'pointnet_simple'"):
    config_lib.check_workdir(wrong, tmp_path)


def test_stages_that_begin_no_run_leave_no_config_behind(tiny_config, tmp_path):
  for stage in (stages.generate, stages.evaluate, stages.report):
    with pytest.raises((ValueError, OSError)):
      stage(tiny_config, tmp_path / "run")
    assert not (tmp_path / "run" / "config.json").exists()


@pytest.mark.parametrize("content", ["[]", "null", "5", "{", '{"seed', b"\xff"])
def test_a_damaged_config_of_a_run_is_named(base, tmp_path, content):
  (tmp_path / "checkpoints" / "latest" / "4").mkdir(parents=True)
  content = content if isinstance(content, bytes) else content.encode()
  (tmp_path / "config.json").write_bytes(content)
  with pytest.raises(ValueError, match=r"config\.json: holds (no|a) JSON"):
    config_lib.check_workdir(base, tmp_path)


@pytest.mark.parametrize("content", ["[]", '{"evaluate": "x", "train": 2}', "", "{"])
def test_a_damaged_list_of_times_ends_no_stage(tmp_path, content):
  (tmp_path / "wall_time.json").write_text(content)
  with stages._timed(tmp_path, "evaluate"):
    pass
  times = json.loads((tmp_path / "wall_time.json").read_text())
  assert "evaluate" in times and times.get("train", 2) == 2


def test_settings_of_meshes_are_judged_before_anything_is_made(tiny_config, tmp_path):
  ledger = tmp_path / "meshes" / "generated.jsonl"
  ledger.parent.mkdir()
  ledger.write_text("{}\n")
  for field, value in (
    ("method", "mise_root"),
    ("resolution_0", 0),
    ("resolution_0", 10_000_000),
    ("upsampling_steps", 40),
    ("simplify_faces", 3),
    ("least_part", 2.0),
    ("format", "xyz"),
    ("format", "/../../x.ply"),
    ("format", ""),
  ):
    wrong = copy.deepcopy(tiny_config)
    wrong["generation"][field] = value
    for stage in (stages.train, stages.generate):
      with pytest.raises(ValueError, match=r"^config\.generation"):
        stage(wrong, tmp_path)
  assert ledger.read_text() == "{}\n"


def test_every_field_that_matters_is_refused_and_shown_if_it_changes(base, tmp_path):
  (tmp_path / "checkpoints" / "latest" / "4").mkdir(parents=True)
  config_lib.check_workdir(base, tmp_path)
  refused = set()
  for name, value in leaves(base):
    changed = copy.deepcopy(base)
    *sections, last = name.split(".")
    inner = changed
    for section in sections:
      inner = inner[section]
    inner[last] = "other" if value is None else [value]
    try:
      config_lib.check_workdir(changed, tmp_path)
    except ValueError as error:
      refused.add(name)
      shown = json.loads(json.dumps([value]))  # config.json has lists for tuples
      assert f"{name} is {shown!r}, there " in str(error)
      assert json.loads((tmp_path / "config.json").read_text())["seed"] == 0
    else:
      config_lib.check_workdir(base, tmp_path)
  allowed = {name for name, _ in leaves(base)} - refused
  assert {"seed", "data.points", "train.batch_size", "model.hidden_size"} <= refused
  assert {"name", "train.log_every", "train.on_nonfinite", "data.workers"} <= allowed
  assert {name for name in refused if name.split(".")[0] in ("model", "optim")} == {
    name for name, _ in leaves(base) if name.split(".")[0] in ("model", "optim")
  } - {"model.tau_grid"}


def test_samples_of_neighbouring_seeds_are_all_different(
  tiny_data, tmp_path, monkeypatch
):
  config = onet.get_config("unconditional")
  config.data.update(dir=str(tiny_data), points=64)
  config.model.update(z_dim=4, latent_hidden_size=8, hidden_size=8)
  config.generation.sample = True  # else the codes of what is observed: one shape twice
  config.test.shapes = 4
  drawn = []

  def extract(self, latent, **settings):
    drawn.append(np.asarray(latent.z)[0])
    return trimesh.Trimesh()

  monkeypatch.setattr(api.Model, "extract", extract)
  for seed in (0, 1):
    config.seed = seed
    fields = config.to_dict()
    settings = config_lib.parse(fields)
    method = registry.build(settings.model)
    variables = jax.jit(method.init)(jax.random.key(0), example_batch(settings.data))
    model = api.Model(method, variables, fields, {"step": 0})
    monkeypatch.setattr(api, "restore", lambda *args, _model=model, **kwargs: _model)
    stages.generate(fields, tmp_path / str(seed))
  assert len(drawn) == 8
  assert len(np.unique(np.round(drawn, 5), axis=0)) == 8


def test_generation_trains_a_copy_of_the_network_on_each_cloud(
  tiny_config, tmp_path, monkeypatch
):
  tiny_config["test"]["shapes"] = 2
  tiny_config["generation"]["finetune_steps"] = 2
  settings = config_lib.parse(tiny_config)
  method = registry.build(settings.model)
  variables = jax.jit(method.init)(jax.random.key(0), example_batch(settings.data))
  model, used = api.Model(method, variables, tiny_config, {"step": 0}), []

  def extract(self, latent, **settings):
    used.append(jax.device_get(self.variables["params"]))
    return trimesh.Trimesh()

  monkeypatch.setattr(api.Model, "extract", extract)
  monkeypatch.setattr(api, "restore", lambda *args, **kwargs: model)
  stages.generate(tiny_config, tmp_path)
  leaf = [np.asarray(jax.tree.leaves(tree)[0]) for tree in (*used, variables["params"])]
  assert len(used) == 2
  assert not any((leaf[i] == leaf[j]).all() for i, j in ((0, 1), (0, 2), (1, 2)))
