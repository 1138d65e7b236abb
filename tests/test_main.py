"""main.py as a user calls it: the whole road in small, and what bad input says."""

import csv
import json

import numpy as np
import pytest
import trimesh

import occnet_jax
from occnet_jax.geometry import rendering
from tests.helpers import ROOT
from tests.helpers.command_line import call, error_of

TINY = {
  "prep.points": 2000,
  "prep.surface_points": 1000,
  "prep.val_fraction": 0.25,
  "prep.test_fraction": 0.25,
  "data.points": 128,
  "data.cloud_points": 32,
  "model.resolution": 16,
  "model.levels": "(8,),(8,8)",
  "model.hidden_sizes": "16,16,16",
  "optim.warmup_steps": 2,
  "train.steps": 30,
  "train.batch_size": 8,
  "train.save_every": 10,
  "train.validate_every": 10,
  "val.points": 0,
  "test.samples": 2000,
  "generation.resolution_0": 8,
  "generation.upsampling_steps": 1,
  "report.shapes": 2,
}


def read_rows(path):
  return list(csv.DictReader(path.read_text().splitlines()))


def flags(workdir, data, mode="all", **changed):
  fields = {**TINY, "prep.out": data, **changed}
  return [
    f"--mode={mode}",
    f"--config={ROOT / 'configs' / 'quickstart.py'}",
    f"--workdir={workdir}",
    *(f"--config.{name}={value}" for name, value in fields.items()),
  ]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
  """A run of all stages over four shapes of every synthetic category."""
  where = tmp_path_factory.mktemp("run")
  args = flags(where / "run", where / "data", **{"prep.per_category": 4})
  done = call(*args)
  return where / "run", where / "data", args, done.stdout


def test_the_whole_road_leaves_everything_it_promises(finished):
  run, data, _, stdout = finished
  rows = list(
    csv.DictReader((run / "evaluation" / "per_mesh.csv").read_text().splitlines())
  )
  assert len(rows) == 13  # one test shape of each category
  for row in rows:
    assert row.get("missing") != "True"
    assert 0 <= float(row["iou"]) <= 1
    assert (run / "meshes" / row["category"] / f"{row['id']}.ply").exists() == (
      int(row["faces"]) > 0
    )
    assert (data / "solids" / row["category"] / f"{row['id']}.ply").exists()
  summary = list(
    csv.DictReader((run / "evaluation" / "summary.csv").read_text().splitlines())
  )
  assert [row["category"] for row in summary[-2:]] == [
    "mean of classes",
    "mean of meshes",
  ]
  mean = np.mean([float(row["iou"]) for row in rows])
  np.testing.assert_allclose(float(summary[-1]["iou"]), mean, rtol=1e-4)
  assert f"{mean:.3f}" in stdout
  assert (run / "report.html").stat().st_size > 1_000_000
  if rendering.is_available():
    assert (run / "report.png").stat().st_size > 5000
  (versions,) = (run / "versions.jsonl").read_text().splitlines()
  assert json.loads(versions)["occnet-jax"] == occnet_jax.__version__
  wall = json.loads((run / "wall_time.json").read_text())
  assert set(wall) == {"prepare", "train", "generate", "evaluate", "report"}


def test_a_second_call_repeats_nothing(finished):
  run, data, args, _ = finished
  outputs = [
    *data.rglob("*"),
    *run.glob("meshes/**/*.ply"),
    *run.glob("checkpoints/*/*"),
    run / "report.html",
    run / "evaluation" / "measured.jsonl",
  ]
  before = {path: path.stat().st_mtime_ns for path in outputs if path.is_file()}
  log = (run / "logs" / "metrics.jsonl").read_text()
  call(*args)
  assert {path: path.stat().st_mtime_ns for path in before} == before
  assert (run / "logs" / "metrics.jsonl").read_text() == log


def test_a_cloud_of_ones_own_becomes_a_mesh_in_its_own_frame(finished, tmp_path):
  run = finished[0]
  cloud = trimesh.creation.box((20, 10, 10)).sample(500, seed=0)
  cloud[:, 0] += 100
  np.savetxt(tmp_path / "scan.xyz", cloud)
  target = tmp_path / "out.glb"
  done = call(
    "--mode=reconstruct",
    f"--workdir={run}",
    f"--input={tmp_path / 'scan.xyz'}",
    f"--output={target}",
    check=False,
  )
  if done.returncode:  # thirty steps may not have found a surface: then it says so
    assert "no surface" in done.stderr
    assert not target.exists()
  else:
    mesh = trimesh.load(target, force="mesh", process=False)
    low, high = mesh.bounds
    assert (low > [88, -12, -12]).all() and (high < [112, 12, 12]).all()


def test_a_typo_in_the_config_is_named(finished, tmp_path):
  args = flags(tmp_path / "run", finished[1], **{"model.hiden_size": 3})
  assert "hidden_size" in error_of(*args)


def test_missing_and_half_written_data_are_named(finished, tmp_path):
  args = flags(tmp_path / "run", tmp_path / "nowhere", mode="train")
  assert "no such data directory" in error_of(*args)
  (tmp_path / "nowhere").mkdir()
  assert "not finished" in error_of(*args)


def test_a_workdir_of_another_config_is_left_alone(finished):
  run, data, _, _ = finished
  args = flags(run, data, mode="train", **{"model.resolution": 24})
  assert "model.resolution is 24, there 16" in error_of(*args)


def test_a_workdir_without_a_checkpoint_is_named(tmp_path):
  args = ["--mode=reconstruct", f"--workdir={tmp_path}", "--input=x.ply"]
  (tmp_path / "x.ply").write_text("")
  assert "error:" in error_of(*args)


def test_a_cloud_that_shows_nothing_is_named(finished, tmp_path):
  np.save(tmp_path / "cloud.npy", np.full((10, 3), np.nan))
  run = finished[0]
  args = ["--mode=reconstruct", f"--workdir={run}", f"--input={tmp_path / 'cloud.npy'}"]
  assert "not finite" in error_of(*args)


@pytest.mark.parametrize("mode", ["import", "export_torch"])
def test_exchange_asks_for_its_file(tmp_path, mode):
  message = error_of(f"--mode={mode}", f"--workdir={tmp_path}")
  assert f"--mode={mode} needs --checkpoint=FILE, see --help" in message


def test_an_error_ends_a_process_with_its_code_and_no_traceback(tmp_path):
  done = call("--mode=train", f"--workdir={tmp_path}", check=False)
  assert done.returncode == 1 and "needs --config=FILE" in done.stderr
  assert "Traceback" not in done.stderr
  done = call("--mode=train", f"--workdir={tmp_path}", "--debug", check=False)
  assert "Traceback" in done.stderr and "needs --config=FILE" in done.stderr
