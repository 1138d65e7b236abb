"""How fields of a config change what training builds, and what a run's report says."""

import copy
import shutil

import jax
import numpy as np
import pytest

from occnet_jax import api
from occnet_jax import config as config_lib
from occnet_jax.cli import stages
from occnet_jax.data import batches
from occnet_jax.evaluation import evaluate, validation_meshes
from occnet_jax.train import loop
from occnet_jax.viz import preview, report_data
from tests.helpers.training import make_batch


class Built(Exception):
  """The loop has built its step."""


@pytest.fixture
def step_of(tiny_config, tmp_path, monkeypatch):
  """What the loop builds of a changed config: a function of field and value."""

  def build(**changes):
    config, built = copy.deepcopy(tiny_config), {}
    for name, value in changes.items():
      section, field = name.split("__")
      config[section][field] = value
    make_step, registry_build = loop.step_lib.make_step, loop.registry.build

    def record_method(*args, **options):
      if "axis_name" in options:  # that of training
        built["options"] = options
      return registry_build(*args, **options)

    def record_step(method, optimizer, **options):
      built.update(method=method, optimizer=optimizer, settings=options)
      return make_step(method, optimizer, **options)

    def record_map(step, *, steps):
      built["steps"] = steps
      raise Built

    with monkeypatch.context() as patch:
      patch.setattr(loop.registry, "build", record_method)
      patch.setattr(loop.step_lib, "make_step", record_step)
      patch.setattr(loop.step_lib, "data_parallel", record_map)
      with pytest.raises(Built):
        loop.train(config, tmp_path / "run")
    return built

  return build


def test_fields_of_training_reach_the_step(step_of):
  plain = step_of()
  assert plain["steps"] == 1 and plain["settings"]["skip_nonfinite"] is False
  assert plain["settings"]["ema_decay"] == 0.9
  assert step_of(train__steps_per_call=2)["steps"] == 2
  assert step_of(train__on_nonfinite="skip")["settings"]["skip_nonfinite"] is True
  assert step_of(optim__ema_decay=0.5)["settings"]["ema_decay"] == 0.5


def gradient_program(built):
  """The program of a gradient of training, as text."""
  method, batch = built["method"], make_batch(0)
  variables = jax.eval_shape(method.init, jax.random.key(0), batch)

  def loss(params, others, batch):
    variables = {"params": params, **others}
    return method.loss(variables, batch, jax.random.key(0), train=True)[0]

  params = variables.pop("params")
  axes = [(loop.step_lib.AXIS, 1)]
  return str(jax.make_jaxpr(jax.grad(loss), axis_env=axes)(params, variables, batch))


def test_fields_of_training_change_the_program_of_a_gradient(step_of):
  plain = gradient_program(step_of())
  again = gradient_program(step_of(train__remat=True))
  assert again.count("remat2[") > plain.count("remat2[") == 0
  half = gradient_program(step_of(train__precision="bfloat16"))
  assert half.count(":bf16[") > plain.count(":bf16[") == 0


@pytest.fixture
def run(tiny_config, tiny_run, tmp_path):
  """A copy of a run whose meshes are made, with its config."""
  workdir = shutil.copytree(tiny_run, tmp_path / "copy")
  model = api.restore(workdir)
  rng = np.random.default_rng(0)
  cloud = rng.uniform(-0.4, 0.4, (1, 40, 3)).astype(np.float32)
  points = rng.uniform(-0.5, 0.5, (1, 500, 3)).astype(np.float32)
  level = np.median(model.decode(model.encode(cloud), points))
  tiny_config["test"] |= {"shapes": 3, "threshold": float(1 / (1 + np.exp(-level)))}
  stages.generate(tiny_config, workdir)
  return workdir, tiny_config


def figures(workdir, config, **test):
  """The rows of an evaluation with other fields of config.test."""
  config = copy.deepcopy(config)
  config["test"] |= test
  stages.evaluate(config, workdir)
  settings = config_lib.parse(config)
  origin = evaluate.make_origin(settings.test.split, settings.data._asdict())
  return evaluate.read_rows(workdir / evaluate.MEASURED, origin)[1]


