"""Preparation on many machines: the same shards by an Apache Beam pipeline (host).

  python -m data_prep.pipeline.beam --config=configs/own_data.py \
    --config.prep.source=folder:/shared/meshes --config.prep.out=/shared/data \
    --runner=FlinkRunner --flink_master=localhost:8081

Flags that are not the config's are Beam's. An element is a shard: a worker makes its
meshes one after another, in a process of their own under the limits of each mesh, and
writes it. Only counts travel, so no machine holds more than one shard per thread. The
source and `prep.out` lie in a file system that all workers share. A second call makes
only what is missing. Wants `pip install occnet-jax[beam]` wherever it runs.
"""

import functools
import pickle
import sys
from collections.abc import Sequence

import apache_beam as beam
from absl import app, flags
from apache_beam.options.pipeline_options import PipelineOptions
from ml_collections import config_flags

from data_prep.pipeline import report, worker_pool
from data_prep.pipeline.mixture import prepare_all
from data_prep.pipeline.shard_jobs import (
  Resources,
  ShardJob,
  as_result,
  is_done,
  write_job,
)
from data_prep.sampling.example import prepare_one


def run_beam(
  jobs: Sequence[ShardJob], resources: Resources, options: PipelineOptions | None = None
) -> None:
  """Makes the jobs that are not done, as `run_here` does, on any Beam runner.

  Args:
    jobs: shards to make.
    resources: limits of each mesh; the number of workers is up to the runner.
    options: options of the pipeline.
  """
  # Bytes: Beam would take the named tuples apart by a schema of its own.
  missing = [pickle.dumps(job) for job in jobs if not is_done(job)]
  with beam.Pipeline(options=options) as pipeline:
    _ = (
      pipeline
      | "shards" >> beam.Create(missing)
      | "spread" >> beam.Reshuffle()  # or one worker makes them all
      | "make" >> beam.ParDo(_MakeShard(resources.limits))
    )


class _MakeShard(beam.DoFn):
  """Makes shards, each mesh in a process apart that stays warm between them."""

  def __init__(self, limits: worker_pool.Limits):
    self._limits = tuple(limits)

  def setup(self) -> None:
    self._worker = worker_pool.Worker(prepare_one, worker_pool.Limits(*self._limits))

  def process(self, element: bytes) -> None:
    job = pickle.loads(element)
    answers = ((task, self._worker.run(task)) for task in job.tasks)
    results = []
    for task, answer in answers:
      results.append(as_result(task, answer))
      outcome = results[-1][0]["outcome"]
      beam.metrics.Metrics.counter("prepare", outcome).inc()
    write_job(job, results)

  def teardown(self) -> None:
    self._worker.close()


def main(argv: Sequence[str]) -> None:
  config = flags.FLAGS.config
  if config is None:
    raise ValueError("want --config=FILE, see configs/")
  options = PipelineOptions(list(argv[1:]))
  data_sets = prepare_all(
    **config.to_dict()["prep"], run=functools.partial(run_beam, options=options)
  )
  for prepared in data_sets:
    print(report.summarise(prepared.directory))  # noqa: T201


def _run(argv: Sequence[str]) -> None:
  try:
    main(argv)
  except (ValueError, OSError) as error:
    sys.exit(f"error: {error}")


def _parse(argv: list[str]) -> list[str]:
  """Takes the config's flags, and leaves the others to Beam."""
  try:
    return flags.FLAGS(argv, known_only=True)
  except (AttributeError, KeyError, TypeError, ValueError, OSError) as error:
    sys.exit(f"error: {error}")


if __name__ == "__main__":
  # Here, so that a program with a flag of this name can import the module.
  config_flags.DEFINE_config_file(
    "config", help_string="Config file, such as configs/own_data.py."
  )
  app.run(_run, flags_parser=_parse)
