"""The stages of a run, from a config and a workdir (host).

Each finds what is already done and does the rest, so that a second call of the same
command resumes and repeats nothing. This is where config is read; below it go plain
values.

<workdir>/
  config.json            what the run is
  checkpoints/, logs/    train
  meshes/                generate
  evaluation/            evaluate
  report.html            report
  versions.jsonl         train: of package and libraries, a line where they change
  wall_time.json         seconds by stage, over all calls
"""

import contextlib
import functools
import json
import pathlib
import time
from collections.abc import Callable, Iterator
from typing import Any

from occnet_jax import config as config_lib
from occnet_jax.cli import process
from occnet_jax.config import check_workdir
from occnet_jax.files import atomic_write, read_numbers
from occnet_jax.geometry import rendering
from occnet_jax.version import environment

Config = dict[str, Any]


def prepare(
  config: Config,
  workdir: pathlib.Path | None,
  part: tuple[int, int] = (0, 1),
  dask: str | None = None,
) -> None:
  """Mesh files -> TFDS shards, in config.prep.out and those of config.prep.others.

  Args:
    config: nested dicts.
    workdir: directory whose log gets the seconds, if any.
    part: (i, n) to make every n-th shard from the i-th on.
    dask: address of a Dask scheduler whose workers make the shards, or "local:N"; None
      for processes of this machine.
  """
  from data_prep.pipeline import mixture
  from data_prep.pipeline import report as report_lib

  settings = config["prep"] | {"part": part}
  if dask is not None:
    from data_prep.pipeline import dask_cluster

    settings["run"] = functools.partial(dask_cluster.run_dask, address=dask)
  with _timed(workdir, "prepare") if workdir else contextlib.nullcontext():
    for prepared in mixture.prepare_all(**settings):
      if prepared.missing:
        print(  # noqa: T201
          f"{prepared.directory}: {sum(prepared.shapes.values())} shapes are there, "
          f"{prepared.missing} shards are left to the other parts of {part[1]}"
        )
      else:
        print(report_lib.summarise(prepared.directory))  # noqa: T201


def train(config: Config, workdir: pathlib.Path) -> None:
  """Shards -> checkpoints."""
  from occnet_jax.cli import first_weights
  from occnet_jax.extract import to_mesh
  from occnet_jax.train import log_sinks, loop, multihost, workdir_lock

  settings = config_lib.parse(config)
  to_mesh.check(settings.generation)  # now, not after the training
  log_sinks.check(settings.train.sinks)
  initialise = functools.partial(first_weights.initialise, config)
  if not multihost.is_main_process():
    loop.train(config, workdir, initialise)
    return
  with workdir_lock.hold(workdir):
    check_workdir(config, workdir)
    _record_versions(workdir)
    with _timed(workdir, "train"):
      loop.train(config, workdir, initialise, _make_evaluators(config, workdir))


def _record_versions(workdir: pathlib.Path) -> None:
  """Adds the versions of this training to versions.jsonl, where they have changed."""
  path, line = workdir / "versions.jsonl", json.dumps(environment())
  before = path.read_text().splitlines() if path.exists() else []
  if before[-1:] != [line]:
    with atomic_write(path) as scratch:
      scratch.write_text("\n".join([*before, line, ""]))


def _make_evaluators(config: Config, workdir: pathlib.Path) -> list:
  """The evaluators beside validation, which the loop has by itself."""
  from occnet_jax.data import batches
  from occnet_jax.evaluation import validation_meshes
  from occnet_jax.viz import preview

  settings = config_lib.parse(config)
  shapes = len(batches.open_train(settings.data))
  settings = config_lib.parse(config_lib.with_codes(config, shapes))
  evaluators = []
  if settings.val.mesh_shapes:
    evaluators.append(validation_meshes.make_chamfer(settings))
  if settings.train.preview_shapes and rendering.is_available():
    evaluators.append(preview.make_preview(settings, workdir))
  return evaluators


