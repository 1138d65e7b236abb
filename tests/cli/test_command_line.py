"""What a mistake in the flags says, and output whose reader has gone."""

import os
import subprocess
import sys

import pytest
from absl import flags

from occnet_jax.cli import command_line
from tests.helpers import ROOT
from tests.helpers.command_line import error_of

TRAIN = ("--mode=train", "--workdir=nowhere")


@pytest.fixture(autouse=True)
def at_root(monkeypatch):
  monkeypatch.chdir(ROOT)


@pytest.mark.parametrize(
  ("args", "sentence"),
  [
    (
      ["--config=configs/deepsdf.py:x"],
      "error: --config=configs/deepsdf.py:x: no such variant as 'x'; want "
      "--config=configs/deepsdf.py",
    ),
    (
      ["--config=configs/base.py:x"],
      "error: configs/base.py:x: no such system; want a file in configs/models",
    ),
    (
      ["--config=configs/convonet.py", "--config.model.unet_dept=3"],
      "error: --config.model.unet_dept: the config has no field unet_dept; want "
      "unet_depth, or another of the fields in configs/base.py and configs/models/",
    ),
    (
      ["--config=configs/deepsdf.py", "--config.model.unet_dept=3"],
      "error: --config.model.unet_dept: the config has no field unet_dept; want one of "
      "the fields in configs/base.py and configs/models/",
    ),
    (
      ["--config.train.steps=3"],
      "error: --config.train.steps changes a field of a config, but the command has "
      "none; put --config=FILE before it, such as --config=configs/onet.py",
    ),
    (
      ["--config=configs/onet.py", "--config.test.threshold=None"],
      "error: --config.test.threshold=None: want a number; leave it out for the "
      "config's own value",
    ),
    (
      ["--config=configs/onet.py", "--config.train.steps=1e5"],
      "error: --config.train.steps=1e5: want a whole number; leave it out for the "
      "config's own value",
    ),
    (
      ["--config", "nowhere/onet.py"],
      "error: --config=nowhere/onet.py: no such config file; want one of those in "
      "configs/",
    ),
  ],
)
def test_a_mistake_in_the_config_is_this_sentence(args, sentence):
  assert error_of(*TRAIN, *args) == sentence


def test_an_unknown_variant_is_the_sentence_of_its_config_alone():
  message = error_of(*TRAIN, "--config=configs/onet.py:pointclod")
  assert message.startswith("error: configs/onet.py:pointclod: no such variant; want")
  assert "pointcloud, image, " in message


@pytest.mark.parametrize(
  ("value", "beginning"),
  [
    ("configs/onett.py", "no such config file; want configs/onet.py, or another of: "),
    ("configs", "is a directory; want one of: "),
  ],
)
def test_a_missing_config_file_is_named_with_those_that_exist(value, beginning):
  message = error_of(*TRAIN, f"--config={value}")
  assert message.startswith(f"error: --config={value}: {beginning}configs/")
  names = message.split("of: ")[1].split(", ")
  assert names == sorted(
    f"configs/{path.name}"
    for path in (ROOT / "configs").iterdir()
    if path.suffix == ".py" and path.name != "__init__.py"
  )


def test_an_error_within_a_config_file_is_its_own_text(tmp_path):
  path = tmp_path / "mine.py"
  path.write_text("def get_config():\n  raise ValueError('two\\nlines')\n")
  assert error_of(*TRAIN, f"--config={path}") == "error: two lines"


@pytest.mark.parametrize(
  ("text", "end"),
  [
    ("def get_config(\n", "line 1: SyntaxError: '(' was never closed"),
    ("import nothing_here\n", "line 1: ModuleNotFoundError: No module named 'nothing"),
    ("def get_config():\n  return {}['a']\n", "line 2: KeyError: 'a'"),
    ("def get_config():\n  return 1 / 0\n", "line 2: ZeroDivisionError: division"),
  ],
)
def test_a_config_file_that_is_no_program_is_named_with_its_line(tmp_path, text, end):
  path = tmp_path / "mine.py"
  path.write_text(text)
  message = error_of(*TRAIN, f"--config={path}")
  assert message.startswith(f"error: {path}, {end}")


