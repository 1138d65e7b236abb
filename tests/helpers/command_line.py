"""main.py, in a process of its own or in this one."""

import subprocess
import sys
from unittest import mock

import pytest
from absl.testing import flagsaver

import main
from occnet_jax.cli import process
from occnet_jax.data import batches  # noqa: F401  # see `run_here`
from tests.helpers import ROOT


def call(*args, check=True):
  """Runs main.py; the process, with what it printed."""
  done = subprocess.run(
    [sys.executable, str(ROOT / "main.py"), *map(str, args)],
    capture_output=True,
    text=True,
    cwd=ROOT,
    timeout=580,
  )
  if check:
    assert done.returncode == 0, done.stderr[-3000:]
  return done


def run_here(*args):
  """Runs main.py in this process.

  Grain and array_record define flags of their own when they are imported. flagsaver
  forgets those of an import within it, so they are imported before.
  """
  argv = ["main.py", *map(str, args)]
  with (
    flagsaver.flagsaver(),
    mock.patch.object(sys, "argv", argv),  # where ml_collections looks for overrides
    mock.patch.object(process, "keep_freed_memory"),
    mock.patch.object(process, "enable_compilation_cache"),
  ):
    main.run(main.parse(argv))


def error_of(*args):
  """The one sentence that a failing call ends with, without a traceback."""
  with pytest.raises(SystemExit) as ended:
    run_here(*args)
  message = ended.value.code
  assert isinstance(message, str) and "\n" not in message.strip()
  return message
