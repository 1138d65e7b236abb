"""main.py in a process of its own."""

import subprocess
import sys

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


def error_of(*args):
  """The one sentence that a failing call ends with."""
  done = call(*args, check=False)
  assert done.returncode not in (0, None)
  assert "Traceback" not in done.stderr, done.stderr[-3000:]
  return done.stderr
