"""Ctrl-C while a device still computes."""

import subprocess
import sys

import pytest

from occnet_jax.cli import occnet, process
from tests.helpers import ROOT

PROGRAM = """
import jax
from occnet_jax.cli import process

multiply = jax.jit(lambda x: jax.lax.fori_loop(0, 100, lambda i, y: y @ x / 1000, x))
x = jax.block_until_ready(jax.numpy.ones((1000, 1000)))
multiply = multiply.lower(x).compile()
try:
  with process.ending_in_one_sentence():
    result = multiply(x)
    print(result.is_ready())
    raise KeyboardInterrupt
except SystemExit as ended:
  print(result.is_ready())
  print(ended)
"""


@pytest.mark.parametrize(
  ("mode", "source", "resumes"),
  [
    ("train", None, True),
    ("all", None, True),
    ("reconstruct", "folder", True),
    ("reconstruct", "scan.ply", False),
    ("interpolate", None, False),
    (None, None, False),
  ],
)
def test_a_second_call_is_advised_where_it_does_the_rest(
  tmp_path, monkeypatch, mode, source, resumes
):
  (tmp_path / "folder").mkdir()
  monkeypatch.chdir(tmp_path)
  monkeypatch.setattr(process, "keep_freed_memory", lambda: None)
  monkeypatch.setattr(process, "enable_compilation_cache", lambda: None)
  with (
    pytest.raises(SystemExit) as ended,
    process.ending_in_one_sentence(resumes=process.resumes(mode, source)),
  ):
    raise KeyboardInterrupt
  advice = "; run the same command to resume" if resumes else ""
  assert ended.value.code == f"interrupted{advice}"


@pytest.mark.parametrize(
  ("args", "resumes"),
  [
    (["reconstruct", "folder"], True),
    (["reconstruct", "scan.ply"], False),
    (["reconstruct", "folder", "--level=3"], False),
    (["train", "--workdir=w"], True),
    (["demo"], False),
    (["models"], False),
  ],
)
def test_commands_say_whether_they_resume(tmp_path, monkeypatch, args, resumes):
  (tmp_path / "folder").mkdir()
  monkeypatch.chdir(tmp_path)
  assert occnet._resumes(occnet.make_parser().parse_args(args)) == resumes


def test_an_interruption_waits_for_the_computation_that_goes_on():
  done = subprocess.run(
    [sys.executable, "-c", PROGRAM], capture_output=True, text=True, cwd=ROOT
  )
  assert done.stdout.splitlines() == [
    "False",
    "True",
    "interrupted; run the same command to resume",
  ], done.stderr[-2000:]
