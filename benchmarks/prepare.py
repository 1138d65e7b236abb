"""Preparation: meshes per minute, seconds by stage, and memory.

  python -m benchmarks.prepare                                  # synthetic shapes
  python -m benchmarks.prepare --source=folder:/path --meshes=100 --views=24

First the whole command, in as many processes as there are cores; then the same meshes
one after another in this process, to measure the time of each stage.
"""

import argparse
import contextlib
import pathlib
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator

import psutil

from benchmarks import record
from data_prep.pipeline import prepare as prepare_lib
from data_prep.pipeline import report, shard_jobs, shards, worker_pool
from data_prep.sampling import example, inside_test, points, surface, voxels
from data_prep.watertight import solid as solids
from occnet_jax.geometry import mesh_io

STAGES = {  # the functions that do the work
  "read": (mesh_io, "read_mesh"),
  "solid": (solids, "make_watertight"),
  "cells for labels": (inside_test, "make_inside_test"),
  "label points": (points, "uniform_points"),
  "near points": (points, "near_points"),
  "surface": (surface, "surface_points"),
  "voxels": (voxels, "voxelize"),
  "views": (example, "_draw_views"),
  "write solid": (mesh_io, "write_mesh"),
  "serialise": (shards, "serialize"),
  "write shard": (shard_jobs, "write_job"),
}
_GIB = 2**30


@contextlib.contextmanager
def timed() -> Iterator[dict[str, float]]:
  """Yields the seconds that each stage takes while this is open."""
  seconds: dict[str, float] = defaultdict(float)

  def wrap(stage, function):
    def call(*args, **kwargs):
      start = time.perf_counter()
      try:
        return function(*args, **kwargs)
      finally:
        seconds[stage] += time.perf_counter() - start

    return call

  originals = {stage: getattr(*where) for stage, where in STAGES.items()}
  try:
    for stage, (module, name) in STAGES.items():
      setattr(module, name, wrap(stage, originals[stage]))
    yield seconds
  finally:
    for stage, (module, name) in STAGES.items():
      setattr(module, name, originals[stage])


@contextlib.contextmanager
def watched() -> Iterator[dict[str, float]]:
  """Yields the most GiB that any process and all together hold while this is open."""
  most = {"largest process": 0.0, "all processes": 0.0}
  done = threading.Event()

  def watch():
    this = psutil.Process()
    while not done.wait(0.1):
      held = []
      for process in [this, *this.children(recursive=True)]:
        with contextlib.suppress(psutil.Error):
          held.append(process.memory_info().rss / _GIB)
      most["largest process"] = max(most["largest process"], *held)
      most["all processes"] = max(most["all processes"], sum(held))

  thread = threading.Thread(target=watch)
  thread.start()
  try:
    yield most
  finally:
    done.set()
    thread.join()


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
  parser.add_argument("--source", default="synthetic")
  parser.add_argument("--meshes", type=int, default=104)
  parser.add_argument("--near_points", type=int, default=4096)
  parser.add_argument("--views", type=int, default=0)
  parser.add_argument("--workers", type=int, default=0)
  args = record.parse(parser)
  taken = []

  def run(all_jobs: list[shard_jobs.ShardJob], resources: shard_jobs.Resources) -> None:
    """Makes the first meshes in both ways."""
    tasks = [task for job in all_jobs for task in job.tasks][: args.meshes]
    job = all_jobs[0]._replace(tasks=tasks)
    start = time.perf_counter()
    with watched() as most:
      shard_jobs.run_here([job], resources)
    taken.append((time.perf_counter() - start, len(tasks), resources.workers, most))
    start = time.perf_counter()
    with timed() as seconds:
      shard_jobs.write_job(job, [example.prepare_one(task) for task in tasks])
    taken.append((time.perf_counter() - start, seconds))

  with tempfile.TemporaryDirectory() as scratch:
    out = pathlib.Path(scratch)
    prepare_lib.prepare(
      source=args.source,
      out=out,
      per_category=-(-args.meshes // 13),
      near_points=args.near_points,
      views=args.views,
      val_fraction=0.0,
      test_fraction=0.0,
      solid_splits=("train",),
      shard_size=10**9,
      workers=args.workers,
      run=run,
    )
    print(report.summarise(out))  # noqa: T201
  (wall, count, workers, most), (alone, seconds) = taken
  rate = 60 * count / wall
  print(f"\n{workers} processes: {count} meshes in {wall:.1f} s, {rate:.0f} a minute,")  # noqa: T201
  print(  # noqa: T201
    f"{rate / workers:.0f} a minute and core ({worker_pool.count_cores()} cores here)"
  )
  print("memory in GiB: " + ", ".join(f"{k} {v:.2f}" for k, v in most.items()))  # noqa: T201
  print(f"\n{'stage':20} ms a mesh   share")  # noqa: T201
  seconds["other"] = alone - sum(seconds.values())
  for stage, taken_here in seconds.items():
    print(f"{stage:20} {1000 * taken_here / count:9.1f} {taken_here / alone:7.1%}")  # noqa: T201
  print(f"{'all':20} {1000 * alone / count:9.1f}")  # noqa: T201
  whole = {"processes": workers, "meshes": count, "meshes a minute": rate}
  stages = [
    {"stage": stage, "ms a mesh": 1000 * s / count, "share": s / alone}
    for stage, s in seconds.items()
  ]
  memory = {f"{name}, GiB": gibibytes for name, gibibytes in most.items()}
  record.save(args, whole=[whole | memory], stages=stages)


if __name__ == "__main__":
  main()
