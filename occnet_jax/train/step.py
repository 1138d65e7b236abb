"""One step of training, and its wrapper for several devices (device, jnp).

The only file that names a device axis. The pure step takes the axis as an argument;
`data_parallel` maps it once over the devices, with the state broadcast on the way in
and taken from one device on the way out, so that nobody replicates it by hand.
"""

import functools
from collections.abc import Callable

import jax
import numpy as np
import optax
from jax import lax

from occnet_jax.train.state import TrainState
from occnet_jax.types import Batch, Method, Scalars

AXIS = "devices"
Step = Callable[..., tuple[TrainState, Scalars]]


def make_step(
  method: Method, optimizer: optax.GradientTransformation, *, ema_decay: float = 0.0
) -> Step:
  """The pure step (state, batch, *, axis=None) -> (state, scalars) of a method.

  Args:
    method: built with the same axis name that the step will run under.
    optimizer: gradients -> updates.
    ema_decay: of the averaged variables; used only where the state holds them.
  """

  def step(
    state: TrainState, batch: Batch, *, axis: str | None = None
  ) -> tuple[TrainState, Scalars]:
    key = jax.random.fold_in(state.key, state.step)
    if axis is not None:
      key = jax.random.fold_in(key, lax.axis_index(axis))

    def loss(params):
      variables = {"params": params, "batch_stats": state.batch_stats}
      return method.loss(variables, batch, key, True)

    (_, (stats, scalars)), gradients = jax.value_and_grad(loss, has_aux=True)(
      state.params
    )
    if axis is not None:
      gradients, stats, scalars = lax.pmean((gradients, stats, scalars), axis)
    scalars = {**scalars, "gradient_norm": optax.tree.norm(gradients)}
    updates, opt_state = optimizer.update(gradients, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    ema = state.ema
    if ema is not None:
      now = {"params": params, "batch_stats": stats}
      ema = optax.incremental_update(now, ema, 1 - ema_decay)
    state = state.replace(
      step=state.step + 1,
      params=params,
      batch_stats=stats,
      opt_state=opt_state,
      ema=ema,
    )
    return state, scalars

  return step


def data_parallel(step: Step) -> Step:
  """Maps a pure step over all devices: (state, split batch) -> (state, scalars)."""
  return jax.pmap(
    functools.partial(step, axis=AXIS),
    axis_name=AXIS,
    in_axes=(None, 0),
    out_axes=(None, None),
    donate_argnums=0,
  )


def place(state: TrainState) -> TrainState:
  """Puts a state where the mapped step leaves it, or its second call compiles again."""
  mesh = jax.sharding.Mesh(np.array(jax.local_devices()), (AXIS,))
  whole = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
  return jax.device_put(state, whole)


def split_over_devices(batch: Batch, devices: int) -> Batch:
  """Gives every array of a host batch a leading device axis: (b, ...) -> (d, b/d, ...).

  Raises:
    ValueError: the devices do not divide the batch.
  """

  def split(x):
    if x.shape[0] % devices:
      raise ValueError(
        f"batch of {x.shape[0]} shapes on {devices} devices; want a multiple: "
        "set config.train.batch_size"
      )
    return np.reshape(x, (devices, x.shape[0] // devices, *x.shape[1:]))

  return jax.tree.map(split, batch)