def test_fields_of_the_evaluation_change_its_figures(run, capsys):
  workdir, config = run
  rows = figures(workdir, config)
  assert len(rows) == 3
  fewer = figures(workdir, config, samples=300)
  assert [row["accuracy"] for row in fewer] != [row["accuracy"] for row in rows]
  np.testing.assert_allclose(  # the same meshes
    [row["accuracy"] for row in fewer], [row["accuracy"] for row in rows], rtol=0.5
  )
  trimmed = figures(workdir, config, trim=0.2)
  assert [row["accuracy"] for row in trimmed] != [row["accuracy"] for row in rows]
  with pytest.raises(ValueError, match="0 of 3 meshes of split 'train'"):
    figures(workdir, config, split="train")


def test_the_report_shows_its_name_and_as_many_shapes_as_its_field_says(run):
  workdir, config = run
  figures(workdir, config)
  for count in (1, 3):
    config["report"]["shapes"] = count
    settings = config_lib.parse(config)
    shapes = stages.open_test_split(settings)()
    transform = batches.evaluation_transform(settings.data, points=1)
    shown = report_data.report_shapes(settings, workdir, shapes, transform)
    assert len(shown) == count
  settings = settings._replace(name="a name of its own")
  page = report_data.gather(settings, workdir, shapes, transform).read_text()
  assert "a name of its own" in page


def test_meshes_of_validation_are_as_many_as_their_fields_say(
  tiny_config, tmp_path, monkeypatch
):
  asked = []
  for module in (validation_meshes, preview):
    monkeypatch.setattr(module, "ValidationMeshes", lambda _, n: asked.append(n))
  tiny_config["train"]["preview_shapes"] = 0
  assert stages._make_evaluators(tiny_config, tmp_path) == []
  tiny_config["val"]["mesh_shapes"] = 2
  assert len(stages._make_evaluators(tiny_config, tmp_path)) == 1
  tiny_config["train"]["preview_shapes"] = 3
  monkeypatch.setattr(stages.rendering, "is_available", lambda: True)
  assert len(stages._make_evaluators(tiny_config, tmp_path)) == 2
  assert asked == [2, 2, 3]


def test_a_run_validates_by_the_fields_of_its_config(
  tiny_config, tmp_path, monkeypatch
):
  """Which score is the best's, and how many batches averages get statistics of."""
  asked = []
  is_better, recompute = loop._is_better, loop.batch_stats.recompute

  def judge(select, *args):
    asked.append(select)
    return is_better(select, *args)

  def count_batches(method, ema, drawn, key):
    drawn = list(drawn)
    asked.append(len(drawn))
    return recompute(method, ema, iter(drawn), key)

  monkeypatch.setattr(loop, "_is_better", judge)
  monkeypatch.setattr(loop.batch_stats, "recompute", count_batches)
  tiny_config["val"]["select"] = "loss"
  tiny_config["optim"]["ema_batches"] = 3
  tiny_config["train"] |= {"steps": 2, "validate_every": 2, "save_every": 2}
  loop.train(tiny_config, tmp_path / "run")
  assert asked == [3, "loss"]


def test_worker_processes_are_as_many_as_their_field_says(tiny_config, monkeypatch):
  asked = []

  class Asked(Exception):
    pass

  def train_batches(*args, workers, **options):
    asked.append(workers)
    raise Asked

  monkeypatch.setattr(batches.loader, "train_batches", train_batches)
  for workers in (0, 3):
    tiny_config["data"] |= {"workers": workers, "placement": "stream"}
    settings = config_lib.parse(tiny_config)
    split = batches.place_train(settings.data, batches.open_train(settings.data))
    with pytest.raises(Asked):
      batches.train_batches(settings, split, 0)
  assert asked == [0, 3]
