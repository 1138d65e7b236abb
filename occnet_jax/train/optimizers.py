"""Optimisers and learning-rate schedules, by name (device)."""

import functools

import jax
import optax
import optax.contrib

from occnet_jax.config import OptimSettings, lookup

CODES = "embedding"  # the parameter of a nn.embedding.CodeTable
# (settings, steps after the warm-up) -> learning rate by step
SCHEDULES = {
  "constant": lambda optim, steps: optax.constant_schedule(optim.learning_rate),
  "cosine": lambda optim, steps: optax.cosine_decay_schedule(
    optim.learning_rate, max(steps, 1)
  ),
  "wsd": lambda optim, steps: optax.join_schedules(  # warm-up, stable, decay
    [
      optax.constant_schedule(optim.learning_rate),
      optax.linear_schedule(optim.learning_rate, 0.0, max(steps // 5, 1)),
    ],
    [steps - steps // 5],
  ),
  "halve": lambda optim, steps: optax.exponential_decay(
    optim.learning_rate, optim.halve_every, 0.5, staircase=True
  ),
}


def _as_matrices(params: optax.Params) -> optax.Params:
  """Which axes of each parameter are rows and columns for Muon; None leaves it to Adam.

  The kernel (*window, i, o) of a convolution is the matrix that maps a window to its
  result.
  """

  def matrix(param):
    if param.ndim < 2:
      return None
    return optax.contrib.MuonDimensionNumbers(tuple(range(param.ndim - 1)), -1)

  return jax.tree.map(matrix, params)


# Three Newton-Schulz steps after Schatten scaling train as well as five without it.
_muon = functools.partial(optax.contrib.muon, ns_steps=3, preconditioning="schatten")
OPTIMIZERS = {
  "adam": lambda optim, rate: optax.adam(rate),
  "adamw": lambda optim, rate: optax.adamw(rate, weight_decay=optim.weight_decay),
  "muon": lambda optim, rate: _muon(rate),  # of matrices; kernels in 2D and 3D: Adam
  "muon_conv": lambda optim, rate: _muon(
    rate, muon_weight_dimension_numbers=_as_matrices
  ),
  "sgd": lambda optim, rate: optax.sgd(rate, momentum=0.9),
}


def make(optim: OptimSettings, steps: int) -> optax.GradientTransformation:
  """The optimiser of a run.

  Args:
    optim: settings of the optimiser and its schedule.
    steps: number of steps of the run, with which the schedule ends.

  Raises:
    ValueError: an unknown name, a negative gradient norm, or settings that do not go
      together.
  """
  if optim.weight_decay and optim.name != "adamw":
    raise ValueError(
      f"config.optim.weight_decay is {optim.weight_decay} with optimiser "
      f"{optim.name!r}, which has none; set config.optim.name to adamw"
    )
  if optim.clip_norm < 0:  # it would reverse the direction of every update
    raise ValueError(
      f"config.optim.clip_norm is {optim.clip_norm}; want the largest norm of a "
      "gradient, or 0 for no clipping"
    )
  if (optim.schedule == "halve") != (optim.halve_every > 0):
    raise ValueError(
      f"config.optim.halve_every is {optim.halve_every} with schedule "
      f"{optim.schedule!r}; want a number of steps with halve, and 0 with all others"
    )
  schedule = lookup(SCHEDULES, optim.schedule, "optim.schedule")
  rate = schedule(optim, steps - optim.warmup_steps)
  if optim.warmup_steps:
    ramp = optax.linear_schedule(0.0, optim.learning_rate, optim.warmup_steps)
    rate = optax.join_schedules([ramp, rate], [optim.warmup_steps])
  update = lookup(OPTIMIZERS, optim.name, "optim.name")(optim, rate)
  before = [optax.clip_by_global_norm(optim.clip_norm)] if optim.clip_norm else []
  after = [_scale_codes(optim.code_rate)] if optim.code_rate != 1 else []
  return optax.chain(*before, update, *after) if before or after else update


def _scale_codes(factor: float) -> optax.GradientTransformation:
  """Multiplies the updates of a code table's rows, whose learning rate is another."""

  def scale(path, update):
    is_code = any(getattr(key, "key", None) == CODES for key in path)
    return factor * update if is_code else update

  return optax.stateless(
    lambda updates, params: jax.tree_util.tree_map_with_path(scale, updates)
  )
