"""The same shards from the workers of a Dask cluster, two real ones on this machine."""

import csv
import functools
import os
import subprocess
import sys

import pytest

from data_prep.pipeline import dask_cluster
from data_prep.pipeline.prepare import prepare
from occnet_jax.cli import dispatch
from tests.data_prep.pipeline.test_prepare import _files
from tests.helpers import ROOT
from tests.helpers.small_data import SMALL

# One shard a split: each costs a process that imports everything.
FEW_SHARDS = SMALL | {"shard_size": 20}
ONE_SHARD = FEW_SHARDS | {"val_fraction": 0.0, "test_fraction": 0.0}
HAS_DASK = "an extra: pip install occnet-jax[dask]"


@pytest.fixture(scope="module")
def prepared(source, tmp_path_factory):
  """What processes of this machine make of the source."""
  return prepare(source=source, out=tmp_path_factory.mktemp("here"), **FEW_SHARDS)


@pytest.fixture(scope="module")
def scheduler():
  """The address of a scheduler with two workers, each a process."""
  distributed = pytest.importorskip("distributed", reason=HAS_DASK)
  with distributed.LocalCluster(
    n_workers=2, threads_per_worker=1, dashboard_address=None
  ) as cluster:
    yield cluster.scheduler_address


def on(address):
  return functools.partial(dask_cluster.run_dask, address=address)


def outcomes(directory):
  """The report but for its seconds."""
  with (directory / "prepare_report.csv").open(newline="") as stream:
    rows = list(csv.DictReader(stream))
  return [{k: v for k, v in row.items() if k != "seconds"} for row in rows]


def test_a_cluster_writes_the_same_bytes_and_rows(
  source, prepared, scheduler, tmp_path
):
  made = prepare(source=source, out=tmp_path / "out", run=on(scheduler), **FEW_SHARDS)
  assert made._replace(directory=None) == prepared._replace(directory=None)
  assert made.rejected == 3 and _files(made.directory)
  assert _files(made.directory) == _files(prepared.directory)
  assert outcomes(made.directory) == outcomes(prepared.directory)
  kept = {path: path.stat().st_mtime_ns for path in made.directory.rglob("*")}
  again = prepare(source=source, out=tmp_path / "out", run=on(scheduler), **FEW_SHARDS)
  assert again == made
  assert {p: p.stat().st_mtime_ns for p in made.directory.rglob("*")} == kept


def test_only_missing_shards_are_made(source, prepared, scheduler, tmp_path):
  kept = {}

  def stop(jobs, resources):
    on(scheduler)(jobs[:2], resources)
    kept.update({job.path: job.path.stat().st_mtime_ns for job in jobs[:2]})
    raise KeyboardInterrupt

  with pytest.raises(KeyboardInterrupt):
    prepare(source=source, out=tmp_path, run=stop, **FEW_SHARDS)
  prepare(source=source, out=tmp_path, run=on(scheduler), **FEW_SHARDS)
  assert {path: path.stat().st_mtime_ns for path in kept} == kept and len(kept) == 2
  assert _files(tmp_path) == _files(prepared.directory)


def test_a_mesh_beyond_a_limit_costs_a_cluster_that_mesh(soup, scheduler, tmp_path):
  prepare(source=soup, out=tmp_path, run=on(scheduler), memory_limit=0.3, **ONE_SHARD)
  assert {row["id"]: row["outcome"] for row in outcomes(tmp_path)} == {
    "box": "ok",
    "soup": "memory",
  }


def test_shards_that_a_worker_writes_elsewhere_are_an_error(
  source, scheduler, tmp_path, monkeypatch
):
  def move(job):  # as a worker has it whose file system is another
    folder = tmp_path / "elsewhere"
    return job._replace(path=folder / job.path.name, rows_path=folder / "rows.json")

  monkeypatch.setattr(dask_cluster, "_absolute", move)
  with pytest.raises(ValueError, match="in a file system that all workers share"):
    prepare(source=source, out=tmp_path / "out", run=on(scheduler), **ONE_SHARD)


def test_a_shard_that_no_worker_can_make_is_an_error(source, scheduler, tmp_path):
  out = tmp_path / "out"

  def block(jobs, resources):
    (out / "rows").write_text("a file in the way")
    on(scheduler)(jobs, resources)

  with pytest.raises(OSError, match=r"no worker of the Dask cluster could make it .*"):
    prepare(source=source, out=out, run=block, **ONE_SHARD)


def test_the_command_prepares_by_workers_of_its_own(source, tmp_path):
  """Into a directory of a relative name, which workers have in no other place."""
  pytest.importorskip("distributed", reason=HAS_DASK)
  fields = ("points", "surface_points", "voxel_side", "val_fraction", "test_fraction")
  flags = [f"--config.prep.{name}={ONE_SHARD[name]}" for name in fields]
  command = [sys.executable, "-m", "occnet_jax", "prepare", source, *flags]
  for where in (["--out=here"], ["--out=cluster", "--dask=local:2"]):
    done = subprocess.run(
      [*command, *where],
      cwd=tmp_path,
      env={**os.environ, "PYTHONPATH": str(ROOT)},
      capture_output=True,
      text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "rejected, such as bad/nan" in done.stdout
  assert (tmp_path / "here" / "dataset_info.json").exists()
  assert _files(tmp_path / "cluster") == _files(tmp_path / "here")


@pytest.mark.parametrize("address", ["local", "local:0", "local:x", "", "nowhere"])
def test_an_address_that_is_none_is_a_sentence(source, tmp_path, address):
  pytest.importorskip("distributed", reason=HAS_DASK)
  with pytest.raises(ValueError, match=f"--dask={address}: want the address of a sche"):
    prepare(source=source, out=tmp_path / "out", run=on(address), **ONE_SHARD)


def test_a_scheduler_that_does_not_answer_is_a_sentence(source, tmp_path, monkeypatch):
  pytest.importorskip("distributed", reason=HAS_DASK)
  monkeypatch.setattr(dask_cluster, "_TIMEOUT", 1)
  with pytest.raises(OSError, match="no scheduler answers there within 1 s; start one"):
    prepare(source=source, out=tmp_path, run=on("tcp://127.0.0.1:9"), **ONE_SHARD)


def test_without_dask_the_way_to_install_it_is_named(source, tmp_path, monkeypatch):
  monkeypatch.setitem(sys.modules, "distributed", None)
  with pytest.raises(ValueError, match=r"needs Dask; run pip install 'occnet-jax\[da"):
    prepare(source=source, out=tmp_path, run=on("local:2"), **ONE_SHARD)


def test_other_modes_refuse_a_cluster(tmp_path):
  with pytest.raises(ValueError, match="--dask=local:2 is for prepare; leave it out"):
    dispatch.run("train", {}, str(tmp_path), dask="local:2")
