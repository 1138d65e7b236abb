"""The training state: everything that the next step depends on (device)."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import serialization, struct

from occnet_jax.train import initial_values
from occnet_jax.types import Batch, Method, Variables


@struct.dataclass
class TrainState:
  """A pytree of arrays; saved whole, so that a resumed run is the same run.

  Attributes:
    step: number of batches that this state was trained on.
    key: the run's random key; step s draws from fold_in(key, s).
    params, batch_stats: the network's variables.
    opt_state: state of the optimiser.
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
    method: the system that is trained.
    optimizer: the optimiser that trains it.
    batch: a batch as training will have them; only shapes and types of its arrays
      count.
    seed: seed of initial values and of every draw of the run.
    ema: whether to keep an exponential moving average of the variables.
  """
  init_key, key = jax.random.split(jax.random.PRNGKey(seed))
  variables = initial_values.draw(method, init_key, batch)
  variables = {
    "params": variables["params"],
    "batch_stats": variables.get("batch_stats", {}),
  }

  @jax.jit  # one program in place of one for each form of an array
  def rest(variables):
    average = jax.tree.map(jnp.copy, variables) if ema else None
    return optimizer.init(variables["params"]), average

  opt_state, average = rest(variables)
  return TrainState(
    step=jnp.zeros((), jnp.int32),
    key=key,
    opt_state=opt_state,
    ema=average,
    **variables,
  )


def trained_variables(state: Any) -> Variables:
  """The variables in a saved state that use prefers: the averaged ones if there are."""
  source = state.get("ema") or state
  return {name: source.get(name) or {} for name in ("params", "batch_stats")}


def refill(target: Any, saved: Any) -> Any:
  """`target` with the saved arrays in it, leaf by leaf.

  Raises:
    ValueError: naming the leaves that are missing, left over or of another shape.
  """
  expected, tree = jax.tree_util.tree_flatten_with_path(
    serialization.to_state_dict(target)
  )
  expected = {jax.tree_util.keystr(path): leaf for path, leaf in expected}
  given = jax.tree_util.tree_flatten_with_path(saved)[0]
  given = {jax.tree_util.keystr(path): leaf for path, leaf in given}
  wrong = [f"{name} is missing" for name in expected if name not in given]
  wrong += [f"{name} is left over" for name in given if name not in expected]
  wrong += [
    f"{name} has shape {np.shape(given[name])}, want {np.shape(leaf)}"
    for name, leaf in expected.items()
    if name in given and np.shape(given[name]) != np.shape(leaf)
  ]
  if wrong:
    more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
    raise ValueError(
      f"the checkpoint does not fit this config: {'; '.join(wrong[:3])}{more}; "
      "use the config it was trained with, or another --workdir"
    )
  leaves = [np.asarray(given[name], leaf.dtype) for name, leaf in expected.items()]
  return serialization.from_state_dict(
    target, jax.tree_util.tree_unflatten(tree, leaves)
  )
