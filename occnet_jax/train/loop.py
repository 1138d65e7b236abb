"""Training from a config to checkpoints (host).

The order of a step s, which makes a restart exact: state s is evaluated, then saved,
then batch s is drawn, then state s + 1 is computed. The run ends with state `steps`.
"""

import contextlib
import functools
import itertools
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from occnet_jax import config as config_lib
from occnet_jax.config import Settings
from occnet_jax.data import batches as batches_lib
from occnet_jax.data.example_batch import example_batch
from occnet_jax.data.source import Examples
from occnet_jax.models import registry
from occnet_jax.train import batch_stats, multihost, nonfinite, optimizers
from occnet_jax.train import evaluators as evaluators_lib
from occnet_jax.train import state as state_lib
from occnet_jax.train import step as step_lib
from occnet_jax.train.checkpoint import Checkpoints
from occnet_jax.train.evaluators import Evaluator, Results
from occnet_jax.train.preemption import Preempted, Preemption
from occnet_jax.train.progress import NotFinite, Progress
from occnet_jax.train.state import TrainState
from occnet_jax.types import Batch


class Run(NamedTuple):
  """The parts of a run that the loop uses.

  Attributes:
    settings: settings of the run.
    advance: (state, batch, step_index) -> (state, scalars).
    batches: this process' part of the batches of steps start, start + 1, ...
    evaluators: evaluators in order; each gets the results of those before it.
    refresh: (state) -> the state as it is evaluated and saved with a validation.
    checkpoints: checkpoints of the run, open for saving.
    progress: progress bar and metric log.
    preemption: context in which SIGTERM is noted.
  """

  settings: Settings
  advance: step_lib.Step
  batches: Iterator[Batch]
  evaluators: Sequence[Evaluator]
  refresh: Callable[[TrainState], TrainState]
  checkpoints: Checkpoints
  progress: Progress
  preemption: Preemption


def train(
  config: dict[str, Any],
  workdir: pathlib.Path,
  initialise: Callable[[TrainState], TrainState] = lambda state: state,
  evaluators: Sequence[Evaluator] = (),
) -> None:
  """Trains until config["train"]["steps"], from the latest checkpoint if there is one.

  Args:
    config: all fields of configs/base.py and of the system's, as nested dicts.
    workdir: receives checkpoints/ and logs/.
    initialise: (fresh state) -> first state of the run, such as with trained weights.
    evaluators: further evaluators, which follow validation, such as for pictures.

  Raises:
    ValueError: data, config or checkpoint do not fit.
    OSError: data or checkpoints cannot be read or written.
    FloatingPointError: a loss or gradient that is not finite; names the step and the
      directory with its batch and state.
    Preempted: SIGTERM arrived; the state is saved.
  """
  # --- Data: the training split, and a validation split that must exist --------------
  examples = batches_lib.open_train(config_lib.parse(config).data)
  config = config_lib.with_codes(config, len(examples))
  settings = config_lib.parse(config)
  config_lib.check_encoder(settings.model, settings.data.inputs)
  training, data = settings.train, settings.data
  part = multihost.process_index_and_count()
  validation_batches = functools.partial(
    batches_lib.validation_batches,
    settings,
    step_lib.round_up(settings.val.batch_size),
    part,
  )
  validation_batches()  # fail now, not after hours, if the split is missing

  with contextlib.ExitStack() as stack:
    # --- Checkpoints ------------------------------------------------------------------
    preemption = stack.enter_context(Preemption())
    checkpoints = stack.enter_context(Checkpoints(workdir, config, training.keep_every))
    record = checkpoints.record("latest") or {}
    last_step = checkpoints.last_step("latest")
    is_done = last_step > training.steps or (
      last_step == training.steps and not record.get("validation_pending")
    )
    if multihost.broadcast_from_main(np.int32(is_done)):
      return

    # --- Method, optimiser and step -------------------------------------------------
    split = batches_lib.place_train(data, examples)
    build = functools.partial(
      registry.build,
      settings.model,
      precision=training.precision,
      threshold=settings.test.threshold,
      posterior_points=data.points,
    )
    method = build()
    optimizer = optimizers.make(settings.optim, training.steps)
    step = step_lib.make_step(
      build(axis_name=step_lib.AXIS, remat=training.remat),
      optimizer,
      ema_decay=settings.optim.ema_decay,
      skip_nonfinite=training.on_nonfinite == "skip",
      gather_fn=split.gather_fn,
    )
    mapped = step_lib.data_parallel(step, steps=training.steps_per_call)
    resident = step_lib.replicate(split.device_arrays)

    # --- State: fresh, initialised, or resumed ---------------------------------------
    state = state_lib.create(
      method,
      optimizer,
      example_batch(data, training.batch_size),
      seed=settings.seed,
      ema=settings.optim.ema_decay > 0,
    )
    if checkpoints.last_step("latest") < 0:
      state = initialise(state)
    state = checkpoints.resume(state)
    state = step_lib.replicate(multihost.broadcast_from_main(state))
    start = int(state.step)

    # --- Evaluators: validation first ------------------------------------------------
    validation = evaluators_lib.make_validation(
      method,
      lambda: preemption.until_asked(validation_batches()),
      training.validate_every,
    )
    progress = stack.enter_context(
      Progress(
        workdir / "logs",
        start,
        training.steps,
        shapes=training.batch_size,
        pending_rows=record.get("pending_rows", ()),
        validation_pending=record.get("validation_pending", False),
        sinks=training.sinks,
      )
    )

    # --- Loop ------------------------------------------------------------------------
    run = Run(
      settings,
      lambda state, batch, s: mapped(state, batch, np.int32(s), resident),
      step_lib.stack_batches(
        batches_lib.train_batches(settings, split, start, part),
        training.steps_per_call,
        jax.local_device_count(),
      ),
      (validation, *evaluators),
      functools.partial(_refresh_statistics, settings, method, examples),
      checkpoints,
      progress,
      preemption,
    )
    try:
      _loop(run, state)
    except NotFinite as error:
      raise _dump(error, config, settings, examples, workdir) from error


