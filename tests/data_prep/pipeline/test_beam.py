"""The same shards from a Beam pipeline, on Beam's own runner."""

import csv
import functools
import os
import subprocess
import sys

import pytest

from tests.helpers import ROOT
from tests.helpers.small_data import SMALL, write_source

pytest.importorskip("apache_beam", reason="an extra: pip install occnet-jax[beam]")

from apache_beam.options.pipeline_options import PipelineOptions

from data_prep.pipeline import beam
from data_prep.pipeline.prepare import prepare

# In this process; DirectRunner looks for a Go program on the network first.
RUNNER = "--runner=apache_beam.runners.portability.fn_api_runner.FnApiRunner"


def test_a_pipeline_writes_the_same_bytes_and_rows(source, prepared, tmp_path):
  run = functools.partial(beam.run_beam, options=PipelineOptions([RUNNER]))
  found = prepare(source=source, out=tmp_path, run=run, **SMALL)
  assert found._replace(directory=None) == prepared._replace(directory=None)
  shards = list(prepared.directory.glob("occnet-*"))
  assert shards
  for path in shards:
    assert (tmp_path / path.name).read_bytes() == path.read_bytes()
  assert _outcomes(tmp_path) == _outcomes(prepared.directory)


def test_a_pipeline_goes_on_where_another_run_stopped(source, prepared, tmp_path):
  kept = []

  def stop(jobs, resources):
    beam.run_beam(jobs[:2], resources, PipelineOptions([RUNNER]))
    kept.extend((job.path, job.path.stat().st_mtime_ns) for job in jobs[:2])
    raise KeyboardInterrupt

  with pytest.raises(KeyboardInterrupt):
    prepare(source=source, out=tmp_path, run=stop, **SMALL)
  run = functools.partial(beam.run_beam, options=PipelineOptions([RUNNER]))
  prepare(source=source, out=tmp_path, run=run, **SMALL)
  assert all(path.stat().st_mtime_ns == time for path, time in kept)
  for path in prepared.directory.glob("occnet-*"):
    assert (tmp_path / path.name).read_bytes() == path.read_bytes()


def test_a_mesh_beyond_a_limit_costs_a_pipeline_that_mesh(soup, tmp_path):
  run = functools.partial(beam.run_beam, options=PipelineOptions([RUNNER]))
  prepare(source=soup, out=tmp_path, run=run, memory_limit=0.3, **SMALL)
  outcomes = {name: outcome for name, _, outcome in _outcomes(tmp_path)}
  assert outcomes == {"box": "ok", "soup": "memory"}


def test_the_command_takes_flags_of_the_config_and_of_beam(tmp_path):
  source = write_source(tmp_path)
  done = _call(tmp_path, f"--config.prep.source={source}")
  assert done.returncode == 0, done.stderr[-3000:]
  assert "rejected, such as bad/nan" in done.stdout
  assert (tmp_path / "out" / "dataset_info.json").exists()
  done = _call(tmp_path, "--config.prep.sorce=x")
  assert done.returncode != 0 and "sorce" in done.stderr
  assert "Traceback" not in done.stderr


def _call(out, *args):
  return subprocess.run(
    [
      *(sys.executable, "-m", "data_prep.pipeline.beam", RUNNER),
      f"--config={ROOT / 'configs' / 'own_data.py'}",
      f"--config.prep.out={out / 'out'}",
      *("--config.prep.points=400", "--config.prep.surface_points=300"),
      *args,
    ],
    capture_output=True,
    text=True,
    cwd=ROOT,
    timeout=300,
    env={**os.environ, "PYTHONPATH": str(ROOT)},
  )


def _outcomes(directory):
  with (directory / "prepare_report.csv").open(newline="") as stream:
    return [(row["id"], row["split"], row["outcome"]) for row in csv.DictReader(stream)]
