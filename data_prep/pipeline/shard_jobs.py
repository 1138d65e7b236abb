"""Jobs that make one shard each, and their run by processes of this machine (host)."""

import contextlib
import json
import pathlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from tqdm import tqdm

from data_prep.pipeline import report, shards, worker_pool
from data_prep.pipeline.report import Row, make_row
from data_prep.pipeline.splits import Splits
from data_prep.progress import progress_bar
from data_prep.sampling.example import Settings, Task, make_features, prepare_one
from data_prep.sources.entry import SPLITS, MeshEntry
from occnet_jax import files

Result = tuple[Row, bytes | None]


class ShardJob(NamedTuple):
  """One shard to make.

  Attributes:
    path: file of the shard.
    rows_path: file of its rows of the report.
    tasks: its meshes in order.
  """

  path: pathlib.Path
  rows_path: pathlib.Path
  tasks: list[Task]


class Resources(NamedTuple):
  """Processes and limits of a preparation.

  Attributes:
    workers: number of processes.
    limits: limits of each mesh.
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
  """Whether the shard and its rows are in place."""
  return job.path.exists() and job.rows_path.exists()


def remove_damaged(out: pathlib.Path) -> None:
  """Removes shards that are cut, exchanged or do not fit their rows, so that they are
  made again, as those are that are missing.

  A full disk or a loss of power leaves such files. The set then counts as unfinished.
  """
  marks = shards.read_marks(out)
  for name in marks:
    if not (out / name).exists():
      shards.metadata_path(out).unlink(missing_ok=True)
  for rows_path in (out / "rows").glob("*.json"):
    split, _, index = rows_path.stem.rpartition("-")
    pattern = f"{shards.DATASET}-{split}.array_record-{index}-of-*"
    for path in out.glob(pattern):
      count = _count_examples(rows_path)
      is_other = path.name in marks and files.mark(path) != marks[path.name]
      if count is None or is_other or shards.count_records(path) != count:
        shards.metadata_path(out).unlink(missing_ok=True)
        path.unlink()
        rows_path.unlink(missing_ok=True)


def _count_examples(rows_path: pathlib.Path) -> int | None:
  """Number of examples by the rows of a shard, or None if they are damaged."""
  try:
    rows = json.loads(rows_path.read_bytes())
    return sum(row["outcome"] == "ok" for row in rows)
  except (ValueError, TypeError, KeyError):
    return None


def write_job(job: ShardJob, results: Sequence[Result]) -> None:
  """Writes a shard and its rows, from results in the order of the tasks."""
  # Rows first: a shard in place has its rows.
  with files.atomic_write(job.rows_path) as scratch:
    scratch.write_text(json.dumps([row for row, _ in results], indent=1))
  shards.write_shard(job.path, (record for _, record in results if record is not None))


def as_result(task: Task, answer: Any) -> Result:
  """The row and the record of a task, also of one whose process was lost.

  Args:
    task: the task.
    answer: what `worker_pool` answered: a result, or an exception.

  Raises:
    Exception: `answer` is one that the task could not have caused.
  """
  if isinstance(answer, worker_pool.WorkerLostError):
    row = make_row(task.entry, task.split, answer.outcome, str(answer), answer.seconds)
    return row, None
  if isinstance(answer, Exception):
    raise answer
  return answer


def run_here(jobs: Sequence[ShardJob], resources: Resources) -> None:
  """Makes the missing shards with processes of this machine, under a progress bar."""
  missing = [job for job in jobs if not is_done(job)]
  total = sum(len(job.tasks) for job in jobs)
  left = sum(len(job.tasks) for job in missing)
  progress = progress_bar(
    total=total, initial=total - left, desc="prepare", unit="shape"
  )
  with (
    progress,
    contextlib.closing(_finished(missing, resources, progress)) as finished,
  ):
    for job, results in finished:
      write_job(job, results)


def _finished(
  jobs: Sequence[ShardJob], resources: Resources, progress: tqdm
) -> Iterator[tuple[ShardJob, list[Result]]]:
  """Yields jobs with their results as they are complete."""
  positions = {
    _name(task): (number, i)
    for number, job in enumerate(jobs)
    for i, task in enumerate(job.tasks)
  }
  results: dict[int, dict[int, Result]] = defaultdict(dict)
  answers = worker_pool.run_tasks(
    prepare_one,
    (task for job in jobs for task in job.tasks),
    workers=resources.workers,
    limits=resources.limits,
  )
  with contextlib.closing(answers):
    for task, answer in answers:
      number, position = positions[_name(task)]
      results[number][position] = as_result(task, answer)
      progress.update()
      if len(results[number]) == len(jobs[number].tasks):
        complete = results.pop(number)
        yield jobs[number], [complete[i] for i in range(len(complete))]


def _name(task: Task) -> tuple[str, str, str]:
  return task.split, task.entry.category, task.entry.model_id


def complete(
  out: pathlib.Path,
  settings: Settings,
  jobs: dict[str, list[ShardJob]],
  duplicates: Sequence[Row],
) -> None:
  """Writes the report, and the metadata that makes shards a data set."""
  rows = {
    split: [json.loads(job.rows_path.read_text()) for job in jobs[split]]
    for split in SPLITS
  }
  every = [row for split in SPLITS for part in rows[split] for row in part]
  report.write(out, [*every, *duplicates])
  lengths = {
    split: [sum(row["outcome"] == "ok" for row in part) for part in rows[split]]
    for split in SPLITS
  }
  if not any(map(sum, lengths.values())):
    first = every[0]
    raise ValueError(
      f"none of {len(every)} meshes could be used; the first, {first['id']}: "
      f"{first['reason']} (all reasons: {out / report.FILE})"
    )
  shards.finish(out, make_features(settings), lengths)
