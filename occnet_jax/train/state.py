"""What a run is at step s: everything that the next step depends on (device)."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct

from occnet_jax.types import Batch, Method, Variables


@struct.dataclass
class TrainState:
  """A pytree of arrays; saved whole, so that a resumed run is the same run.

  Attributes:
    step: how many batches this state has seen.
    key: the run's random key; step s draws from fold_in(key, s).
    params, batch_stats: the network's variables.
    opt_state: the optimiser's.
    ema: exponential moving average of {"params", "batch_stats"}, or None.
  """

  step: Any
  key: Any
  params: Any
  batch_stats: Any
  opt_state: Any
  ema: Any

  @property
  def variables(self) -> Variables:
    """The variables to validate and to publish: averaged ones where there are any."""
    if self.ema is not None:
      return self.ema
    return {"params": self.params, "batch_stats": self.batch_stats}


def create(
  method: Method,
  optimizer: optax.GradientTransformation,
  batch: Batch,
  *,
  seed: int,
  ema: bool,
) -> TrainState:
  """The state before the first batch.

  Args:
    method: what is trained.
    optimizer: how.
    batch: any batch of the form that training will see; only its shapes count.
    seed: of initial values and of every draw of the run.
    ema: whether to keep an exponential moving average of the variables.
  """
  init_key, key = jax.random.split(jax.random.PRNGKey(seed))
  variables = jax.jit(method.init)(init_key, batch)
  variables = {
    "params": variables["params"],
    "batch_stats": variables.get("batch_stats", {}),
  }
  return TrainState(
    step=jnp.zeros((), jnp.int32),
    key=key,
    opt_state=optimizer.init(variables["params"]),
    ema=jax.tree.map(jnp.copy, variables) if ema else None,
    **variables,
  )