def test_a_config_of_another_kind_is_refused(tmp_path):
  path = tmp_path / "mine.py"
  path.write_text("def get_config():\n  return {'a': 1}\n")
  message = error_of(*TRAIN, f"--config={path}")
  assert message.startswith("error: get_config of the config file returns a dict; want")
  path.write_text(
    "from configs import base\n\n"
    "def get_config():\n"
    "  config = base.get_config()\n"
    "  with config.unlocked():\n    del config['model']\n"
    "  return config\n"
  )
  message = error_of(*TRAIN, f"--config={path}")
  assert message == "error: the config lacks model; see configs/base.py"


def test_several_processes_want_a_coordinator():
  message = error_of(*TRAIN, "--config=configs/onet.py", "--processes=2", "--process=1")
  assert "--processes=2 --process=1 need --coordinator=HOST:PORT" in message


@pytest.mark.parametrize("below", ["", "/run"])
def test_a_workdir_that_is_a_file_is_named(tmp_path, below):
  (tmp_path / "file").write_text("")
  message = error_of("--mode=train", f"--workdir={tmp_path}/file{below}")
  assert message.endswith(f"{tmp_path}/file is a file; want a directory")


def test_the_help_names_every_format_of_published_weights():
  text = flags.FLAGS["checkpoint"].help
  assert all(word in text for word in (".pt ", ".tar", ".pth", "ModelParameters"))


_PROGRAM = """
import sys
import main
from absl import app
from occnet_jax.cli import command_line
def stage(argv):
  {body}
main.main = stage
with command_line.quiet_pipe():
  app.run(main.run, argv=["main.py"], flags_parser=main.parse)
"""


def end_without_reader(*args):
  """Exit code and errors of a process whose output is a pipe that nobody reads."""
  reader, writer = os.pipe()
  os.close(reader)
  env = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"}
  with os.fdopen(writer, "wb") as output:
    done = subprocess.run(
      [sys.executable, *args], stdout=output, stderr=subprocess.PIPE, cwd=ROOT, env=env
    )
  return done.returncode, done.stderr.decode()


def test_output_that_nobody_reads_ends_quietly():
  assert end_without_reader("main.py", "--help") == (141, "")
  stage = _PROGRAM.format(body="print('row\\n' * 100_000)")
  assert end_without_reader("-c", stage) == (141, "")


def test_other_errors_are_still_printed_when_nobody_reads_the_output():
  stage = _PROGRAM.format(body="print('row'); raise ValueError('too hot')")
  assert end_without_reader("-c", stage) == (1, "error: too hot\n")


def test_a_message_that_a_file_made_long_is_cut_in_its_middle():
  text = f"a.npz: has the arrays {', '.join(map(str, range(60_000)))}; want points"
  short = command_line.describe(ValueError(text))
  assert len(short) < 2100
  assert short.startswith("a.npz: has the arrays 0, 1, ")
  assert short.endswith("59999; want points")
  assert command_line.describe(ValueError(text[:2000])) == text[:2000]


def test_a_lack_of_memory_is_a_sentence():
  stage = _PROGRAM.format(body="raise MemoryError")
  done = subprocess.run([sys.executable, "-c", stage], capture_output=True, cwd=ROOT)
  message = b"error: out of memory; want smaller inputs\n"
  assert (done.returncode, done.stderr) == (1, message)


def test_the_broken_pipe_of_another_process_is_an_error():
  stage = _PROGRAM.format(body="raise BrokenPipeError('worker gone')")
  done = subprocess.run([sys.executable, "-c", stage], capture_output=True, cwd=ROOT)
  assert (done.returncode, done.stderr) == (1, b"error: worker gone\n")
