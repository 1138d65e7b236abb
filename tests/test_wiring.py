"""How fields of a config change the step, the run or the mesh; see test_wiring_batches.

`ELSEWHERE` names the tests of those fields that take more than a row, and
test_wiring_runs.py has some; config.model's are in tests/models and tests/nn, those of
config.prep in tests/data_prep.
"""

import ast
import json
import re
import shutil
import subprocess
import sys

import jax
import numpy as np
import optax
import pytest

from configs import base
from occnet_jax import api
from occnet_jax.cli import stages
from occnet_jax.train import checkpoint, loop, metric_log, optimizers
from tests.helpers import ROOT
from tests.test_wiring_batches import (
  BATCH,
  VALIDATION,
  becomes,
  less,
  measured,
  more,
)

RNG = np.random.default_rng(0)
FURTHER = "evaluation/test_further.py"
PARAMS = {"kernel": np.full((3, 3), 2.0, np.float32), "embedding": np.ones((2, 3))}


def moved(key, steps=1, size=5.0):
  """How far parameters have gone after some equal gradients, in a run of 10 steps."""

  def measure(settings):
    update = optimizers.make(settings.optim, settings.train.steps)
    params = {name: np.float32(value) for name, value in PARAMS.items()}
    state = update.init(params)
    for _ in range(steps):
      gradients = {name: np.full_like(p, size) for name, p in params.items()}
      changes, state = update.update(gradients, state, params)
      params = optax.apply_updates(params, changes)
    return float(np.abs(params[key] - PARAMS[key]).max())

  return measure


PLAIN = {"optim.name": "sgd", "optim.learning_rate": 0.1, "train.steps": 10}
HALVED = PLAIN | {"optim.schedule": "halve"}
STEP = {
  "optim.name": (PLAIN, "adam", moved("kernel"), lambda a, b: a == 0.5 and b < 0.11),
  "optim.learning_rate": (PLAIN, 0.2, moved("kernel"), becomes(0.5, 1.0)),
  "optim.code_rate": (
    PLAIN,
    3.0,
    moved("embedding"),
    lambda a, b: b == pytest.approx(3 * a),
  ),
  "optim.schedule": (PLAIN, "cosine", moved("kernel", 10), less),
  "optim.halve_every": (
    HALVED | {"optim.halve_every": 100},
    2,
    moved("kernel", 10),
    less,
  ),
  "optim.warmup_steps": (PLAIN, 4, moved("kernel"), becomes(0.5, 0.0)),
  "optim.clip_norm": (PLAIN, 1.0, moved("kernel"), less),
  "optim.weight_decay": (PLAIN | {"optim.name": "adamw"}, 0.5, moved("kernel"), more),
  "train.steps": (PLAIN | {"optim.schedule": "cosine"}, 100, moved("kernel", 8), more),
}


@pytest.mark.parametrize("field", STEP)
def test_a_field_of_the_optimiser_changes_the_step(field):
  before, after = measured(field, STEP)
  assert STEP[field][3](before, after), (before, after)


EXTRACTION = {  # field: other value, and how meshes before and after compare
  "method": ("mise", lambda a, b: len(a.vertices) > len(b.vertices)),
  "resolution_0": (12, lambda a, b: b.metadata["resolution"] == 24),
  "upsampling_steps": (2, lambda a, b: b.metadata["resolution"] == 32),
  "least_part": (0.999, lambda a, b: b.body_count == 1),
  "smooth_steps": (8, lambda a, b: not np.array_equal(a.vertices, b.vertices)),
  "simplify_faces": (60, lambda a, b: len(b.faces) <= 60 < len(a.faces)),
  "precision": ("bfloat16", lambda a, b: not np.array_equal(a.vertices, b.vertices)),
  "refine_steps": (2, lambda a, b: "loss_last" in b.metadata.keys() - a.metadata),
}


