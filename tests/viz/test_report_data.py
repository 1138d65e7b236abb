"""report.html is written anew when, and only when, it would show something else."""

import copy
import json
import os
import shutil

import numpy as np
import pytest

from configs import base
from occnet_jax.config import parse
from occnet_jax.evaluation import evaluate, reconstructions
from occnet_jax.viz import pages, report_data
from tests.helpers.box_split import exact, make_split

CONFIG = base.get_config().to_dict()
CONFIG["data"] |= {"dir": "data/boxes", "points": 100}
CONFIG["report"]["shapes"] = 2


def observe(example, rng):
  return {"inputs": np.float32(example["pointcloud"]["points"][:30])}


class Run:
  """A workdir with meshes of five boxes, and the page of it."""

  def __init__(self, workdir):
    self.workdir, self.config = workdir, copy.deepcopy(CONFIG)
    self.shapes, self.observe = make_split("a", 5), observe
    (workdir / "logs").mkdir()
    rows = [{"step": step, "train/loss": 50.0, "train/iou": 0.5} for step in (1, 2)]
    self.log = workdir / "logs" / "metrics.jsonl"
    self.log.write_text("".join(json.dumps(row) + "\n" for row in rows))

  def evaluate(self):
    origin = evaluate.make_origin(
      self.config["test"]["split"], parse(self.config).data._asdict()
    )
    common = {"form": "ply", "origin": origin}
    settings = {"step": 7, "level": 0.0}
    shapes = self.shapes, range(len(self.shapes))
    evaluate.generate(*shapes, exact, self.workdir, settings=settings, **common)
    evaluate.evaluate(*shapes, self.workdir, samples=500, **common)

  def gather(self):
    """The page, and whether this call has written it."""
    path = self.workdir / "report.html"
    before = path.stat().st_mtime_ns if path.exists() else None
    made = report_data.gather(
      parse(self.config), self.workdir, self.shapes, self.observe
    )
    assert made == path
    return path.read_text(), path.stat().st_mtime_ns != before


@pytest.fixture
def run(tmp_path):
  run = Run(tmp_path)
  run.evaluate()
  assert run.gather()[1]
  return run


def test_the_level_of_logits_is_shown_as_a_probability_too():
  settings = parse(CONFIG)
  shown = {
    name: report_data._facts(settings._replace(model=model), {"level": 0.4, "step": 1})
    for name, model in {
      "onet": {"name": "onet", "tau": 0.5},
      "deepsdf": {"name": "deepsdf"},
      "single": {"name": "single", "tau": 0.5, "loss": "distance"},
    }.items()
  }
  levels = {name: facts["Level of the surface"] for name, facts in shown.items()}
  probability = "0.4, occupancy probability 0.60"
  assert levels == {"onet": probability, "deepsdf": "0.4", "single": "0.4"}


def test_a_page_that_shows_the_same_is_left_alone(run):
  page, written = run.gather()
  assert not written and page.count("<article") == 2
  os.utime(run.log)
  os.utime(run.workdir / evaluate.MEASURED)
  (run.workdir / "wall_time.json").write_text('{"train": 7.0}')
  assert run.gather() == (page, False)


def test_a_page_that_only_looks_newer_is_written_anew(run):
  path = run.workdir / "report.html"
  path.write_text("old page")
  later = run.log.stat().st_mtime + 1000
  os.utime(path, (later, later))
  page, _ = run.gather()
  assert page.count("<article") == 2


def change_shapes(run):
  run.config["report"]["shapes"] = 4


def change_name(run):
  run.config["name"] = "crates"


def change_data_set(run):
  run.config["data"]["dir"] = "data/crates"
  run.evaluate()


def change_split(run):
  run.config["test"]["split"] = "val"
  run.evaluate()


def change_log(run):
  with run.log.open("a") as file:
    file.write(json.dumps({"step": 3, "train/loss": 40.0}) + "\n")


def change_figures(run):
  path = run.workdir / evaluate.MEASURED
  path.write_text(path.read_text().replace('"iou": 1.0', '"iou": 0.5', 1))


def change_mesh(run):
  path = reconstructions.mesh_path(run.workdir, "box", "a0", "ply")
  shutil.copy(reconstructions.mesh_path(run.workdir, "box", "a1", "ply"), path)


def change_input(run):
  run.observe = lambda example, rng: {"inputs": 0.9 * observe(example, rng)["inputs"]}


def change_credit(run):
  run.config["data"]["dir"] = str(run.workdir / "data")
  run.evaluate()
  run.gather()
  (run.workdir / "data").mkdir()
  (run.workdir / "data" / "prepare_report.csv").write_text(
    "category,id,attribution,licence\nbox,a0,Ada,CC0\n"
  )


@pytest.mark.parametrize(
  "change",
  [
    *(change_shapes, change_name, change_data_set, change_split, change_log),
    *(change_figures, change_mesh, change_input, change_credit),
  ],
)
def test_whatever_the_page_shows_makes_it_stale(run, change):
  before, _ = run.gather()
  change(run)
  page, written = run.gather()
  assert written and page != before
  assert run.gather() == (page, False)


@pytest.mark.parametrize(
  "name", ["templates/report.html", "templates/page.html", "assets/report.css"]
)
def test_a_changed_template_makes_the_page_stale(run, monkeypatch, tmp_path, name):
  shutil.copytree(pages.ROOT, tmp_path / "viz")
  monkeypatch.setattr(pages, "ROOT", tmp_path / "viz")
  pages._environment.cache_clear()
  try:
    assert not run.gather()[1]
    path = tmp_path / "viz" / name
    path.write_text(path.read_text().replace("</h1>", " (new)</h1>") + "\n ")
    page, written = run.gather()
    assert written and ("(new)" in page) == (name == "templates/report.html")
  finally:
    pages._environment.cache_clear()


@pytest.mark.parametrize(
  ("section", "field", "value"), [("test", "split", "train"), ("data", "dir", "x")]
)
def test_figures_of_another_split_or_data_set_are_not_shown(run, section, field, value):
  run.config[section][field] = value
  with pytest.raises(ValueError, match=r"is not evaluated yet; run --mode=evaluate"):
    run.gather()


def test_a_data_set_that_changed_under_its_name_is_an_error(run):
  run.shapes = run.shapes[::-1]
  with pytest.raises(ValueError, match=r"box a0 is no longer shape 0"):
    run.gather()
