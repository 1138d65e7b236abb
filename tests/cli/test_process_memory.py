"""Memory that is freed and taken again."""

import platform
import subprocess
import sys

import pytest

_PROGRAM = """
import resource
import sys
import threading
from occnet_jax import allocator
if sys.argv[1] == "keep":
  allocator.keep_freed_memory()
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


def _faults_of_the_second_buffer(way):
  done = subprocess.run(
    [sys.executable, "-c", _PROGRAM, way], capture_output=True, text=True, check=True
  )
  return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="left as it is")
def test_a_buffer_that_was_freed_costs_no_page_faults_again():
  kept, given_back = map(_faults_of_the_second_buffer, ("keep", "as it is"))
  assert kept < 100 < given_back
