"""occnet report --watch in a process of its own, beside a run that trains."""

import json
import shutil
import signal
import subprocess
import sys

import pytest

from occnet_jax import config as config_lib
from occnet_jax.cli import dispatch, occnet, process, stages
from occnet_jax.config import check_workdir
from occnet_jax.train import loop, metric_log
from occnet_jax.train.evaluators import Evaluator
from occnet_jax.viz import live_report
from tests.helpers import ROOT
from tests.helpers.small_data import wait_until


@pytest.fixture
def watched(tiny_config, tmp_path):
  """A run that has begun, without a step, and a process that watches it."""
  workdir = tmp_path / "run"
  check_workdir(tiny_config, workdir)
  command = [sys.executable, "-m", "occnet_jax", "report", f"--workdir={workdir}"]
  watcher = subprocess.Popen(
    [*command, "--watch=1"],
    cwd=ROOT,
    text=True,
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
  )
  try:
    wait_until(lambda: "step 0 of 12" in text_of(workdir))
    yield workdir, watcher
  finally:
    watcher.kill()
    watcher.communicate()


def text_of(workdir):
  page = workdir / "report.html"
  return page.read_text() if page.exists() else ""


def test_the_page_follows_a_training_and_ends_with_it(watched, tiny_config):
  workdir, watcher = watched
  pages = []

  def wait_for_page(variables, results):
    step = (6, 12)[len(pages)]
    wait_until(lambda: f"Validation at step {step}<" in text_of(workdir))
    pages.append(text_of(workdir))
    return {}

  loop.train(tiny_config, workdir, evaluators=[Evaluator("page", 6, wait_for_page)])
  lines, errors = watcher.communicate(timeout=300)
  assert watcher.returncode == 0, errors
  lines = lines.splitlines()
  written = [line for line in lines if line.endswith(f": {workdir / 'report.html'}")]
  assert "step 0 of 12" in written[0] and "step 6 of 12" in "".join(written)
  assert "training is finished" in lines[-1] and len(lines) == len(written) + 1
  last = text_of(workdir)
  assert "loads itself again" not in last and "location.reload" not in last
  for page in pages:
    assert "loads itself again every 1 s" in page
    assert page.count("<svg") == 2  # loss and IoU
  assert last.count("<svg") == 2 and "Validation at step 12<" in last
  assert not list(workdir.glob(".part-*"))
  # The training's own files are as they would be without the watch.
  assert not (workdir / "wall_time.json").exists()


def test_ctrl_c_ends_a_watch_as_done(watched):
  _, watcher = watched
  watcher.send_signal(signal.SIGINT)
  _, errors = watcher.communicate(timeout=300)
  assert watcher.returncode == 0 and errors in ("", "starting ...\n")


def test_a_run_that_is_gone_ends_a_watch_in_a_sentence(watched):
  workdir, watcher = watched
  shutil.rmtree(workdir)
  _, errors = watcher.communicate(timeout=300)
  sentence = errors.removeprefix("starting ...\n")
  assert watcher.returncode == 1 and sentence.count("\n") == 1
  problem = "has no config.json: the run that was watched is gone"
  assert sentence.startswith(f"error: {workdir} {problem}")
  assert not workdir.exists()


def test_a_page_is_written_only_for_something_new(tiny_config, tiny_run, tmp_path):
  settings, log = config_lib.parse(tiny_config), tmp_path / "logs" / "metrics.jsonl"
  log.parent.mkdir()
  lines = (tiny_run / "logs" / "metrics.jsonl").read_text().splitlines(keepends=True)
  shown = []
  for count in (0, 2, 2, len(lines)):
    log.write_text("".join(lines[:count]))
    shown.append(live_report.write(settings, tmp_path, reload=5))
  step = metric_log.read(log)[1]["step"]
  assert shown == ["step 0 of 12", f"step {step} of 12", "", "step 12 of 12"]
  before = text_of(tmp_path)
  (tmp_path / "logs" / "validation.png").write_bytes(b"a picture")
  assert live_report.write(settings, tmp_path, reload=5) == "step 12 of 12"
  assert "data:image/png;base64," in text_of(tmp_path)
  (tmp_path / "checkpoints" / "best" / "6").mkdir(parents=True)
  assert live_report.write(settings, tmp_path, reload=5) == "step 12 of 12"
  assert "Checkpoint, best" in text_of(tmp_path) and "Checkpoint" not in before


def test_a_run_is_finished_once_its_last_step_is_saved_and_validated(
  tiny_run, tmp_path
):
  assert live_report.is_finished(tiny_run, 12)
  assert not live_report.is_finished(tiny_run, 13)  # a run that is to train further
  assert not live_report.is_finished(tmp_path, 12)
  (tmp_path / "checkpoints" / "latest" / "12").mkdir(parents=True)
  rows = metric_log.read(tiny_run / "logs" / "metrics.jsonl")
  (tmp_path / "logs").mkdir()
  log = tmp_path / "logs" / "metrics.jsonl"
  unvalidated = [r for r in rows if r["step"] < 12 or "train/loss" in r]
  log.write_text("".join(json.dumps(row) + "\n" for row in unvalidated))
  assert not live_report.is_finished(tmp_path, 12)
  log.write_text("".join(json.dumps(row) + "\n" for row in rows))
  assert live_report.is_finished(tmp_path, 12)


@pytest.fixture
def here(monkeypatch):
  monkeypatch.setattr(process, "keep_freed_memory", lambda: None)
  monkeypatch.setattr(process, "enable_compilation_cache", lambda: None)


def test_a_finished_and_evaluated_run_gets_its_whole_report(
  tiny_config, tiny_run, tmp_path, here, capsys
):
  workdir = tmp_path / "run"
  shutil.copytree(tiny_run, workdir)
  check_workdir(tiny_config, workdir)
  occnet.main(["report", f"--workdir={workdir}", "--watch"])
  assert "generate, evaluate and report are next" in capsys.readouterr().out
  assert "No measurements" in text_of(workdir)
  tiny_config["test"]["shapes"] = 2
  stages.generate(tiny_config, workdir)
  stages.evaluate(tiny_config, workdir)
  stages.report(tiny_config, workdir)
  page = text_of(workdir)
  capsys.readouterr()
  (workdir / "report.html").unlink()
  occnet.main(["report", f"--workdir={workdir}", "--watch", "--config.test.shapes=2"])
  assert "finished and evaluated" in capsys.readouterr().out
  watched = text_of(workdir)
  assert watched.count("<article") == page.count("<article") == 2


def test_other_modes_refuse_a_watch(tmp_path):
  with pytest.raises(ValueError, match="--watch=5 is for report; leave it out of all"):
    dispatch.run("all", {}, str(tmp_path), watch=5)


@pytest.mark.parametrize(
  ("args", "sentence"),
  [
    (["--watch=0"], "--watch=0: want 1 second or more"),
    (["--watch"], "no run begins here"),
  ],
)
def test_what_cannot_be_watched_is_a_sentence(
  args, sentence, here, tmp_path, tiny_config
):
  workdir = tmp_path / "run"
  if "--watch=0" in args:
    check_workdir(tiny_config, workdir)
  with pytest.raises(SystemExit) as ended:
    occnet.main(["report", f"--workdir={workdir}", *args])
  message = ended.value.code
  assert sentence in message and "\n" not in message
  assert workdir.exists() == ("--watch=0" in args)
