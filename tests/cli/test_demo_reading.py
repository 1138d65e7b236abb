"""Uploads are read by copies of one process, each of which can be ended."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import psutil
import pytest

from occnet_jax.cli.demo import reading
from tests.helpers import ROOT
from tests.helpers.pretrained import make_cloud
from tests.helpers.small_data import wait_until


@pytest.fixture
def cloud(tmp_path):
  path = tmp_path / "a.xyz"
  np.savetxt(path, make_cloud())
  return path


def test_a_file_is_read_in_a_process_that_is_ended(cloud, tmp_path):
  plain = reading.read(cloud, "cloud", (32, 3))
  np.testing.assert_allclose(plain.points, make_cloud())
  assert plain.colours is None
  colours = np.random.default_rng(0).integers(0, 256, (len(plain), 3))
  rows = np.concatenate([plain.points, colours], axis=1)
  named = tmp_path / "b.csv"
  np.savetxt(named, rows, delimiter=",", header="x,y,z,r,g,b", comments="")
  coloured = reading.read(named, "cloud", (32, 3))
  np.testing.assert_array_equal(coloured.colours, colours)
  with pytest.raises(ValueError, match=r"a\.xyz: not read within 0 s; want a smaller"):
    reading.read(cloud, "cloud", (32, 3), seconds=1e-6)


def test_reading_has_a_limit_of_memory(tmp_path):
  path = tmp_path / "a.npy"
  np.lib.format.open_memmap(path, "w+", np.float64, (400_000_000, 3))  # sparse, 9.6 GB
  with pytest.raises(ValueError, match=r"^a\.npy: .*(needs more memory|too large)"):
    reading.read(path, "cloud", (32, 3))


def test_a_reading_that_crashes_costs_its_file_alone(cloud, tmp_path):
  """And one process reads all files, until it is ended itself."""
  reading.read(cloud, "cloud", (32, 3))
  server = psutil.Process(reading._readers._process.pid)
  large = tmp_path / "large.xyz"
  large.write_text("0.1 0.2 0.3\n" * 3_000_000)
  with ThreadPoolExecutor(1) as pool:
    read = pool.submit(reading.read, large, "cloud", (32, 3))
    for copy in wait_until(server.children):
      copy.kill()
    with pytest.raises(
      ValueError, match=r"large\.xyz: .* ended with code -9, so it is"
    ):
      read.result()
  reading.read(cloud, "cloud", (32, 3))
  assert reading._readers._process.pid == server.pid
  server.kill()
  server.wait()
  again = reading.read(cloud, "cloud", (32, 3))
  np.testing.assert_allclose(again.points, make_cloud())


def test_the_end_of_the_program_ends_the_process(cloud):
  code = f"""
import pathlib
from occnet_jax.cli.demo import reading
reading.read(pathlib.Path({str(cloud)!r}), "cloud", (32, 3))
print(reading._readers._process.pid)
"""
  done = subprocess.run(
    [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
  )
  assert not psutil.pid_exists(int(done.stdout))
