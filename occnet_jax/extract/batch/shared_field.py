"""Fields of several shapes, evaluated in one call of their network (device, host).

Threads that extract one shape each hand in their batches of points; whenever the device
is free, those that wait, of up to so many shapes, go to it as one batch (b, t, 3). None
waits for company: a batch that is alone goes alone. Their number is filled up to a
power of two, so that few programs are compiled.

Shape letters: b shapes, n points, t points of a batch.
"""

import collections
import dataclasses
import functools
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, PyTree

from occnet_jax.extract.field import JaxField, Kernel, padded_batches

Points = Float[np.ndarray, "n 3"]


class SharedEvaluator:
  """Evaluates batches of points of many shapes. Close it by `with`."""

  def __init__(self, decode: Callable, variables: PyTree, shapes: int):
    """Args:
    decode: (variables, latent, points (b, t, 3)) -> (b, t), row by row.
    variables: on the device where all is to be computed.
    shapes: of one call, at most.

    Raises:
      ValueError: less than one shape.
    """
    if shapes < 1:
      raise ValueError(f"together={shapes}; want at least 1")
    self._decode, self._variables, self._shapes = decode, variables, shapes
    self._waiting = collections.defaultdict(collections.deque)
    self._pool = ThreadPoolExecutor(1)

  def __enter__(self) -> "SharedEvaluator":
    return self

  def __exit__(self, *error: Any) -> None:
    self._pool.shutdown(cancel_futures=True)

  def field(self, latent: PyTree, alone: JaxField) -> "SharedField":
    """The field of one shape.

    Args:
      latent: with a leading axis 1.
      alone: the same field, for evaluation by itself.
    """
    return SharedField(alone.bind, alone.points_per_batch, self, latent)

  def submit(self, kernel: Kernel, latent: PyTree, points: Points) -> Future:
    """The promise of a kernel's values at a batch of points of one shape."""
    future: Future = Future()
    self._waiting[kernel].append((future, latent, points))
    self._pool.submit(self._evaluate, kernel)
    return future

  def _evaluate(self, kernel: Kernel) -> None:
    """Takes what waits, if an earlier call has not; in the pool's only thread."""
    waiting = self._waiting[kernel]
    taken = [waiting.popleft() for _ in range(min(len(waiting), self._shapes))]
    if not taken:
      return
    futures, latents, points = zip(*taken, strict=True)
    missing = 2 ** (len(taken) - 1).bit_length() - len(taken)
    latents, points = latents + latents[-1:] * missing, points + points[-1:] * missing
    try:
      latent = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *latents)
      compiled = jit_many(self._decode, kernel)
      values = np.asarray(compiled(self._variables, latent, np.stack(points)))
    except Exception as error:  # to be raised where somebody waits for it
      for future in futures:
        future.set_exception(error)
      return
    for future, found in zip(futures, values, strict=False):
      future.set_result(found)


@dataclasses.dataclass(frozen=True)
class SharedField(JaxField):
  """One shape's field, evaluated with others; a refinement has it by itself.

  Attributes, besides those of `JaxField`:
    together: the evaluator.
    latent: of the shape.
  """

  together: SharedEvaluator
  latent: PyTree

  def _in_batches(
    self, kernel: Kernel, points: Points, tail: tuple
  ) -> Float32[np.ndarray, "n ..."]:
    batches = padded_batches(points.astype(np.float32), self.points_per_batch)
    found = [self.together.submit(kernel, self.latent, batch) for batch in batches]
    parts = [np.zeros((0, *tail), np.float32), *(each.result() for each in found)]
    return np.concatenate(parts)[: len(points)]


@functools.lru_cache(maxsize=32)
def jit_many(decode: Callable, kernel: Kernel) -> Callable:
  """(variables, latent, points) -> what the kernel gives; compiled once a network."""

  def many(
    variables: PyTree, latent: PyTree, points: Float[Array, "b t 3"]
  ) -> Float[Array, "b t ..."]:
    def one(row: PyTree, of_one: Float[Array, "t 3"]) -> Float[Array, "t ..."]:
      row = jax.tree.map(lambda leaf: leaf[None], row)
      return kernel(lambda p: decode(variables, row, p[None])[0], of_one)

    return jax.vmap(one)(latent, points)

  return jax.jit(many)
