"""A user's own meshes: one command to shards, and a run that learns from them."""

import csv
import json

import pytest
import trimesh

from configs import base, own_data
from data_prep.pipeline import report
from data_prep.watertight import solid
from occnet_jax.cli import stages
from tests.helpers import ROOT
from tests.helpers.command_line import call, error_of

CONFIG = ROOT / "configs" / "own_data.py"
SMALL = {
  "prep.points": 2000,
  "prep.near_points": 1000,
  "prep.surface_points": 1000,
  "data.points": 64,
  "data.workers": 0,
  "model.encoder_hidden_size": 16,
  "model.c_dim": 16,
  "model.hidden_size": 16,
  "optim.name": "adam",  # compiles sooner than Muon
  "optim.warmup_steps": 2,
  "train.steps": 30,
  "train.batch_size": 4,
  "train.log_every": 5,
  "train.validate_every": 30,
  "val.points": 0,
  "test.samples": 500,
  "generation.resolution_0": 8,
  "generation.upsampling_steps": 1,
}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
  """The data, and what the command printed, of boxes and balls that a table lists."""
  where = tmp_path_factory.mktemp("own")
  with (where / "table.csv").open("w", newline="", encoding="utf-8") as stream:
    table = csv.writer(stream)
    table.writerow(["file", "category", "split", "attribution", "licence"])
    for i in range(6):
      split = ("test", "val", "", "", "", "train")[i]
      box = trimesh.creation.box((1, 0.5 + i / 10, 0.7))
      ball = trimesh.creation.icosphere(2)
      ball.apply_scale((1, 0.9, 0.5 + i / 10))
      for category, mesh in (("box", box), ("ball", ball)):
        name = f"{category} {i}.ply"
        mesh.export(where / name)
        table.writerow([name, category, split, f"Zoë {i} <z>", "CC-BY-4.0"])
    (where / "broken.ply").write_text("ply")
    table.writerow(["broken.ply", "box", "", "", ""])
  fields = {**SMALL, "prep.source": f"csv:{where / 'table.csv'}"}
  done = call(
    "--mode=prepare",
    f"--config={CONFIG}",
    f"--config.prep.out={where / 'data'}",
    *(f"--config.{name}={value}" for name, value in fields.items()),
  )
  return where / "data", done.stdout


def test_the_command_sums_up_what_became_of_the_meshes(prepared):
  data, printed = prepared
  lines = printed.splitlines()
  counts = {line.split()[0]: line.split()[1:] for line in lines[1:4]}
  assert counts.keys() == {"ball", "box", "all"}
  assert counts["all"][-1] == "1" and counts["ball"][-1] == "0"
  assert "methods: 12 closed" in lines
  assert any(line.startswith("1 rejected, such as box/broken: ") for line in lines)
  assert lines[-1] == f"report: {data / 'prepare_report.csv'}"


def test_a_run_on_them_credits_who_made_them(prepared, tmp_path):
  config = own_data.get_config()
  config.update_from_flattened_dict({**SMALL, "data.dir": str(prepared[0])})
  config = config.to_dict()
  for stage in (stages.train, stages.generate, stages.evaluate, stages.report):
    stage(config, tmp_path)
  rows = (tmp_path / "logs" / "metrics.jsonl").read_text().splitlines()
  losses = [row["train/loss"] for row in map(json.loads, rows) if "train/loss" in row]
  assert losses[-1] < losses[0]
  page = (tmp_path / "report.html").read_text()
  shown = [row for row in report.read(prepared[0]) if row["split"] == "test"]
  assert len(shown) >= 2
  for row in shown:
    credit = row["attribution"].replace("<", "&lt;").replace(">", "&gt;")
    assert f"{credit}, CC-BY-4.0" in page


def test_only_preparation_does_without_a_workdir():
  assert "needs --workdir=DIR" in error_of("--mode=train", f"--config={CONFIG}")


def test_the_config_has_every_option_of_solids_with_its_default():
  config = base.get_config()
  assert config.prep.solid.to_dict() == solid.RepairOptions()._asdict()
