import json
import subprocess
import sys

import numpy as np
import pytest

from occnet_jax.config import parse
from occnet_jax.data import batches as batches_lib
from occnet_jax.data import source
from occnet_jax.train import checkpoint, loop, metric_log


def test_a_step_that_is_not_finite_ends_the_run_and_can_be_diagnosed(
  tiny_config, tmp_path
):
  tiny_config["optim"]["learning_rate"] = 1e30  # step 0 has finite values still
  for _ in range(2):  # the second call meets it again
    with pytest.raises(
      FloatingPointError, match=r"step 1: the loss is .*failures/step_1"
    ):
      loop.train(tiny_config, tmp_path)
  assert checkpoint.available(tmp_path) == []
  directory = tmp_path / "failures" / "step_1"
  assert int(checkpoint.read(directory / "checkpoint").state["step"]) == 1

  data = source.open_split(
    tiny_config["data"]["dir"], "train", {"id": True, "points": {"points": True}}
  )
  settings = parse(tiny_config)
  split = batches_lib.place_train(settings.data, batches_lib.open_train(settings.data))
  wanted = next(batches_lib.train_batches(settings, split, 1))
  with np.load(directory / "batch.npz") as batch:
    assert set(batch) == set(wanted)
    for name in batch:
      np.testing.assert_array_equal(batch[name], wanted[name])
    shapes = json.loads((directory / "shapes.json").read_text())
    for shape, points in zip(shapes, batch["points"], strict=True):
      stored = data[shape["index"]]
      assert str(stored["id"]) == shape["id"]
      stored = {
        tuple(p) for p in stored["points"]["points"].astype(np.float32).tolist()
      }
      assert {tuple(p) for p in points.tolist()} <= stored

  done = subprocess.run(
    [sys.executable, "-m", "occnet_jax.train.nonfinite", str(directory)],
    capture_output=True,
    text=True,
    check=True,
  )
  first, batch, parameters, *rest = done.stdout.splitlines()
  assert first.startswith(("step 1: loss nan", "step 1: loss inf"))
  assert batch.startswith("batch: all finite")
  assert parameters.startswith("parameters before the step: all finite; largest 1e+30")
  assert any(line.startswith("gradient: ") and "not finite" in line for line in rest)


def test_skipped_steps_are_counted_and_change_nothing(
  tiny_config, tmp_path, monkeypatch
):
  batches = batches_lib.train_batches

  def damaged(settings, split, start, *part):
    for step, batch in enumerate(batches(settings, split, start, *part), start):
      yield {**batch, "points": batch["points"] * (np.nan if step == 5 else 1)}

  monkeypatch.setattr(batches_lib, "train_batches", damaged)
  tiny_config["train"].update(on_nonfinite="skip", steps=8)
  loop.train(tiny_config, tmp_path)
  rows = metric_log.read(tmp_path / "logs" / "metrics.jsonl")
  skipped = {r["step"]: r["train/skipped"] for r in rows if "train/skipped" in r}
  assert skipped == {2: 0, 4: 0, 6: 1, 8: 0}
  assert all(np.isfinite(value) for row in rows for value in row.values())
  state = checkpoint.restore(tmp_path, 8).state
  assert int(state["step"]) == 8
  assert int(state["opt_state"]["0"]["count"]) == 7  # Adam's


def test_an_unknown_choice_is_named(tiny_config, tmp_path):
  tiny_config["train"]["on_nonfinite"] = "hope"
  with pytest.raises(ValueError, match="is 'hope'; want stop or skip"):
    loop.train(tiny_config, tmp_path)
