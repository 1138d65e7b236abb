"""CPU seconds of a training step, for benchmarks with a budget of CPU time."""

import json
import pathlib
import statistics
import time
from typing import Any

import jax
import jax.numpy as jnp

from occnet_jax import config as config_lib
from occnet_jax.data import batches as batches_lib
from occnet_jax.files import atomic_write
from occnet_jax.models import registry
from occnet_jax.train import optimizers
from occnet_jax.train import state as state_lib
from occnet_jax.train import step as step_lib

TIMED_STEPS = 4


def measure_step(config: dict[str, Any], path: pathlib.Path) -> tuple[float, int]:
  """CPU seconds of a step of all cores together, and the number of parameters.

  After compilation and without data, so a busy machine changes it little.

  Args:
    config: config of the run, as nested dicts.
    path: file that keeps both, so that a second call measures nothing.
  """
  if not path.exists():
    examples = batches_lib.open_train(config_lib.parse(config).data)
    settings = config_lib.parse(config_lib.with_codes(config, len(examples)))
    batch = next(batches_lib.read_host_batches(settings, examples, 0))
    batch = jax.tree.map(jnp.asarray, batch)
    method = registry.build(settings.model)
    optimizer = optimizers.make(settings.optim, 100)
    state = state_lib.create(method, optimizer, batch, seed=0, ema=True)
    decay = settings.optim.ema_decay
    step = jax.jit(step_lib.make_step(method, optimizer, ema_decay=decay))
    state, _ = jax.block_until_ready(step(state, batch, 0))
    times = []
    for number in range(TIMED_STEPS):
      start = time.process_time()
      state, _ = jax.block_until_ready(step(state, batch, number))
      times.append(time.process_time() - start)
    parameters = sum(leaf.size for leaf in jax.tree.leaves(state.params))
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as scratch:
      scratch.write_text(json.dumps([statistics.median(times), parameters]))
  seconds, parameters = json.loads(path.read_text())
  return seconds, parameters
