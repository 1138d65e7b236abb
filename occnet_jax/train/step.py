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
from jaxtyping import PyTree

from occnet_jax.train.state import TrainState
from occnet_jax.types import Batch, Key, Method, Scalars

AXIS = "devices"
Step = Callable[..., tuple[TrainState, Scalars]]
GatherFn = Callable[[Any, Batch], Batch]


def make_step(
  method: Method,
  optimizer: optax.GradientTransformation,
  *,
  ema_decay: float = 0.0,
  accumulate: int = 1,
  skip_nonfinite: bool = False,
  see: GatherFn | None = None,
) -> Step:
  """The pure step of a method.

  step(state, batch, number, resident=None, *, axis=None) -> (state, scalars), where
  `number` is how many steps went before. A step whose loss or gradient is not finite
  changes nothing. Unless they are to be skipped neither does any step after it, whose
  number is then not the state's: the state stays what it was before the bad step, and
  whoever looks finds scalars["loss"] or ["gradient_norm"] not finite.

  Args:
    method: built with the same axis name that the step will run under.
    optimizer: gradients -> updates.
    ema_decay: of the averaged variables; used only where the state holds them.
    accumulate: parts that a device's batch is cut into, one in memory at a time. Their
      gradients are averaged; batch norm sees each part by itself.
    skip_nonfinite: go on after a bad step, which then counts as a step; the scalars
      have `skipped`, 1 or 0.
    see: (resident, batch) -> batch, what of the data is found out on the device.
  """

  def step(
    state: TrainState,
    batch: Batch,
    number: Any,
    resident: Any = None,
    *,
    axis: str | None = None,
  ) -> tuple[TrainState, Scalars]:
    key = jax.random.fold_in(state.key, state.step)
    if axis is not None:
      key = jax.random.fold_in(key, lax.axis_index(axis))
    if see is not None:
      batch = see(resident, batch)
    gradients, stats, scalars = _gradients(method, state, batch, key, accumulate)
    if axis is not None:
      gradients, stats, scalars = lax.pmean((gradients, stats, scalars), axis)
    scalars = {**scalars, "gradient_norm": optax.tree.norm(gradients)}
    updates, opt_state = optimizer.update(gradients, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    ema = state.ema
    if ema is not None:
      now = {"params": params, "batch_stats": stats}
      ema = optax.incremental_update(now, ema, 1 - ema_decay)
    good = jnp.isfinite(scalars["loss"]) & jnp.isfinite(scalars["gradient_norm"])
    if skip_nonfinite:
      scalars["skipped"] = 1.0 - good
      stepped = state.step + 1
    else:
      good &= state.step == number
      stepped = state.step + good
    new = state.replace(params=params, batch_stats=stats, opt_state=opt_state, ema=ema)
    state = jax.tree.map(functools.partial(jnp.where, good), new, state)
    return state.replace(step=stepped), scalars

  return step


def _gradients(
  method: Method, state: TrainState, batch: Batch, key: Key, parts: int
) -> tuple[PyTree, PyTree, Scalars]:
  """Gradients and scalars, means over the parts of a batch, and the new statistics."""

  def of(stats: PyTree, batch: Batch, key: Key) -> tuple[PyTree, tuple]:
    def loss(params):
      variables = {"params": params, "batch_stats": stats}
      return method.loss(variables, batch, key, True)

    found = jax.value_and_grad(loss, has_aux=True)(state.params)
    (_, (stats, scalars)), gradients = found
    return stats, (gradients, scalars)

  def add(carry, part):
    stats, total = carry
    batch, number = part
    stats, found = of(stats, batch, jax.random.fold_in(key, number))
    return (stats, jax.tree.map(jnp.add, total, found)), None

  if parts == 1:
    stats, (gradients, scalars) = of(state.batch_stats, batch, key)
    return gradients, stats, scalars
  if (shapes := batch["points"].shape[0]) % parts:
    raise ValueError(
      f"{shapes} shapes on a device in {parts} parts; want a multiple: set "
      "config.train.batch_size or config.train.accumulate"
    )
  cut = jax.tree.map(lambda x: x.reshape(parts, -1, *x.shape[1:]), batch)
  one = jax.tree.map(lambda x: x[0], cut)
  _, form = jax.eval_shape(of, state.batch_stats, one, key)
  zero = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), form)
  (stats, total), _ = lax.scan(add, (state.batch_stats, zero), (cut, jnp.arange(parts)))
  gradients, scalars = jax.tree.map(lambda x: x / parts, total)
  return gradients, stats, scalars


def data_parallel(step: Step, *, steps: int = 1) -> Step:
  """Maps a pure step over all devices: (state, split batch, number, resident) -> same.

  Args:
    step: as of `make_step`.
    steps: how many are taken in one call. More than one want batches with an axis of
      as many steps, (d, s, b / d, ...), and give scalars (s,).
  """

  def several(state, batches, number, resident, *, axis):
    def body(state, each):
      return step(state, *each, resident, axis=axis)

    return lax.scan(body, state, (batches, number + jnp.arange(steps)))

  return jax.pmap(
    functools.partial(step if steps == 1 else several, axis=AXIS),
    axis_name=AXIS,
    in_axes=(None, 0, None, None),
    out_axes=(None, None),
    donate_argnums=0,
  )


def replicate(state: PyTree) -> PyTree:
  """Puts arrays where the mapped step leaves them, or it compiles a second time."""
  mesh = jax.sharding.Mesh(np.array(jax.local_devices()), (AXIS,))
  whole = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
  return jax.device_put(state, whole)


def stack_batches(
  batches: Iterator[Batch], steps: int, devices: int
) -> Iterator[Batch]:
  """Host batches as `data_parallel` wants them: on each device, of so many steps."""
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
  mesh = jax.sharding.Mesh(np.array(jax.local_devices()), (AXIS,))
  cut = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(AXIS))
  return jax.device_put(batch, cut)


def round_up(shapes: int) -> int:
  """The next number that the local devices divide."""
  devices = jax.local_device_count()
  return -(-shapes // devices) * devices