def _loop(run: Run, state: TrainState) -> None:
  """Takes every step that is left, with evaluations and checkpoints in between."""
  train, checkpoints, progress = run.settings.train, run.checkpoints, run.progress
  start = int(state.step)
  best = checkpoints.record("best")
  results = dict(checkpoints.record("latest") or {})
  results.pop("pending_rows", None)
  # The previous call was stopped before it had validated this state.
  pending = results.pop("validation_pending", False)
  pending = bool(multihost.broadcast_from_main(np.int32(pending)))
  checkpoints.require_space(state)
  for s in itertools.count(start, train.steps_per_call):
    last = s == train.steps

    # 1. State s is evaluated, and saved if it is the best.
    due = [e for e in run.evaluators if last or s % e.every == 0]
    if (s > start or pending) and due:
      progress.flush(state)
      state = run.refresh(state)
      try:
        evaluated = _evaluate(due, state, progress, s)
      except Preempted:
        _save_now(run, state, {**results, "validation_pending": True})
        raise
      results = results | evaluated
      if _is_better(run.settings.val.select, results, best):
        best = results
        checkpoints.save("best", state, results)

    # 2. State s is saved.
    if (s > start and (last or s % train.save_every == 0)) or pending:
      progress.flush(state)
      checkpoints.save("latest", state, results)
    pending = False
    if run.preemption.asked(s):
      _save_now(run, state, {**results, "pending_rows": progress.pending_rows(state)})
      raise Preempted
    if last:
      return

    # 3. Batch s is drawn.
    try:
      batch = progress.draw(run.batches)
    except (OSError, RuntimeError) as error:  # storage or a loader process is gone
      if s > start:
        rows = progress.pending_rows(state)
        _save_now(run, state, {**results, "pending_rows": rows})
      if run.preemption.noticed:  # SIGTERM reached the loader's processes, too
        raise Preempted from error
      raise OSError(f"no batch for step {s}: {error}") from error

    # 4. State s + 1 is computed, in the background.
    state, scalars = run.advance(state, batch, s)
    progress.add(s, scalars)
    if (s + train.steps_per_call) % train.log_every == 0:
      progress.flush(state)
      checkpoints.check()


def _evaluate(
  due: Sequence[Evaluator], state: TrainState, progress: Progress, s: int
) -> Results:
  """The results of the evaluators in order; logs them, pictures apart."""
  results: Results = {}
  for evaluator in due:
    new = evaluator.fn(state.variables, results)
    pictures = {name: x for name, x in new.items() if isinstance(x, np.ndarray)}
    numbers = {name: x for name, x in new.items() if name not in pictures}
    progress.evaluated(s, evaluator.name, numbers, pictures)
    results |= numbers
  return results


def _is_better(select: str, results: Results, best: Results | None) -> bool:
  """Whether results have a better config.val.select than the best so far."""
  if select not in results:
    return False
  if best is None or not np.isfinite(best.get(select, np.nan)):
    return True  # nothing compares better than NaN
  if select in config_lib.LOWER_IS_BETTER:
    return results[select] < best[select]
  return results[select] > best[select]


def _refresh_statistics(
  settings: Settings, method, examples: Examples, state: TrainState
) -> TrainState:
  """The state whose averaged variables have statistics of this step's next batches."""
  count = settings.optim.ema_batches
  if not count:
    return state
  batches = batches_lib.read_host_batches(settings, examples, int(state.step))
  ema = batch_stats.recompute(
    method, state.ema, itertools.islice(batches, count), jax.device_get(state.key)
  )
  return step_lib.replicate(state.replace(ema=ema))


def _save_now(run: Run, state: TrainState, record: dict[str, Any]) -> None:
  """Saves a state at which the run has to stop."""
  if run.checkpoints.last_step("latest") != (step := int(state.step)):
    run.checkpoints.save("latest", state, record)
  run.checkpoints.wait()
  run.progress.say(f"stopped after saving step {step}; run the same command to resume")


def _dump(
  error: NotFinite,
  config: dict[str, Any],
  settings: Settings,
  examples: Examples,
  workdir: pathlib.Path,
) -> FloatingPointError:
  """Writes the step that is not finite into failures/; the error that names it."""
  s = int(error.state.step)
  kept = "The main process keeps its batch and state"
  if multihost.is_main_process():
    batch = next(batches_lib.read_host_batches(settings, examples, s))
    shapes = batches_lib.shapes_of_batch(settings, len(examples), s)
    kept = nonfinite.dump(workdir, error.state, config, batch, shapes)
  return FloatingPointError(
    f"{error}. {kept}; the last checkpoint is from before it. Lower "
    "config.optim.learning_rate or set config.optim.clip_norm, in another "
    "--workdir, or here config.train.on_nonfinite=skip"
  )
