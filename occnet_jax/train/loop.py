"""Training from a config to checkpoints (host).

The order of a step s, which makes a restart exact: state s is validated, then saved,
then batch s is drawn, then state s + 1 is computed. The run ends with state `steps`.
"""

import functools
import itertools
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from occnet_jax.config import resolve_config
from occnet_jax.data import inputs, loader, placement, source, transforms
from occnet_jax.models import registry
from occnet_jax.train import batch_stats, multihost, nonfinite, optimizers
from occnet_jax.train import state as state_lib
from occnet_jax.train import step as step_lib
from occnet_jax.train.checkpoint import Checkpoints
from occnet_jax.train.evaluators import validate
from occnet_jax.train.preemption import Preempted, Preemption
from occnet_jax.train.progress import NotFinite, Progress
from occnet_jax.train.state import TrainState
from occnet_jax.types import Batch, Picture, Variables


def train(
  config: dict[str, Any],
  workdir: pathlib.Path,
  initialise: Callable[[TrainState], TrainState] = lambda state: state,
  look: Callable[[Variables, float], Picture | None] = lambda variables, tau: None,
) -> None:
  """Trains until config["train"]["steps"], from the latest checkpoint if there is one.

  Args:
    config: all fields of configs/base.py, as nested dicts.
    workdir: receives checkpoints/ and logs/.
    initialise: changes the state before the first step, such as to trained weights.
    look: draws what was validated, (variables, tau) -> a picture, or None for none.

  Raises:
    ValueError: data, config or checkpoint do not fit.
    OSError: data or checkpoints cannot be read or written.
    FloatingPointError: a loss or gradient that is not finite; names the step and where
      its batch and state lie.
    Stopped: SIGTERM came; the state is saved.
  """
  run, data = config["train"], open_train_split(config)
  config = resolve_config(config, len(data))
  writes = multihost.is_main_process()
  with (
    Preemption() as stop,
    Checkpoints(workdir, config, run["keep_every"]) as checkpoints,
  ):
    if (
      multihost.broadcast_from_main(np.int32(checkpoints.last_step("latest")))
      >= run["steps"]
    ):
      return
    feed = place_train_split(config, data)
    sample = loader.example_batch(
      inputs.make(config["data"]).spec, config["data"]["points"], run["batch_size"]
    )
    step, state = _build(config, feed, sample)
    if checkpoints.last_step("latest") < 0:
      state = initialise(state)
    state = step_lib.replicate(multihost.broadcast_from_main(checkpoints.resume(state)))
    start = int(state.step)
    step = functools.partial(_advance, step, step_lib.replicate(feed.device_arrays))
    batches = step_lib.stack_batches(
      train_batches(config, feed, start),
      run["steps_per_call"],
      jax.local_device_count(),
    )
    record = checkpoints.record("latest") or {}
    left = {
      "pending_rows": record.get("unlogged", ()),
      "validation_pending": record.get("owed", False),
    }
    logs, shapes = workdir / "logs", run["batch_size"]
    with Progress(logs, start, run["steps"], shapes=shapes, **left) as monitor:
      try:
        _run(config, step, state, batches, checkpoints, monitor, stop, look, data)
      except NotFinite as error:
        at = int(error.state.step)
        batch, shapes = (
          next(read_host_batches(config, data, at)),
          _shapes(config, len(data), at),
        )
        kept = "Its batch and state are with the first process"
        if writes:
          kept = nonfinite.dump(workdir, error.state, config, batch, shapes)
        raise FloatingPointError(
          f"{error}. {kept}; the last checkpoint is from before it. Lower "
          "config.optim.learning_rate or set config.optim.clip_norm, in another "
          "--workdir, or here config.train.on_nonfinite=skip"
        ) from error