def model_of(run, **changes):
  """The model of a run, with other fields of `generation`."""
  config = checkpoint.restore(run).config
  config = config | {"generation": config["generation"] | changes}
  return api.restore(run, config_override=config)


def median_value(model):
  """A cloud's latent, and a level that its values cross."""
  cloud = RNG.uniform(-0.4, 0.4, (1, 40, 3)).astype(np.float32)
  latent = model.encode(cloud)
  points = RNG.uniform(-0.5, 0.5, (1, 500, 3)).astype(np.float32)
  return latent, float(np.median(model.decode(latent, points)))


@pytest.mark.parametrize("field", EXTRACTION)
def test_a_field_of_generation_changes_the_mesh(field, tiny_run):
  value, compare = EXTRACTION[field]
  plain, changed = model_of(tiny_run), model_of(tiny_run, **{field: value})
  latent, level = median_value(plain)
  assert compare(*(m.extract(latent, level=level) for m in (plain, changed)))


def test_the_rate_of_training_on_a_cloud_is_that_of_adam(tiny_run):
  for rate in (1e-4, 1e-3):
    model = model_of(tiny_run, finetune_learning_rate=rate)
    cloud = RNG.uniform(-0.4, 0.4, (40, 3)).astype(np.float32)
    tuned = model.finetuned(cloud, cloud, 1)
    pairs = zip(*map(jax.tree.leaves, (model.variables, tuned.variables)), strict=True)
    change = max(float(np.abs(b - a).max()) for a, b in pairs)
    assert change == pytest.approx(rate, rel=0.01)  # Adam's first step


def test_fields_of_use_change_the_meshes_of_a_run(
  tiny_config, tiny_run, tmp_path, capsys
):
  run = shutil.copytree(tiny_run, tmp_path / "run")
  _, level = median_value(model_of(tiny_run))
  tiny_config["test"] |= {"shapes": 2, "threshold": float(1 / (1 + np.exp(-level)))}
  tiny_config["generation"]["format"] = "glb"
  stages.generate(tiny_config, run)
  assert f"2 of 2 meshes: {run / 'meshes'}\n" in capsys.readouterr().out
  lines = (run / "meshes/generated.jsonl").read_text().splitlines()
  rows = [json.loads(line) for line in lines][1:]
  assert len(rows) == 2 and len(list(run.glob("meshes/*/*.glb"))) == 2
  assert not list(run.glob("meshes/*/*.ply"))


def test_fields_of_training_change_the_files_of_a_run(
  tiny_config, tmp_path, monkeypatch
):
  monkeypatch.undo()  # a data set of its own
  tiny_config["train"] |= {"steps": 8, "log_every": 1, "save_every": 2}
  tiny_config["train"] |= {"validate_every": 2, "keep_every": 4}
  loop.train(tiny_config, tmp_path)
  rows = metric_log.read(tmp_path / "logs" / "metrics.jsonl")
  losses = [row["step"] for row in rows if "train/loss" in row]
  assert losses == [1, 2, 3, 4, 5, 6, 7, 8]
  assert [row["step"] for row in rows if "val/iou" in row] == [2, 4, 6, 8]
  steps = {step for kind, step in checkpoint.available(tmp_path) if kind == "latest"}
  assert steps == {4, 6, 8}  # the last two, and every fourth


def test_points_of_a_batch_are_those_of_the_field(tiny_run):
  for count in (64, 512):
    model = model_of(tiny_run, points_per_batch=count)
    latent, _ = median_value(model)
    asked = model.extraction_settings()["points_per_batch"]
    assert model.field(latent, asked).points_per_batch == count


def test_steps_on_a_cloud_change_its_mesh(tiny_run):
  cloud = RNG.uniform(-0.4, 0.4, (40, 3))
  plain, tuned = (model_of(tiny_run, finetune_steps=steps) for steps in (0, 3))
  inputs = cloud[:32].astype(np.float32)[None]
  level = float(np.median(plain.decode(plain.encode(inputs), inputs)))
  meshes = [model.reconstruct(cloud, level=level) for model in (plain, tuned)]
  assert not np.array_equal(meshes[0].vertices, meshes[1].vertices)


