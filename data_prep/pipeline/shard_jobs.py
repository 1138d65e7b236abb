"""Shards to make, and the processes that make them (host)."""

import contextlib
import json
import pathlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from tqdm import tqdm

from data_prep.pipeline import shards, worker_pool
from data_prep.pipeline.report import Row, make_row
from data_prep.pipeline.splits import Splits
from data_prep.sampling.example import Settings, Task, prepare_one
from data_prep.sources.entry import MeshEntry
from occnet_jax import files

Result = tuple[Row, bytes | None]


class ShardJob(NamedTuple):
  """One shard to make.

  Attributes:
    path: of the shard.
    rows_path: of what became of its meshes.
    tasks: its meshes in order.
  """

  path: pathlib.Path
  rows_path: pathlib.Path
  tasks: list[Task]


class Resources(NamedTuple):
  """What preparation may take.

  Attributes:
    workers: processes.
    limits: of each mesh.
  """

  workers: int
  limits: worker_pool.Limits


def make_shard_jobs(
  out: pathlib.Path, settings: Settings, plan: Splits
) -> dict[str, list[ShardJob]]:
  """The shards of each split."""
  size = settings["shard_size"]
  jobs: dict[str, list[ShardJob]] = {}
  for split, members in plan.splits.items():
    count = -(-len(members) // size)
    keep = split in settings["solid_splits"]
    tasks = [
      Task(settings, entry, split, _solid_path(out, entry) if keep else None)
      for entry in members
    ]
    jobs[split] = [
      ShardJob(
        shards.shard_path(out, split, shard, count),
        out / "rows" / f"{split}-{shard:05d}.json",
        tasks[shard * size : (shard + 1) * size],
      )
      for shard in range(count)
    ]
  return jobs


def _solid_path(out: pathlib.Path, entry: MeshEntry) -> pathlib.Path:
  return out / "solids" / entry.category / f"{entry.model_id}.ply"


def is_done(job: ShardJob) -> bool:
  return job.path.exists() and job.rows_path.exists()


def write_job(job: ShardJob, results: Sequence[Result]) -> None:
  """Writes a shard and its rows, from results in the order of the tasks."""
  # Rows first: a shard in place has its rows.
  with files.atomic_write(job.rows_path) as scratch:
    scratch.write_text(json.dumps([row for row, _ in results], indent=1))
  shards.write_shard(job.path, (record for _, record in results if record is not None))


def as_result(task: Task, answer: Any) -> Result:
  """A task's row and record, also where its process was lost."""
  if isinstance(answer, worker_pool.WorkerLostError):
    row = make_row(task.entry, task.split, answer.outcome, str(answer), answer.seconds)
    return row, None
  if isinstance(answer, Exception):
    raise answer
  return answer


def run_here(jobs: Sequence[ShardJob], means: Resources) -> None:
  """Makes what is missing with processes of this machine, under a progress bar."""
  missing = [job for job in jobs if not is_done(job)]
  total = sum(len(job.tasks) for job in jobs)
  left = sum(len(job.tasks) for job in missing)
  progress = tqdm(total=total, initial=total - left, desc="prepare", unit="shape")
  with progress, contextlib.closing(_finished(missing, means, progress)) as finished:
    for job, results in finished:
      write_job(job, results)


def _finished(
  jobs: Sequence[ShardJob], means: Resources, progress: tqdm
) -> Iterator[tuple[ShardJob, list[Result]]]:
  """Yields jobs with their results as they are complete."""
  places = {
    _name(task): (number, i)
    for number, job in enumerate(jobs)
    for i, task in enumerate(job.tasks)
  }
  results: dict[int, dict[int, Result]] = defaultdict(dict)
  answers = worker_pool.run_tasks(
    prepare_one,
    (task for job in jobs for task in job.tasks),
    workers=means.workers,
    limits=means.limits,
  )
  with contextlib.closing(answers):
    for task, answer in answers:
      number, place = places[_name(task)]
      results[number][place] = as_result(task, answer)
      progress.update()
      if len(results[number]) == len(jobs[number].tasks):
        have = results.pop(number)
        yield jobs[number], [have[i] for i in range(len(have))]


def _name(task: Task) -> tuple[str, str]:
  return task.entry.category, task.entry.model_id
