"""The commands of `occnet` on a run: the same calls as those of main.py."""

import json
import subprocess
import sys

import pytest

from occnet_jax.cli import dispatch, occnet, process, recipes, run_commands, stages
from tests.helpers import ROOT

COMMANDS = (*run_commands._EXAMPLES, "reconstruct", "models")


@pytest.fixture(autouse=True)
def calls(monkeypatch, tmp_path):
  """The calls of stages, none of which runs: (name, config, workdir, ...)."""
  made = []

  def record(name):
    return lambda *args: made.append((name, *args))

  for name in dispatch.STAGES:
    monkeypatch.setitem(dispatch.STAGES, name, record(name))
  for name in ("interpolate", "import_torch", "export_torch"):
    monkeypatch.setattr(stages, name, record(name))
  monkeypatch.setattr(process, "keep_freed_memory", lambda: None)
  monkeypatch.setattr(process, "enable_compilation_cache", lambda: None)
  monkeypatch.chdir(tmp_path)
  return made


@pytest.fixture
def run(tmp_path):
  """The workdir of a run of own_data."""
  workdir = tmp_path / "run"
  workdir.mkdir()
  config = recipes.load("own_data", ["--config.train.steps=99"])
  (workdir / "config.json").write_text(json.dumps(config))
  return workdir


def failure(*args):
  with pytest.raises(SystemExit) as ended:
    occnet.main([str(arg) for arg in args])
  return ended.value.code


def test_preparation_takes_a_source_and_a_directory(calls):
  occnet.main(["prepare", "folder:~/a", "--out", "data/a", "--config.prep.workers=3"])
  ((name, config, workdir),) = calls
  assert name == "prepare" and workdir is None and config["name"] == "own_data"
  assert config["prep"]["source"].endswith("/a") and "~" not in config["prep"]["source"]
  assert config["prep"]["out"] == "data/a" and config["prep"]["workers"] == 3
  expected = recipes.load("own_data")["prep"]
  assert config["prep"]["near_points"] == expected["near_points"]


def test_a_run_is_all_stages_in_order(calls, tmp_path):
  occnet.main(["run", "--config=quickstart:paper", "--workdir=run"])
  assert [name for name, *_ in calls] == list(dispatch.STAGES)
  assert calls[0][1]["prep"]["out"] == "data/quickstart_paper"


def test_training_takes_a_recipe_and_data(calls):
  occnet.main(["train", "--config", "onet:image", "--data=d", "--workdir", "w"])
  ((name, config, workdir),) = calls
  assert (name, str(workdir), config["data"]["dir"]) == ("train", "w", "d")
  assert config["name"] == "onet:image"


@pytest.mark.parametrize("stage", ["train", "generate", "evaluate", "report"])
def test_a_stage_takes_the_config_of_its_run(calls, run, stage):
  occnet.main([stage, f"--workdir={run}", "--config.test.shapes=5"])
  ((name, config, workdir),) = calls
  assert (name, workdir) == (stage, run)
  assert config["train"]["steps"] == 99 and config["test"]["shapes"] == 5


def test_other_uses_of_a_run(calls, run):
  occnet.main(["interpolate", f"--workdir={run}", "--steps=4"])
  assert calls.pop()[2:] == (run, 4)
  occnet.main(["import", "a.pt", "--config=onet:voxels", "--workdir=new"])
  name, config, workdir, source = calls.pop()
  assert (name, str(workdir), source) == ("import_torch", "new", "a.pt")
  assert config["data"]["inputs"] == "voxels"


def test_mistakes_are_sentences(run, tmp_path, capsys):
  message = failure("train", "--workdir", tmp_path / "none")
  assert message.endswith("name its config, as in --config=own_data")
  assert "no field stepz" in failure(
    "train", "--workdir", run, "--config.train.stepz=1"
  )
  message = failure("train", "--workdir", run, "--process=1")
  assert "need --coordinator=HOST:PORT" in message
  assert failure("train", "--workdirr", run) == 2
  assert "--workdir" in capsys.readouterr().err
  assert failure("reconstruct", "a.ply", "--config.seed=1") == 2
  assert "not understood: --config.seed=1" in capsys.readouterr().err


def test_an_error_with_debug_is_a_traceback(tmp_path):
  with pytest.raises(ValueError, match="no run begins here"):
    occnet.main(["train", "--workdir", str(tmp_path / "none"), "--debug"])


def test_every_command_has_a_help_with_an_example(capsys):
  for name in COMMANDS:
    assert failure(name, "--help") == 0
    text = capsys.readouterr().out
    assert f"usage: occnet {name}" in text
    assert f"example:\n  occnet {name}" in text


def test_every_example_is_understood():
  for name, example in run_commands._EXAMPLES.items():
    args = [arg for arg in example.split()[1:] if not recipes.is_override(arg)]
    arguments, unknown = occnet.make_parser().parse_known_args(args)
    assert unknown == [] and args[0] == name and callable(arguments.run)


def test_the_module_is_the_command_and_its_help_needs_no_jax():
  program = "import runpy, sys; sys.argv[1:] = ['train', '--help']\n"
  program += "try: runpy.run_module('occnet_jax', run_name='__main__')\n"
  program += "finally: print({'jax', 'trimesh', 'flax'} & set(sys.modules))"
  done = subprocess.run(
    [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT
  )
  assert done.returncode == 0 and "usage: occnet train" in done.stdout
  assert done.stdout.endswith("set()\n")


def test_the_help_of_main_is_no_error():
  done = subprocess.run(
    [sys.executable, "main.py", "--help"], capture_output=True, text=True, cwd=ROOT
  )
  assert done.returncode == 0 and "--workdir" in done.stdout and done.stderr == ""
