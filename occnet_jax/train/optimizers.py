"""Optimisers and learning-rate schedules, by name (device)."""

from collections.abc import Mapping
from typing import Any

import optax
import optax.contrib

from occnet_jax.config import lookup

# Schedules of `steps` steps that begin at the peak rate, after the warm-up. wsd is
# warm-up, stable, decay: constant for four fifths, then linear to zero.
SCHEDULES = {
  "constant": lambda peak, steps: optax.constant_schedule(peak),
  "cosine": lambda peak, steps: optax.cosine_decay_schedule(peak, max(steps, 1)),
  "wsd": lambda peak, steps: optax.join_schedules(
    [
      optax.constant_schedule(peak),
      optax.linear_schedule(peak, 0.0, max(steps // 5, 1)),
    ],
    [steps - steps // 5],
  ),
}


OPTIMIZERS = {
  "adam": lambda optim, rate: optax.adam(rate),
  "adamw": lambda optim, rate: optax.adamw(rate, weight_decay=optim["weight_decay"]),
  # Three Newton-Schulz steps after Schatten scaling train as well as five without it.
  "muon": lambda optim, rate: optax.contrib.muon(
    rate, ns_steps=3, preconditioning="schatten"
  ),
  "sgd": lambda optim, rate: optax.sgd(rate, momentum=0.9),
}


BATCH_SIZE = 64  # the reference's batch size, for which learning rates are given
# Factors of the learning rate for a batch of ratio * BATCH_SIZE shapes.
SCALINGS = {
  "none": lambda ratio: 1.0,
  "linear": lambda ratio: ratio,  # for SGD: Goyal et al. 2017
  "root": lambda ratio: ratio**0.5,  # for Adam: Malladi et al. 2022
}


def optimizer(
  optim: Mapping[str, Any], steps: int, batch_size: int = BATCH_SIZE
) -> optax.GradientTransformation:
  """The optimiser that config.optim describes.

  Args:
    optim: the fields of config.optim.
    steps: number of steps of the run, with which the schedule ends.
    batch_size: number of shapes per step, by which the learning rate may be scaled.

  Raises:
    ValueError: an unknown name, a negative gradient norm, or a weight decay that the
      optimiser does not have.
  """
  if optim["weight_decay"] and optim["name"] != "adamw":
    raise ValueError(
      f"config.optim.weight_decay is {optim['weight_decay']} with optimiser "
      f"{optim['name']!r}, which has none; set config.optim.name to adamw"
    )
  if optim["clip_norm"] < 0:  # would turn every update round
    raise ValueError(
      f"config.optim.clip_norm is {optim['clip_norm']}; want the largest norm of a "
      "gradient, or 0 for no clipping"
    )
  scale = lookup(SCALINGS, optim["batch_scaling"], "optim.batch_scaling")
  peak = optim["learning_rate"] * scale(batch_size / BATCH_SIZE)
  warmup = optim["warmup_steps"]
  schedule = lookup(SCHEDULES, optim["schedule"], "optim.schedule")
  rate = schedule(peak, steps - warmup)
  if warmup:
    ramp = optax.linear_schedule(0.0, peak, warmup)
    rate = optax.join_schedules([ramp, rate], [warmup])
  update = lookup(OPTIMIZERS, optim["name"], "optim.name")(optim, rate)
  if optim["clip_norm"]:
    return optax.chain(optax.clip_by_global_norm(optim["clip_norm"]), update)
  return update
