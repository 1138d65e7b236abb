"""Fields of several shapes, evaluated in one call of their network (device, host).

Threads that extract one shape each submit batches of points. Whenever the device is
free, the batches that wait, up to a number of shapes, go to it as one batch (b, t, 3).
Batches are never delayed to fill a group: a single one is evaluated alone. The number
of shapes is padded to a power of two, so that few programs are compiled.

Shape letters: b shapes, n points, t points of a batch.
"""

import collections
import dataclasses
import functools
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, PyTree, Shaped

from occnet_jax.extract.field import JaxField, Kernel
from occnet_jax.extract.point_batches import padded_batches

Points = Float[np.ndarray, "n 3"]


class _Request(NamedTuple):
  """A kernel's argument for one shape, as its points, and the future of the results."""

  future: Future
  latent: PyTree
  argument: np.ndarray | np.generic


class SharedEvaluator:
  """Evaluates batches of points of many shapes; leaving its `with` closes it."""

  def __init__(self, decode: Callable, variables: PyTree, shapes: int):
    """Args:
    decode: (variables, latent, points (b, t, 3)) -> (b, t), row by row.
    variables: variables on the device that evaluates.
    shapes: largest number of shapes in one call.

    Raises:
      ValueError: less than one shape.
    """
    if shapes < 1:
      raise ValueError(f"together={shapes}; want at least 1")
    self._decode, self._variables, self._shapes = decode, variables, shapes
    # Guards the two below, which extracting threads and the pool's thread share.
    self._lock = threading.Lock()
    self._pending: dict[Kernel, collections.deque[_Request]] = {}
    self._closed = False
    self._pool = ThreadPoolExecutor(1)

  def __enter__(self) -> "SharedEvaluator":
    return self

  def __exit__(self, *error: Any) -> None:
    """Ends every thread that still waits with a RuntimeError."""
    with self._lock:
      self._closed = True
      requests = [request for queue in self._pending.values() for request in queue]
      self._pending.clear()
    for request in requests:
      request.future.set_exception(_closed_error())
    self._pool.shutdown(cancel_futures=True)

  def field(self, latent: PyTree, alone: JaxField) -> "SharedField":
    """The field of one shape.

    Args:
      latent: latent of the shape, leading axis 1.
      alone: the same field, for evaluation by itself.
    """
    return SharedField(alone.bind, alone.points_per_batch, self, latent)

  def submit(
    self, kernel: Kernel, latent: PyTree, argument: np.ndarray | np.generic
  ) -> Future:
    """The future of a kernel's results for one shape and an array, as of its points.

    Raises:
      RuntimeError: the evaluator is closed.
    """
    future: Future = Future()
    with self._lock:
      if self._closed:
        raise _closed_error()
      queue = self._pending.setdefault(kernel, collections.deque())
      queue.append(_Request(future, latent, argument))
      self._pool.submit(self._evaluate, kernel)
    return future

  def _evaluate(self, kernel: Kernel) -> None:
    """Evaluates the requests that wait; runs in the pool's only thread.

    There is one call for each request, so the last ones may have nothing left to do.
    """
    with self._lock:
      queue = self._pending.get(kernel, ())
      requests = [queue.popleft() for _ in range(min(len(queue), self._shapes))]
    if not requests:
      return
    futures, latents, arguments = zip(*requests, strict=True)
    missing = 2 ** (len(requests) - 1).bit_length() - len(requests)
    latents += latents[-1:] * missing
    arguments += arguments[-1:] * missing
    try:
      latent = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *latents)
      compiled = jit_many(self._decode, kernel)
      results = compiled(self._variables, latent, np.stack(arguments))
      results = jax.tree.map(np.asarray, results)
    except Exception as error:  # raised again in the threads that wait
      for future in futures:
        future.set_exception(error)
      return
    for row, future in enumerate(futures):  # less the padding
      future.set_result(jax.tree.map(lambda leaf, row=row: leaf[row], results))


def _closed_error() -> RuntimeError:
  return RuntimeError(
    "the shared evaluator was closed before this batch was evaluated; keep it open "
    "until every extraction has ended"
  )


@dataclasses.dataclass(frozen=True)
class SharedField(JaxField):
  """One shape's field, evaluated with others; refinement evaluates it by itself.

  Attributes, besides those of `JaxField`:
    evaluator: the evaluator that the shapes share.
    latent: latent of the shape, leading axis 1.
  """

  evaluator: SharedEvaluator
  latent: PyTree

  def run(self, kernel: Kernel, argument: np.ndarray | np.generic) -> PyTree:
    return self.evaluator.submit(kernel, self.latent, argument).result()

  def _in_batches(
    self, kernel: Kernel, points: Points, tail: tuple
  ) -> Float32[np.ndarray, "n ..."]:
    batches = padded_batches(points.astype(np.float32), self.points_per_batch)
    futures = [self.evaluator.submit(kernel, self.latent, batch) for batch in batches]
    results = [np.zeros((0, *tail), np.float32), *(f.result() for f in futures)]
    return np.concatenate(results)[: len(points)]


@functools.lru_cache(maxsize=32)
def jit_many(decode: Callable, kernel: Kernel) -> Callable:
  """Compiles (variables, latent, argument) -> a kernel's results, for many shapes.

  Latent, argument, as points (b, t, 3), and results have the shapes as leading axis.
  """

  def evaluate_shapes(
    variables: PyTree, latent: PyTree, argument: Shaped[Array, "b ..."]
  ) -> PyTree:
    def evaluate_shape(row: PyTree, argument: Shaped[Array, "..."]) -> PyTree:
      row = jax.tree.map(lambda leaf: leaf[None], row)  # decode wants a leading axis
      return kernel(lambda p: decode(variables, row, p[None, None])[0, 0], argument)

    return jax.vmap(evaluate_shape)(latent, argument)

  return jax.jit(evaluate_shapes)
