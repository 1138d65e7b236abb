"""Training from a config to checkpoints (host).

The order of a step s, which makes a restart exact: state s is validated, then saved,
then batch s is drawn, then state s + 1 is computed. The run ends with state `steps`.
"""

import itertools
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from occnet_jax.data import loader, observations, residence, source, transforms
from occnet_jax.models import registry
from occnet_jax.train import state as state_lib
from occnet_jax.train import step as step_lib
from occnet_jax.train.checkpoint import Checkpoints
from occnet_jax.train.monitor import Monitor
from occnet_jax.train.state import TrainState
from occnet_jax.train.validate import validate
from occnet_jax.types import Batch


def train(
  config: dict[str, Any],
  workdir: pathlib.Path,
  initialise: Callable[[TrainState], TrainState] = lambda state: state,
) -> None:
  """Trains until config["train"]["steps"], from the latest checkpoint if there is one.

  Args:
    config: all fields of configs/base.py, as nested dicts.
    workdir: receives checkpoints/ and logs/.
    initialise: changes the state before the first step, such as to trained weights.

  Raises:
    ValueError: data, config or checkpoint do not fit.
    FloatingPointError: a loss that is not finite; names the step.
  """
  run, optim = config["train"], config["optim"]
  feed = open_feed(config)
  config = complete(config, len(feed.examples))
  with Checkpoints(workdir, config, run["keep_every"]) as checkpoints:
    if checkpoints.last_step("latest") >= run["steps"]:
      return
    tau = config["model"]["tau"]
    method = registry.build(config["model"], tau=tau)
    mapped = registry.build(config["model"], tau=tau, axis_name=step_lib.AXIS)
    optimizer = registry.optimizer(optim, run["steps"])
    step = step_lib.make_step(
      mapped,
      optimizer,
      ema_decay=optim["ema_decay"],
      accumulate=run["accumulate"],
      see=feed.see,
    )
    step = step_lib.data_parallel(step, steps=run["steps_per_call"])
    sample = next(train_batches(config, feed, 0, workers=0))
    state = state_lib.create(
      method,
      optimizer,
      feed.see(feed.resident, sample) if feed.see else sample,
      seed=config["seed"],
      ema=optim["ema_decay"] > 0,
    )
    if checkpoints.last_step("latest") < 0:
      state = initialise(state)
    state = step_lib.place(checkpoints.resume(state))
    start = int(state.step)
    workers = config["data"]["workers"] if feed.residence == "stream" else 0
    batches = train_batches(config, feed, start, workers=workers)
    resident = step_lib.place(feed.resident)
    with Monitor(workdir / "logs", start, run["steps"]) as monitor:
      _run(config, method, step, state, batches, resident, checkpoints, monitor)


def _run(config, method, step, state, batches, resident, checkpoints, monitor) -> None:
  """The loop itself."""
  run, start = config["train"], int(state.step)
  devices, together = jax.local_device_count(), run["steps_per_call"]
  best = checkpoints.record("best") or {"iou": -np.inf, "loss": np.inf}
  found = checkpoints.record("latest") or {}
  for s in itertools.count(start, together):
    last = s == run["steps"]
    if s > start and (last or s % run["validate_every"] == 0):
      monitor.flush()
      found = validate(
        method,
        state.variables,
        validation_batches(config),
        validation_taus(config),
        posterior_points=config["data"]["points"],
      )
      monitor.validated(s, found)
      if _score(config, found) > _score(config, best):
        best = found
        checkpoints.save("best", state, found)
    if s > start and (last or s % run["save_every"] == 0):
      monitor.flush()
      checkpoints.save("latest", state, found)
    if last:
      return
    batch = step_lib.gather(batches, together, devices)
    state, scalars = step(state, batch, np.int32(s), resident)
    monitor.add(s, scalars)
    if (s + together) % run["log_every"] == 0:
      monitor.flush()


def _score(config: dict[str, Any], found: dict[str, Any]) -> float:
  """What the best checkpoint has most of: config.val.select."""
  return {"iou": found["iou"], "loss": -found["loss"]}[config["val"]["select"]]


def complete(config: dict[str, Any], shapes: int) -> dict[str, Any]:
  """The config with what only the training split can tell: rows of a code table.

  Raises:
    ValueError: a setting of the loop that does not exist, or two that do not agree.
  """
  if (select := config["val"]["select"]) not in ("iou", "loss"):
    raise ValueError(f"config.val.select is {select!r}; want iou or loss")
  run = config["train"]
  for name in ("steps", "log_every", "save_every", "validate_every"):
    if run[name] % run["steps_per_call"]:
      raise ValueError(
        f"config.train.{name} is {run[name]}; want a multiple of "
        f"config.train.steps_per_call={run['steps_per_call']}"
      )
  model = config["model"]
  if model["encoder"] == "code_table" and not model["codes"]:
    return config | {"model": model | {"codes": shapes}}
  return config


def open_feed(config: dict[str, Any]) -> residence.Feed:
  """The training split, where config.data.residence has it."""
  observation = observations.make(config["data"])
  settings = draw_settings(config, config["data"]["points"], train=True)
  fields = transforms.fields(
    observation,
    near_fraction=settings["near_fraction"],
    stretch=settings["stretch"],
  )
  data = source.open_split(config["data"]["dir"], "train", fields)
  return residence.settle(config["data"]["residence"], data, observation, settings)


def train_batches(
  config: dict[str, Any], feed: residence.Feed, start: int, *, workers: int
) -> Iterator[Batch]:
  """The batches of steps start, start + 1, ... of a run."""
  return loader.train_batches(
    feed.examples,
    feed.transform,
    batch_size=config["train"]["batch_size"],
    seed=config["seed"],
    start=start,
    workers=workers,
  )


def validation_batches(config: dict[str, Any]) -> Iterator[tuple[Batch, int]]:
  """The validation split, the same each time."""
  val = config["val"]
  fields = transforms.fields(observations.make(config["data"]))
  return loader.evaluation_batches(
    source.open_split(config["data"]["dir"], val["split"], fields),
    transform(config, val["points"]),
    batch_size=val["batch_size"],
    seed=config["seed"],
    limit=val["shapes"],
  )


def validation_taus(config: dict[str, Any]) -> tuple[float, ...]:
  """The thresholds to try: the one that the config fixes, or its grid."""
  fixed = config["test"]["tau"]
  return tuple(config["test"]["tau_grid"]) if fixed is None else (fixed,)


def transform(config: dict[str, Any], points: int) -> loader.Transform:
  """How this config turns a stored example into the arrays of one shape to judge.

  Args:
    config: all fields of configs/base.py.
    points: labelled points a shape; 0 for all.
  """
  observation = observations.make(config["data"])
  return residence.Make(observation, draw_settings(config, points))


def draw_settings(
  config: dict[str, Any], points: int, *, train: bool = False
) -> dict[str, Any]:
  """What `transforms.draw_example` wants of the config.

  Args:
    config, points: as of `transform`.
    train: whether near-surface points, stretch and random views have their part.
  """
  data = config["data"]
  varied = ("near_fraction", "sampling", "stretch")
  return {
    "points": points,
    "train": train,
    "float16_noise": data["float16_noise"],
    **({name: data[name] for name in varied} if train else {}),
  }
