"""One step of training, and its wrapper for several devices (device, jnp).

The only file that names a device axis. The pure step takes the axis as an argument;
`data_parallel` maps it once over the devices, with the state broadcast on the way in
and taken from one device on the way out, so that nobody replicates it by hand.
"""

import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import PyTree

from occnet_jax.train.state import TrainState
from occnet_jax.types import Batch, Method, Scalars

AXIS = "devices"
Step = Callable[..., tuple[TrainState, Scalars]]
GatherFn = Callable[[Any, Batch], Batch]


def make_step(
  method: Method,
  optimizer: optax.GradientTransformation,
  *,
  ema_decay: float = 0.0,
  skip_nonfinite: bool = False,
  gather_fn: GatherFn | None = None,
) -> Step:
  """The pure step of a method.

  step(state, batch, step_index, resident=None, *, axis=None) -> (state, scalars), where
  `step_index` is the number of steps before it. A step whose loss or gradient is not
  finite changes nothing. Unless such steps are skipped neither does any step after it,
  because its index is then not the state's: the state stays what it was before the bad
  step, and scalars["loss"] or ["gradient_norm"] is not finite.

  Args:
    method: built with the same axis name that the step will run under.
    optimizer: gradients -> updates.
    ema_decay: decay of the averaged variables; used only where the state holds them.
    skip_nonfinite: whether a bad step counts as a step and the next one is taken; the
      scalars then have `skipped`, 1 or 0.
    gather_fn: (resident, batch) -> batch, where the training split is kept on the
      device and a batch from the host only says which of its rows to take.
  """

  def step(
    state: TrainState,
    batch: Batch,
    step_index: Any,
    resident: Any = None,
    *,
    axis: str | None = None,
  ) -> tuple[TrainState, Scalars]:
    key = jax.random.fold_in(state.key, state.step)
    if axis is not None:
      key = jax.random.fold_in(key, lax.axis_index(axis))
    if gather_fn is not None:
      batch = gather_fn(resident, batch)

    def loss_of(params: PyTree) -> tuple[Any, tuple]:
      variables = {"params": params, "batch_stats": state.batch_stats}
      return method.loss(variables, batch, key, True)

    gradients, (stats, scalars) = jax.grad(loss_of, has_aux=True)(state.params)
    if axis is not None:
      gradients, stats, scalars = lax.pmean((gradients, stats, scalars), axis)
    scalars = {**scalars, "gradient_norm": optax.tree.norm(gradients)}
    updates, opt_state = optimizer.update(gradients, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    ema = state.ema
    if ema is not None:
      averaged = {"params": params, "batch_stats": stats}
      ema = optax.incremental_update(averaged, ema, 1 - ema_decay)
    is_finite = jnp.isfinite(scalars["loss"]) & jnp.isfinite(scalars["gradient_norm"])
    if skip_nonfinite:
      scalars["skipped"] = 1.0 - is_finite
      next_step = state.step + 1
    else:
      is_finite &= state.step == step_index
      next_step = state.step + is_finite
    new = state.replace(params=params, batch_stats=stats, opt_state=opt_state, ema=ema)
    state = jax.tree.map(functools.partial(jnp.where, is_finite), new, state)
    return state.replace(step=next_step), scalars

  return step


def data_parallel(step: Step, *, steps: int = 1) -> Step:
  """Maps a pure step over all devices.

  (state, stacked batch, step_index, resident) -> (state, scalars), with batches as
  `stack_batches` makes them. The state is donated.

  Args:
    step: a pure step, as `make_step` returns it.
    steps: number of steps per call; the scalars are then those of each step.
  """

  def scan_steps(state, batches, step_index, resident, *, axis):
    def body(state, item):
      batch, index = item
      return step(state, batch, index, resident, axis=axis)

    return lax.scan(body, state, (batches, step_index + jnp.arange(steps)))

  # The same by jax.shard_map is in tests/train/test_step.py, with the same bits: the
  # day that pmap warns, this call is the one to change.
  return jax.pmap(
    functools.partial(step if steps == 1 else scan_steps, axis=AXIS),
    axis_name=AXIS,
    in_axes=(None, 0, None, None),
    out_axes=(None, None),
    donate_argnums=0,
  )


def replicate(tree: PyTree) -> PyTree:
  """Puts arrays where the mapped step leaves them, so that it compiles only once."""
  return jax.device_put(tree, NamedSharding(_mesh(), PartitionSpec()))


def stack_batches(
  batches: Iterator[Batch], steps: int, devices: int
) -> Iterator[Batch]:
  """Host batches for `data_parallel`: arrays (devices, [steps,] b / devices, ...)."""
  while True:
    split = [split_over_devices(next(batches), devices) for _ in range(steps)]
    if steps == 1:
      yield split[0]
    else:
      yield jax.tree.map(lambda *each: np.stack(each, axis=1), *split)


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


def shard_batch(batch: Batch) -> Batch:
  """A host batch over the local devices, whose number divides it: for `jax.jit`."""
  return jax.device_put(batch, NamedSharding(_mesh(), PartitionSpec(AXIS)))


def _mesh() -> Mesh:
  return Mesh(np.array(jax.local_devices()), (AXIS,))


def round_up(shapes: int) -> int:
  """The next number that the local devices divide."""
  devices = jax.local_device_count()
  return -(-shapes // devices) * devices
