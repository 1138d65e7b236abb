"""Ctrl-C while a device still computes."""

import subprocess
import sys

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


def test_an_interruption_waits_for_the_computation_that_goes_on():
  done = subprocess.run(
    [sys.executable, "-c", PROGRAM], capture_output=True, text=True, cwd=ROOT
  )
  assert done.stdout.splitlines() == [
    "False",
    "True",
    "interrupted; run the same command to resume",
  ], done.stderr[-2000:]
