import shutil

import jax
import numpy as np
import optax
import pytest

from occnet_jax import losses
from occnet_jax.train import checkpoint, loop, metric_log, progress
from tests.helpers.training import assert_close


def final(workdir):
  return checkpoint.restore(workdir, 12).state


def rows(workdir):
  return metric_log.read(workdir / "logs" / "metrics.jsonl")


class Killed(Exception):
  """Stands for the end of the process between two steps."""


def train_until(monkeypatch, config, workdir, step):
  """Trains and is stopped dead after so many steps of this call."""
  add = progress.Progress.add

  def add_or_die(self, s, scalars):
    if s == step:
      raise Killed
    add(self, s, scalars)

  with monkeypatch.context() as patch, pytest.raises(Killed):
    patch.setattr(progress.Progress, "add", add_or_die)
    loop.train(config, workdir)


@pytest.mark.parametrize("ema_batches", [0, 2])
def test_killed_and_resumed_equals_uninterrupted(
  ema_batches, tiny_config, tiny_run, tmp_path, monkeypatch
):
  whole = tiny_run
  if ema_batches:
    tiny_config["optim"]["ema_batches"] = ema_batches
    whole = tmp_path / "whole"
    loop.train(tiny_config, whole)
  train_until(monkeypatch, tiny_config, tmp_path / "parts", 6)  # resumes from 4
  assert [at for _, at in checkpoint.available(tmp_path / "parts")] == [6, 4]
  train_until(monkeypatch, tiny_config, tmp_path / "parts", 10)
  loop.train(tiny_config, tmp_path / "parts")
  assert_close(final(whole), final(tmp_path / "parts"), rtol=0, atol=0)
  whole, parts = rows(whole), rows(tmp_path / "parts")
  assert metric_log.timeless(whole) == metric_log.timeless(parts)
  assert [row["step"] for row in whole] == [2, 4, 6, 6, 8, 10, 12, 12]


def test_a_finished_run_trains_no_further(tiny_config, tiny_run, tmp_path):
  run = shutil.copytree(tiny_run, tmp_path / "run")
  before = (run / "logs" / "metrics.jsonl").read_text()
  loop.train(tiny_config, run)
  assert (run / "logs" / "metrics.jsonl").read_text() == before


def test_more_steps_continue_a_finished_run(tiny_config, tiny_run, tmp_path):
  run = shutil.copytree(tiny_run, tmp_path / "run")
  tiny_config["train"]["steps"] = 16
  loop.train(tiny_config, run)
  latest = [step for kind, step in checkpoint.available(run) if kind == "latest"]
  assert latest == [16, 12]


def test_validation_chooses_the_threshold_and_keeps_it(tiny_config, tiny_run):
  validated = [row for row in rows(tiny_run) if "val/iou" in row]
  assert [row["step"] for row in validated] == [6, 12]
  best = max(validated, key=lambda row: row["val/iou"])
  record = checkpoint.restore(tiny_run).record
  assert record["step"] == best["step"]
  assert record["level"] == best["val/level"]
  assert record["level"] in [losses.logit(p) for p in tiny_config["model"]["tau_grid"]]


@pytest.mark.parametrize(("select", "better"), [("iou", 0.7), ("loss", 0.3)])
def test_the_best_state_has_the_better_score(select, better):
  worse = {"iou": 0.6, "loss": 0.4}
  for best in (None, {}, worse, {select: float("nan")}):
    assert loop._is_better(select, {select: better}, best)
  assert not loop._is_better(select, worse, {select: better})
  assert not loop._is_better(select, {}, worse)


def test_averaged_variables_follow_the_decay_of_the_config(
  tiny_config, tiny_run, tmp_path
):
  """Two runs that differ in the decay alone differ in their averages alone."""
  assert tiny_config["optim"]["ema_decay"] == 0.9
  tiny_config["optim"]["ema_decay"] = 0.5
  loop.train(tiny_config, tmp_path)
  states = [final(tmp_path), final(tiny_run)]
  assert_close(states[0]["params"], states[1]["params"], rtol=0, atol=0)
  distances = [
    optax.tree.norm(jax.tree.map(np.subtract, s["ema"]["params"], s["params"]))
    for s in states
  ]
  assert 0 < 2 * distances[0] < distances[1]


def test_statistics_of_no_average_are_refused(tiny_config, tmp_path):
  tiny_config["optim"].update(ema_decay=0.0, ema_batches=2)
  with pytest.raises(ValueError, match=r"ema_batches is 2 without averaged variables"):
    loop.train(tiny_config, tmp_path)


def test_events_for_tensorboard_lie_beside_the_json_lines(tiny_run):
  (events,) = (tiny_run / "logs").glob("events.out.tfevents.*")
  assert b"val/iou" in events.read_bytes()