def generate(config: Config, workdir: pathlib.Path) -> None:
  """Best checkpoint -> a mesh for every shape of the test split.

  With config.generation.sample, of a random z each. Shapes are spread over devices and
  processes.
  """
  from occnet_jax import api
  from occnet_jax.data import batches, input_arrays, loader
  from occnet_jax.evaluation import evaluate as evaluate_lib
  from occnet_jax.extract import to_mesh
  from occnet_jax.models import finetuning
  from occnet_jax.train import multihost

  process.compute_in_caller()
  settings = config_lib.parse(config)
  to_mesh.check(settings.generation)
  number, processes = multihost.process_index_and_count()
  if number == 0:
    check_workdir(config, workdir, begin=False)
  replicas = api.restore(workdir, config_override=config).replicas()
  model, shapes = replicas[0], open_test_split(settings)()
  if settings.generation.sample and model.method.prior is None:
    raise ValueError(
      "config.generation.sample is set, but this model has no random z to draw "
      "(config.model.z_dim is 0); unset it"
    )
  finetuning.check(model.method, settings.generation)
  to_mesh.check_point_mesh(model.method, settings.generation.point_mesh)
  transform = batches.evaluation_transform(settings.data, points=1)
  used = settings.model.get("levels_used", 0)

  def reconstruct(shape, index):
    model = replicas[index // processes % len(replicas)]
    inputs = transform(shape, loader.shape_rng(settings.seed, index))["inputs"]
    if model.method.windows is not None:
      return model.reconstruct_scene(
        inputs, cell_size=None, on_empty="empty", progress=False
      )
    if steps := settings.generation.finetune_steps:
      model = model.finetuned(inputs, inputs, steps)
    inputs = input_arrays.batch_of_one(inputs)
    latent = (
      # Two numbers, so that runs of neighbouring seeds share no sample.
      model.prior(1, seed=(settings.seed, index), inputs=inputs)
      if settings.generation.sample
      else model.encode(inputs)
    )
    return model.extract(latent, on_empty="empty")

  origin = evaluate_lib.make_origin(settings.test.split, settings.data._asdict())
  with _timed(workdir, "generate") if number == 0 else contextlib.nullcontext():
    evaluate_lib.generate(
      shapes,
      loader.evenly_spaced(len(shapes), settings.test.shapes).tolist(),
      reconstruct,
      workdir,
      threads=2 * len(replicas),
      part=(number, processes),
      wait=multihost.barrier,
      form=settings.generation.format,
      origin=origin,
      settings={
        "step": model.record["step"],
        "level": model.level,
        "seed": settings.seed,
        "generation": settings.generation._asdict(),
        **({"levels_used": used} if used else {}),
      },
    )
  if number == 0:
    _, rows = evaluate_lib.read_rows(workdir / evaluate_lib.GENERATED, origin)
    made = sum(bool(row.get("vertices", row.get("faces"))) for row in rows)
    print(f"{made} of {len(rows)} meshes: {workdir / 'meshes'}")  # noqa: T201


def evaluate(config: Config, workdir: pathlib.Path) -> None:
  """Meshes -> evaluation/per_mesh.csv and summary.csv; samples -> generation.json."""
  from occnet_jax.data import loader
  from occnet_jax.evaluation import evaluate as evaluate_lib
  from occnet_jax.evaluation import tables

  settings = config_lib.parse(config)
  check_workdir(config, workdir, begin=False)
  open_test = open_test_split(settings)
  if settings.generation.sample:
    from occnet_jax.cli import generative

    with _timed(workdir, "evaluate"):
      measures = generative.evaluate_samples(settings, workdir, open_test())
    print("\n".join(f"{name:24} {value:.4g}" for name, value in measures.items()))  # noqa: T201
    return
  with _timed(workdir, "evaluate"):
    shapes = open_test()
    rows = evaluate_lib.evaluate(
      shapes,
      loader.evenly_spaced(len(shapes), settings.test.shapes).tolist(),
      workdir,
      form=settings.generation.format,
      origin=evaluate_lib.make_origin(settings.test.split, settings.data._asdict()),
      samples=settings.test.samples,
      trim=settings.test.trim,
      further=further(settings.test),
    )
  print(tables.as_text(tables.summarise(rows)))  # noqa: T201


def report(config: Config, workdir: pathlib.Path) -> None:
  """Everything above -> report.html, and report.png of the same shapes.

  (Samples have evaluation/samples.png instead.)
  """
  from occnet_jax.data import batches
  from occnet_jax.viz import report_data

  settings = config_lib.parse(config)
  check_workdir(config, workdir, begin=False)
  if settings.generation.sample:
    print(f"Samples: {workdir / 'evaluation' / 'samples.png'}")  # noqa: T201
    return
  sheet = workdir / "report.png"
  with _timed(workdir, "report"):
    transform = batches.evaluation_transform(settings.data, points=1)
    shown = settings, workdir, open_test_split(settings)(), transform
    path = report_data.gather(*shown)
    stale = not sheet.exists() or sheet.stat().st_mtime < path.stat().st_mtime
    if stale and rendering.is_available():
      from occnet_jax.viz import sheets

      sheets.write_shapes(sheet, report_data.report_shapes(*shown))
  for name, value in report_data.times(
    workdir, report_data.measured(settings, workdir)[1]
  ).items():
    print(f"{name:32} {value:>10}")  # noqa: T201
  print(f"Report: {path}")  # noqa: T201


def reconstruct(
  workdir: pathlib.Path | None,
  source: str,
  target: str | None,
  masks: str | None = None,
  config_override: Config | None = None,
  pretrained: str | None = None,
  *,
  intrinsics: str | None = None,
  poses: str | None = None,
  preview: str | None = None,
  shard: str | None = None,
) -> None:
  """A user's file or folder of files -> meshes; see `cli.reconstruct`."""
  from occnet_jax.cli import reconstruct as reconstruct_lib

  reconstruct_lib.reconstruct(
    workdir,
    source,
    target,
    pretrained=pretrained,
    masks=masks,
    intrinsics=intrinsics,
    poses=poses,
    config_override=config_override,
    preview=preview,
    shard=shard,
  )


def interpolate(config: Config, workdir: pathlib.Path, steps: int) -> None:
  """Pairs of test shapes -> meshes and a picture of the way from one to the other."""
  from occnet_jax import api
  from occnet_jax.cli import generative

  settings = config_lib.parse(config)
  check_workdir(config, workdir, begin=False)
  model = api.restore(workdir, config_override=config)
  shapes = open_test_split(settings)()
  path = generative.interpolate(settings, model, workdir, shapes, steps)
  print(f"Picture: {path}")  # noqa: T201


def import_torch(config: Config, workdir: pathlib.Path, source: str) -> None:
  """A checkpoint of the reference -> a run."""
  from occnet_jax.interop import runs

  runs.import_torch(config, workdir, source)
  print(f"{workdir}: a run with the weights of {source}")  # noqa: T201


def export_torch(workdir: pathlib.Path, target: str) -> None:
  """The best checkpoint of a run -> a file that the reference loads."""
  from occnet_jax.interop import runs

  print(f"Written: {runs.export_torch(workdir, target)}")  # noqa: T201


def open_test_split(settings: config_lib.Settings) -> Callable:
  from occnet_jax.data import inputs, source
  from occnet_jax.evaluation import evaluate as evaluate_lib

  return functools.partial(
    source.open_split,
    settings.data.dir,
    settings.test.split,
    # FIELDS last: it reads the whole surface, of which an observation wants less.
    inputs.make(settings.data).fields
    | evaluate_lib.FIELDS
    | ({"voxels": True} if settings.test.voxel_iou else {}),
  )


def further(test: config_lib.TestSettings) -> Any:
  """What config.test measures beside the paper's metrics, a `Further`."""
  from occnet_jax.evaluation import further as further_lib

  chosen = further_lib.Further(tuple(test.f_scores), test.emd_points, test.voxel_iou)
  further_lib.check(chosen)
  return chosen


@contextlib.contextmanager
def _timed(workdir: pathlib.Path, stage: str) -> Iterator[None]:
  """Adds the body's seconds to wall_time.json, also when it is interrupted."""
  path, start = workdir / "wall_time.json", time.perf_counter()
  try:
    yield
  finally:
    seconds = read_numbers(path)
    seconds[stage] = seconds.get(stage, 0.0) + time.perf_counter() - start
    with atomic_write(path) as scratch:
      scratch.write_text(json.dumps(seconds, indent=2))