def _build(
  config: dict[str, Any], feed: placement.TrainData, sample: Batch
) -> tuple[step_lib.Step, TrainState]:
  """The mapped step, and the state before the first batch."""
  run, optim, tau = config["train"], config["optim"], config["model"]["tau"]
  mapped = registry.build(
    config["model"],
    tau=tau,
    axis_name=step_lib.AXIS,
    precision=run["precision"],
    remat=run["remat"],
  )
  optimizer = optimizers.optimizer(optim, run["steps"], run["batch_size"])
  step = step_lib.make_step(
    mapped,
    optimizer,
    ema_decay=optim["ema_decay"],
    accumulate=run["accumulate"],
    skip_nonfinite=run["on_nonfinite"] == "skip",
    see=feed.gather_fn,
  )
  state = state_lib.create(
    registry.build(config["model"], tau=tau),
    optimizer,
    sample,
    seed=config["seed"],
    ema=optim["ema_decay"] > 0,
  )
  return step_lib.data_parallel(step, steps=run["steps_per_call"]), state


def _advance(step, resident, state, batches, number):
  """Takes the step, on batches as `step_lib.gather` makes them."""
  return step(state, batches, np.int32(number), resident)


def _run(config, step, state, batches, checkpoints, monitor, stop, look, data):
  """The loop itself."""
  run, start = config["train"], int(state.step)
  method = registry.build(
    config["model"], tau=config["model"]["tau"], precision=run["precision"]
  )
  best = checkpoints.record("best") or {"iou": -np.inf, "loss": np.inf}
  found = dict(checkpoints.record("latest") or {})
  found.pop("unlogged", None)
  # Stopped before this state was validated?
  owed = bool(multihost.broadcast_from_main(np.int32(found.pop("owed", False))))
  checkpoints.require_space(state)
  validation_batches(config)  # a split that is missing is told now, not hours later
  together = run["steps_per_call"]
  for s in itertools.count(start, together):
    last = s == run["steps"]
    if (s > start or owed) and (last or s % run["validate_every"] == 0):
      monitor.flush(state)
      if config["optim"]["ema_batches"]:
        state = _with_statistics(config, method, state, data)
      try:
        new = validate(
          method,
          state.variables,
          stop.until_asked(validation_batches(config)),
          validation_taus(config),
          posterior_points=config["data"]["points"],
        )
      except Preempted:
        _save_now(checkpoints, monitor, state, {**found, "owed": True})
        raise
      found = new
      monitor.validated(s, found, look(state.variables, found["tau"]))
      if _score(config, found) > _score(config, best):
        best = found
        checkpoints.save("best", state, found)
    if (s > start and (last or s % run["save_every"] == 0)) or owed:
      monitor.flush(state)
      checkpoints.save("latest", state, found)
    owed = False
    if stop.asked(s):
      left = {"unlogged": monitor.pending_rows(state)}
      _save_now(checkpoints, monitor, state, {**found, **left})
      raise Preempted
    if last:
      return
    try:
      batch = monitor.draw(batches)
    except (OSError, RuntimeError) as error:  # storage or a loader process is gone
      if s > start:
        left = {"unlogged": monitor.pending_rows(state)}
        _save_now(checkpoints, monitor, state, {**found, **left})
      if stop.noticed:  # SIGTERM went to the loader's processes, too
        raise Preempted from error
      raise OSError(f"no batch for step {s}: {error}") from error
    state, scalars = step(state, batch, s)
    monitor.add(s, scalars)
    if (s + together) % run["log_every"] == 0:
      monitor.flush(state)
      checkpoints.check()


def _with_statistics(config, method, state, data) -> TrainState:
  """The state whose averaged variables have statistics of this step's next batches."""
  batches = itertools.islice(
    read_host_batches(config, data, int(state.step)), config["optim"]["ema_batches"]
  )
  ema = batch_stats.recompute(method, state.ema, batches, jax.device_get(state.key))
  return step_lib.replicate(state.replace(ema=ema))


