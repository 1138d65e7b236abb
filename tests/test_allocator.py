"""Memory that is freed and taken again."""

import platform
import subprocess
import sys

import pytest

_PROGRAM = """
import resource
import sys
import numpy as np
from occnet_jax import allocator
if sys.argv[1] == "keep":
  allocator.keep_freed_memory()
for _ in range(2):
  before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
  np.ones(2**26, np.uint8)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
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
