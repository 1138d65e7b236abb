import signal
import subprocess
import sys

import pytest

from occnet_jax.train import workdir_lock

HOLD = """
import pathlib, sys, time
from occnet_jax.train import workdir_lock
with workdir_lock.hold(pathlib.Path(sys.argv[1])):
  print("held", flush=True)
  time.sleep(600)
"""


def test_a_second_run_is_refused_until_the_first_is_dead(tmp_path):
  with subprocess.Popen(
    [sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True
  ) as first:
    assert first.stdout.readline() == "held\n"
    with (
      pytest.raises(
        ValueError, match=rf"is used by a training run, process {first.pid} on "
      ),
      workdir_lock.hold(tmp_path),
    ):
      pass
    first.send_signal(signal.SIGKILL)
    first.wait()
  with workdir_lock.hold(tmp_path):
    pass