def _save_now(checkpoints, monitor, state, record) -> None:
  """Saves a state at which the run has to stop."""
  if checkpoints.last_step("latest") != (step := int(state.step)):
    checkpoints.save("latest", state, record)
  checkpoints.wait()
  monitor.say(f"stopped at step {step}, which is saved; the same command goes on")


def _shapes(config: dict[str, Any], shapes: int, step: int) -> list[dict[str, Any]]:
  """Which shapes the batch of a step holds."""
  indices = loader.batch_indices(
    shapes, batch_size=config["train"]["batch_size"], seed=config["seed"], step=step
  )
  names = source.open_split(
    config["data"]["dir"], "train", {"category": True, "id": True}
  )
  return [
    {"index": i, "category": str(shape["category"]), "id": str(shape["id"])}
    for i, shape in ((i, names[i]) for i in indices.tolist())
  ]


def _score(config: dict[str, Any], found: dict[str, Any]) -> float:
  """What the best checkpoint has most of: config.val.select."""
  return {"iou": found["iou"], "loss": -found["loss"]}[config["val"]["select"]]


def open_train_split(config: dict[str, Any]) -> source.Examples:
  """The training split in its files."""
  data = config["data"]
  fields = transforms.fields(
    inputs.make(data),
    near_fraction=data["near_fraction"],
    stretch=data["stretch"],
  )
  return source.open_split(data["dir"], "train", fields)


def place_train_split(
  config: dict[str, Any], data: source.Examples
) -> placement.TrainData:
  """The training split where config.data.residence has it."""
  observation = inputs.make(config["data"])
  settings = draw_settings(config, config["data"]["points"], train=True)
  return placement.place(config["data"]["residence"], data, observation, settings)


def train_batches(
  config: dict[str, Any], feed: placement.TrainData, start: int
) -> Iterator[Batch]:
  """This process' part of the batches of steps start, start + 1, ... of a run."""
  workers = config["data"]["workers"] if feed.placement == "stream" else 0
  return _batches(config, feed, start, workers, multihost.process_index_and_count())


def read_host_batches(
  config: dict[str, Any], data: source.Examples, start: int
) -> Iterator[Batch]:
  """Whole batches with all arrays in them, read from the files in this process."""
  transform = placement.HostTransform(
    inputs.make(config["data"]),
    draw_settings(config, config["data"]["points"], train=True),
  )
  for step in itertools.count(start):
    yield loader.read_batch(
      data,
      transform,
      batch_size=config["train"]["batch_size"],
      seed=config["seed"],
      step=step,
    )


def _batches(config, feed, start, workers, part) -> Iterator[Batch]:
  return loader.train_batches(
    feed.examples,
    feed.transform,
    batch_size=config["train"]["batch_size"],
    seed=config["seed"],
    start=start,
    workers=workers,
    part=part,
  )


def validation_batches(config: dict[str, Any]) -> Iterator[tuple[Batch, int]]:
  """The validation split, the same each time."""
  val = config["val"]
  fields = transforms.fields(inputs.make(config["data"]))
  return loader.evaluation_batches(
    source.open_split(config["data"]["dir"], val["split"], fields),
    transform(config, val["points"]),
    batch_size=step_lib.round_up(val["batch_size"]),
    seed=config["seed"],
    limit=val["shapes"],
    part=multihost.process_index_and_count(),
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
  observation = inputs.make(config["data"])
  return placement.HostTransform(observation, draw_settings(config, points))


def draw_settings(
  config: dict[str, Any], points: int, *, train: bool = False
) -> transforms.Draws:
  """The settings of random draws that this config describes.

  Args:
    config, points: as of `transform`.
    train: whether near-surface points, stretch and random views have their part.
  """
  data = config["data"]
  varied = ("near_fraction", "sampling", "stretch")
  return transforms.Draws(
    points=points,
    train=train,
    float16_noise=data["float16_noise"],
    **({name: data[name] for name in varied} if train else {}),
  )
