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
  wall_time.json         seconds by stage, over all calls
"""

import contextlib
import functools
import importlib.util
import json
import pathlib
import time
from collections.abc import Callable, Iterator
from typing import Any

from occnet_jax.files import write_aside

Config = dict[str, Any]

# What a run may change between calls without becoming another run.
FREE = (
  "name",
  "prep",
  "data.dir",
  "data.residence",
  "data.workers",
  "train.steps",
  "train.log_every",
  "train.save_every",
  "train.keep_every",
  "train.validate_every",
  "train.on_nonfinite",
  "train.pictures",
  "val",
  "test",
  "generation",
  "report",
)


def prepare(config: Config, workdir: pathlib.Path | None) -> None:
  """Mesh files -> TFDS shards in config.prep.out, and a summary in words."""
  from data_prep import prepare as prepare_lib
  from data_prep import report as report_lib

  with _timed(workdir, "prepare") if workdir else contextlib.nullcontext():
    prepared = prepare_lib.prepare(**config["prep"])
  print(report_lib.summarise(prepared.directory))  # noqa: T201


def train(config: Config, workdir: pathlib.Path) -> None:
  """Shards -> checkpoints."""
  from occnet_jax import snapshots
  from occnet_jax.train import hosts, lock, loop

  pretrained = functools.partial(_pretrained, config["model"])
  if not hosts.is_first():
    loop.train(config, workdir, pretrained)
    return
  with lock.hold(workdir):
    check_workdir(config, workdir)
    with _timed(workdir, "train"):
      loop.train(config, workdir, pretrained, snapshots.make(config, workdir))


def _pretrained(model: Config, state: Any) -> Any:
  """A fresh state with the features of config.model.pretrained, where that is named."""
  if not model["pretrained"]:
    return state
  from occnet_jax.interop import official

  if "features" not in state.params.get("encoder", {}):
    raise ValueError(
      f"config.model.pretrained is {model['pretrained']}, but encoder "
      f"{model['encoder']!r} is no ResNet; leave it empty"
    )
  features = {
    name: getattr(state, name)["encoder"]["features"]
    for name in ("params", "batch_stats")
  }
  read = official.read_torchvision(model["pretrained"], features)

  def put(variables: dict) -> dict:
    return {
      name: tree | {"encoder": tree["encoder"] | {"features": read[name]}}
      for name, tree in variables.items()
    }

  now = put({"params": state.params, "batch_stats": state.batch_stats})
  ema = None if state.ema is None else put(state.ema)
  return state.replace(**now, ema=ema)


def generate(config: Config, workdir: pathlib.Path) -> None:
  """Best checkpoint -> a mesh for every shape of the test split.

  With config.generation.sample, of a random z each. Shapes are spread over devices and
  processes.
  """
  from occnet_jax import api
  from occnet_jax.data import loader
  from occnet_jax.evaluation import evaluate as evaluate_lib
  from occnet_jax.train import hosts, loop

  number, processes = hosts.part()
  if number == 0:
    check_workdir(config, workdir)
  copies = api.restore(workdir, overriding=config).on_devices()
  model, shapes = copies[0], _open_test(config)()
  transform = loop.transform(config, points=1)

  def reconstruct(shape, index):
    model = copies[index // processes % len(copies)]
    inputs = transform(shape, loader.shape_rng(config["seed"], index))["inputs"][None]
    latent = (
      model.prior(1, seed=config["seed"] + index, inputs=inputs)
      if config["generation"]["sample"]
      else model.encode(inputs)
    )
    return model.extract(latent, on_empty="empty")

  with _timed(workdir, "generate") if number == 0 else contextlib.nullcontext():
    evaluate_lib.generate(
      shapes,
      loader.spread(len(shapes), config["test"]["shapes"]).tolist(),
      reconstruct,
      workdir,
      threads=2 * len(copies),
      part=(number, processes),
      wait=hosts.wait,
      form=config["generation"]["format"],
      settings={
        "step": model.record["step"],
        "tau": model.tau,
        "seed": config["seed"],
        "generation": config["generation"],
        "data": {
          k: v for k, v in config["data"].items() if k not in ("residence", "workers")
        },
      },
    )


def evaluate(config: Config, workdir: pathlib.Path) -> None:
  """Meshes -> evaluation/per_mesh.csv and summary.csv; samples -> generation.json."""
  from occnet_jax.data import loader
  from occnet_jax.evaluation import evaluate as evaluate_lib
  from occnet_jax.evaluation import tables

  check_workdir(config, workdir)
  open_test = _open_test(config)
  if config["generation"]["sample"]:
    from occnet_jax import samples

    with _timed(workdir, "evaluate"):
      found = samples.judge(config, workdir, open_test())
    print("\n".join(f"{name:24} {value:.4g}" for name, value in found.items()))  # noqa: T201
    return
  with _timed(workdir, "evaluate"):
    rows = evaluate_lib.evaluate(
      open_test,
      len(loader.spread(len(open_test()), config["test"]["shapes"])),
      workdir,
      form=config["generation"]["format"],
      samples=config["test"]["samples"],
    )
  print(tables.as_text(tables.summarise(rows)))  # noqa: T201


def report(config: Config, workdir: pathlib.Path) -> None:
  """Everything above -> report.html, and report.png of the same shapes.

  (Samples have evaluation/samples.png instead.)
  """
  from occnet_jax.evaluation import gallery
  from occnet_jax.train import loop

  check_workdir(config, workdir)
  if config["generation"]["sample"]:
    print(f"Samples: {workdir / 'evaluation' / 'samples.png'}")  # noqa: T201
    return
  sheet = workdir / "report.png"
  with _timed(workdir, "report"):
    shown = config, workdir, _open_test(config)(), loop.transform(config, points=1)
    path = gallery.gather(*shown)
    stale = not sheet.exists() or sheet.stat().st_mtime < path.stat().st_mtime
    if stale and importlib.util.find_spec("embreex"):  # none for Linux on ARM
      from occnet_jax import pictures

      pictures.write_shapes(sheet, gallery.report_shapes(*shown))
  for name, value in gallery.times(workdir, gallery.measured(workdir)[1]).items():
    print(f"{name:32} {value:>10}")  # noqa: T201
  print(f"Report: {path}")  # noqa: T201


def reconstruct(
  workdir: pathlib.Path,
  source: str,
  target: str | None,
  masks: str | None = None,
  overriding: Config | None = None,
) -> None:
  """What a user brings, a file or a folder -> meshes; see `occnet_jax.reconstruct`."""
  from occnet_jax import reconstruct as reconstruct_lib

  reconstruct_lib.reconstruct(
    workdir, source, target, masks=masks, overriding=overriding
  )


def interpolate(config: Config, workdir: pathlib.Path, steps: int) -> None:
  """Pairs of test shapes -> meshes and a picture of the way from one to the other."""
  from occnet_jax import samples

  check_workdir(config, workdir)
  path = samples.interpolate(config, workdir, _open_test(config)(), steps)
  print(f"Picture: {path}")  # noqa: T201


def import_torch(config: Config, workdir: pathlib.Path, source: str) -> None:
  """A checkpoint of the reference -> a run."""
  from occnet_jax import exchange

  exchange.import_torch(config, workdir, source)
  print(f"{workdir}: a run with the weights of {source}")  # noqa: T201


def export_torch(workdir: pathlib.Path, target: str) -> None:
  """The best checkpoint of a run -> a file that the reference loads."""
  from occnet_jax import exchange

  print(f"Written: {exchange.export_torch(workdir, target)}")  # noqa: T201


def check_workdir(config: Config, workdir: pathlib.Path) -> None:
  """Notes what a new run is; refuses to continue another one.

  Raises:
    ValueError: the workdir belongs to a run with other settings; names them.
  """
  path = workdir / "config.json"
  now = json.loads(json.dumps(config))
  if path.exists():
    before = json.loads(path.read_text())
    changed = [
      f"{name} is {_get(now, name)!r}, there {_get(before, name)!r}"
      for name in sorted(_names(now) | _names(before))
      if _get(now, name) != _get(before, name) and not _is_free(name)
    ]
    if changed:
      raise ValueError(
        f"{workdir}: belongs to a run of another config ({'; '.join(changed[:3])}"
        f"{' and more' if len(changed) > 3 else ''}); use that config, or another "
        "--workdir"
      )
  with write_aside(path) as scratch:
    scratch.write_text(json.dumps(now, indent=2))


def _open_test(config: Config) -> Callable:
  from occnet_jax.data import observations, source
  from occnet_jax.evaluation import evaluate as evaluate_lib

  return functools.partial(
    source.open_split,
    config["data"]["dir"],
    config["test"]["split"],
    # FIELDS last: it reads all of the surface, of which an observation wants less.
    observations.make(config["data"]).fields | evaluate_lib.FIELDS,
  )


def _names(config: Config, prefix: str = "") -> set[str]:
  names = set()
  for key, value in config.items():
    name = f"{prefix}{key}"
    names |= _names(value, f"{name}.") if isinstance(value, dict) else {name}
  return names


def _get(config: Config, name: str) -> Any:
  for key in name.split("."):
    config = config.get(key) if isinstance(config, dict) else None
  return config


def _is_free(name: str) -> bool:
  return any(name == free or name.startswith(f"{free}.") for free in FREE)


@contextlib.contextmanager
def _timed(workdir: pathlib.Path, stage: str) -> Iterator[None]:
  """Adds the body's seconds to wall_time.json, also when it is interrupted."""
  path, start = workdir / "wall_time.json", time.perf_counter()
  try:
    yield
  finally:
    seconds = json.loads(path.read_text()) if path.exists() else {}
    seconds[stage] = seconds.get(stage, 0.0) + time.perf_counter() - start
    with write_aside(path) as scratch:
      scratch.write_text(json.dumps(seconds, indent=2))