# Tests of other fields, by their files: how a field changes what they check.
ELSEWHERE = {
  "train.start_from": (
    "cli/test_first_weights.py",
    "test_the_stage_trains_on_from_them",
  ),
  "test.f_scores": (FURTHER, "test_the_config_asks_for_further_measures"),
  "test.emd_points": (FURTHER, "test_the_config_asks_for_further_measures"),
  "test.voxel_iou": (FURTHER, "test_the_config_asks_for_further_measures"),
  "generation.sample": (
    "cli/test_stages.py",
    "test_samples_of_neighbouring_seeds_are_all_different",
  ),
  "generation.point_mesh": (
    "geometry/test_point_meshing.py",
    "test_a_point_set_becomes_a_mesh_by_the_config",
  ),
  "train.sinks": ("train/test_log_sinks.py", "test_a_run_logs_where_its_config_says"),
  "generation.backend": (
    "extract/device/test_extract.py",
    "test_a_run_extracts_where_its_config_says",
  ),
  "generation.cell_size": (
    "test_scenes.py",
    "test_a_scene_is_in_the_frame_of_its_cloud_at_the_size_of_a_cell",
  ),
}
HERE = {"data.dir", "data.mixture", "val.split", "test.shapes", "test.threshold"}
HERE |= {
  f"train.{name}"
  for name in ("log_every", "save_every", "keep_every", "validate_every")
}
HERE |= {
  f"generation.{name}"
  for name in ("format", "finetune_learning_rate", "finetune_steps", "points_per_batch")
}
# In test_wiring_runs.py:
HERE |= {"name", "data.workers", "optim.ema_decay", "optim.ema_batches"}
HERE |= {"val.select", "val.mesh_shapes", "report.shapes"}
HERE |= {f"test.{name}" for name in ("split", "samples", "trim")}
HERE |= {
  f"train.{name}"
  for name in (
    *("precision", "steps_per_call", "remat"),
    *("on_nonfinite", "preview_shapes"),
  )
}


def test_every_field_has_its_row():
  config = base.get_config().to_dict()
  names = set(_flat(config)) - set(_flat(config["model"], "model."))
  names = {name for name in names if not name.startswith("prep.")}
  rows = [*BATCH, *VALIDATION, *STEP, *ELSEWHERE, *HERE]
  rows += [f"generation.{field}" for field in EXTRACTION]
  assert sorted(rows) == sorted(names)


def test_the_tests_that_are_named_for_a_field_are_collected_and_use_it():
  files = sorted({ROOT / "tests" / path for path, _ in ELSEWHERE.values()})
  command = [sys.executable, "-m", "pytest", "--collect-only", "--no-header"]
  done = subprocess.run([*command, *files], capture_output=True, text=True, cwd=ROOT)
  collected = {line.partition("[")[0] for line in done.stdout.splitlines()}
  for field, (path, name) in ELSEWHERE.items():
    assert f"tests/{path}::{name}" in collected, (field, done.stdout[-2000:])
    tree = ast.parse((ROOT / "tests" / path).read_text())
    (function,) = (n for n in tree.body if getattr(n, "name", "") == name)
    text = "\n".join(map(ast.unparse, [function, *fixtures_of(function, tree)]))
    assert re.search(rf"\b{field.rpartition('.')[2]}\b", text), field


def fixtures_of(function, tree):
  """The functions of a test's file that it calls or takes."""
  names = {n.id for n in ast.walk(function) if isinstance(n, ast.Name)}
  names |= {argument.arg for argument in function.args.args}
  return [node for node in tree.body if getattr(node, "name", "") in names]


def _flat(section, prefix=""):
  for name, value in section.items():
    if isinstance(value, dict) and value:
      yield from _flat(value, f"{prefix}{name}.")
    elif not isinstance(value, dict):
      yield f"{prefix}{name}"
