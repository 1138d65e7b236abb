"""Preparation by the workers of a Dask cluster: the same shards (host).

  occnet prepare folder:/shared/meshes --out=/shared/data --dask=tcp://scheduler:8786
  occnet prepare folder:meshes --out=data --dask=local:2

A task is a shard. A worker makes it in a process of its own, as a preparation on one
machine does (`shard_jobs.run_here`), with a process inside for its meshes under the
limits of each, so a mesh that crashes or hangs costs that mesh. Only paths travel: the
source and `prep.out` lie in a file system that all workers share, under one path. A
second call makes only what is missing. Wants `pip install occnet-jax[dask]` wherever it
runs.
"""

import contextlib
import os
import pathlib
import pickle
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from typing import Any

from data_prep.pipeline.shard_jobs import Resources, ShardJob, is_done, run_here
from data_prep.progress import progress_bar

_TIMEOUT = 30  # seconds in which a scheduler must answer


def run_dask(jobs: Sequence[ShardJob], resources: Resources, *, address: str) -> None:
  """Makes the jobs that are not done, as `run_here` does, on a Dask cluster.

  Args:
    jobs: shards to make.
    resources: limits of each mesh; the number of workers is up to the cluster.
    address: of the scheduler, such as "tcp://host:8786"; or "local:2" for a cluster of
      two workers on this machine.

  Raises:
    ValueError: Dask is not installed, there is no such address, or a worker has no
      access to the directory.
    OSError: no scheduler answers, or a worker could not make a shard.
  """
  missing = [job for job in jobs if not is_done(job)]
  if not missing:
    return
  with _client(address) as client:
    from distributed import as_completed

    # Not pure: a scheduler may remember the results of an earlier call.
    futures = {
      client.submit(
        _make_shard, pickle.dumps((_absolute(job), resources)), pure=False
      ): job
      for job in missing
    }
    total = sum(len(job.tasks) for job in missing)
    try:
      with progress_bar(total=total, initial=0, desc="prepare", unit="shape") as bar:
        for future in as_completed(futures):
          _check(future, futures[future])
          bar.update(len(futures[future].tasks))
    finally:
      client.cancel(list(futures))


def _absolute(job: ShardJob) -> ShardJob:
  """The job with paths that mean the same in any working directory."""
  tasks = [
    task._replace(
      entry=task.entry._replace(path=pathlib.Path(task.entry.path).absolute()),
      solid_path=task.solid_path and task.solid_path.absolute(),
    )
    for task in job.tasks
  ]
  return ShardJob(job.path.absolute(), job.rows_path.absolute(), tasks)


@contextlib.contextmanager
def _client(address: str) -> Iterator[Any]:
  """A client of the scheduler at an address, or of a cluster that lasts as long."""
  try:
    import distributed
  except ImportError as error:
    raise ValueError(
      f"--dask={address} needs Dask; run pip install 'occnet-jax[dask]' here and where "
      "the workers run"
    ) from error
  local = re.fullmatch(r"local:([1-9]\d*)", address)
  if not local and not re.fullmatch(r"(\w+://)?(?!local:)[^:/]+:\d+", address):
    raise ValueError(
      f"--dask={address}: want the address of a scheduler, such as tcp://host:8786, or "
      "local:2 for two workers on this machine"
    )
  with contextlib.ExitStack() as stack:
    target: Any = address
    if local:
      with _ignoring_interrupts():
        cluster = distributed.LocalCluster(
          n_workers=int(local[1]), threads_per_worker=1, dashboard_address=None
        )
      target = stack.enter_context(cluster)
    try:
      client = distributed.Client(target, timeout=_TIMEOUT)
    except OSError as error:
      raise OSError(
        f"--dask={address}: no scheduler answers there within {_TIMEOUT} s; start one "
        "with: dask scheduler"
      ) from error
    yield stack.enter_context(client)


@contextlib.contextmanager
def _ignoring_interrupts() -> Iterator[None]:
  """Makes processes that start within ignore Ctrl-C.

  A terminal sends it to all of them; this process alone reacts, and ends the others.
  """
  if threading.current_thread() is not threading.main_thread():
    yield  # where signals cannot be set
    return
  before = signal.signal(signal.SIGINT, signal.SIG_IGN)
  try:
    yield
  finally:
    signal.signal(signal.SIGINT, before)


def _check(future: Any, job: ShardJob) -> None:
  """Raises OSError if a shard was not made, ValueError if it is elsewhere."""
  if (error := future.exception()) is not None:
    reason = " ".join(str(error).split())
    raise OSError(
      f"{job.path}: no worker of the Dask cluster could make it ({reason}); run the "
      "same command to make what is missing"
    ) from error
  if not is_done(job):
    raise ValueError(
      f"{job.path}: a worker made it, but it is not here; want prep.out and the source "
      "in a file system that all workers share"
    )


def _make_shard(payload: bytes) -> None:
  """Makes a shard in a process of its own; runs in a thread of a Dask worker.

  Dask's workers are daemonic processes, which must not have children of
  multiprocessing's.

  Args:
    payload: a job and its resources, pickled.

  Raises:
    RuntimeError: the process failed.
  """
  paths = os.pathsep.join(filter(None, sys.path))
  with tempfile.TemporaryFile() as errors:
    process = subprocess.Popen(
      [sys.executable, "-m", "data_prep.pipeline.dask_cluster"],
      stdin=subprocess.PIPE,
      stderr=errors,
      env={**os.environ, "PYTHONPATH": paths},
    )
    with process:
      # Open as long as this worker lives, see `_serve`.
      process.stdin.write(payload)
      process.stdin.flush()
      code = process.wait()
    errors.seek(0)
    lines = errors.read().decode(errors="replace").split("\n")
  if code:
    last = next(filter(None, map(str.strip, reversed(lines))), "no message")
    raise RuntimeError(f"exit code {code}: {last}")


def _serve() -> None:
  """Makes the shard that standard input holds; ends when the other end is closed."""
  job, resources = pickle.load(sys.stdin.buffer)

  def watch() -> None:
    os.read(sys.stdin.fileno(), 1)  # not by its buffer, whose lock the end would want
    os._exit(1)

  threading.Thread(target=watch, daemon=True).start()
  run_here([job], resources._replace(workers=1))


if __name__ == "__main__":
  _serve()
