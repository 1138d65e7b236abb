"""Our training step on random numbers, for benchmarks without data."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from occnet_jax import config as config_lib
from occnet_jax.data import inputs as inputs_lib
from occnet_jax.models import registry
from occnet_jax.train import optimizers
from occnet_jax.train import state as state_lib
from occnet_jax.train import step as step_lib

Step = Callable[[int], None]  # takes so many calls, and waits for the last


class OurStep(NamedTuple):
  """Attributes:
  take: takes a number of calls, of some steps each.
  operations: those of one step, as XLA counts them.
  memory: GiB that XLA plans for the values of a call, without state and batch.
  """

  take: Step
  operations: float
  memory: float


def make_batch(config: dict, shapes: int) -> dict[str, np.ndarray]:
  """Random points, occupancies and inputs of the forms that a config wants."""
  rng = np.random.default_rng(0)
  form = inputs_lib.make(config_lib.parse(config).data).spec
  count = config["data"]["points"]
  inputs = rng.uniform(0, 1, (shapes, *form.shape))
  return {
    "points": rng.uniform(-0.55, 0.55, (shapes, count, 3)).astype(np.float32),
    "occupancies": rng.integers(0, 2, (shapes, count)).astype(np.float32),
    "inputs": (inputs > 0.5 if form.ndim == 3 and form.shape[2] > 3 else inputs).astype(
      np.float32
    ),
  }


def our_step(
  config: dict[str, Any],
  batch: dict[str, np.ndarray],
  *,
  remat: bool = False,
  precision: str = "float32",
  steps: int = 1,
) -> OurStep:
  """Compiles the whole step: forward, backward, update, over all devices.

  Args:
    config: config of a run, as nested dicts.
    batch: a batch of the whole machine.
    remat, precision, steps: as train.remat, train.precision, train.steps_per_call.
  """
  build = {"axis_name": step_lib.AXIS, "precision": precision, "remat": remat}
  settings = config_lib.parse(config)
  optimizer = optimizers.make(settings.optim, settings.train.steps)
  method = registry.build(config["model"], **build)
  plain = registry.build(config["model"])
  state = state_lib.create(plain, optimizer, batch, seed=0, ema=False)
  mapped = step_lib.data_parallel(step_lib.make_step(method, optimizer), steps=steps)
  split = step_lib.split_over_devices(batch, jax.local_device_count())
  if steps > 1:
    split = jax.tree.map(lambda x: np.stack([x] * steps, axis=1), split)
  alone = step_lib.make_step(plain, optimizer)
  lowered = jax.jit(alone).lower(state, batch, 0)
  # On a GPU XLA counts operations of compiled programs alone.
  counted = (lowered.cost_analysis() or lowered.compile().cost_analysis())["flops"]
  kept = {"state": step_lib.replicate(state), "number": 0}
  compiled = mapped.lower(kept["state"], split, np.int32(0), None).compile()
  memory = compiled.memory_analysis().temp_size_in_bytes / 2**30

  def take(count: int) -> None:
    for _ in range(count):
      index = np.int32(kept["number"])
      state, scalars = compiled(kept["state"], split, index, None)
      kept.update(state=state, number=kept["number"] + steps)
    jax.block_until_ready((state, scalars))

  return OurStep(take, float(counted), memory)
