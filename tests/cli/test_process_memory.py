"""Freed memory stays with the process and is used again."""

import ctypes
import platform
import subprocess
import sys
import types

import pytest

from occnet_jax.cli import process

_PROGRAM = """
import resource
import sys
import threading
from occnet_jax.cli import process
if sys.argv[1] == "keep":
  process.keep_freed_memory()
def take_twice():
  for _ in range(2):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    b"1" * 2**27
  print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
# Not the main thread, whose heap alone can grow as large by default.
thread = threading.Thread(target=take_twice)
thread.start()
thread.join()
"""


def _page_faults_of_the_second_buffer(way):
  done = subprocess.run(
    [sys.executable, "-c", _PROGRAM, way], capture_output=True, text=True, check=True
  )
  return int(done.stdout)


@pytest.mark.skipif(
  platform.libc_ver()[0] != "glibc",
  reason="only glibc has these settings; other C libraries are left alone",
)
def test_a_buffer_that_was_freed_costs_no_page_faults_again():
  kept, given_back = map(_page_faults_of_the_second_buffer, ("keep", "as it is"))
  assert kept < 100 < given_back


def test_a_refused_memory_setting_is_a_warning(monkeypatch, caplog):
  library = types.SimpleNamespace(mallopt=lambda name, value: int(name != -1))
  monkeypatch.setattr(platform, "libc_ver", lambda: ("glibc", "2.36"))
  monkeypatch.setattr(ctypes, "CDLL", lambda name: library)
  process.keep_freed_memory()
  assert "refused the memory settings [-1]" in caplog.text
