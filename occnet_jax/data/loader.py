"""Batches by Grain over random access (host).

The batch of step s is a function of (seed, s) alone: shapes are shuffled anew every
epoch, what is drawn for a shape depends on its place in that order, and batching comes
before anything that is spread over workers. So a run resumes at any step.
"""

import collections
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import grain
import numpy as np
from jaxtyping import Int

from occnet_jax.data.source import Examples
from occnet_jax.types import Batch

Transform = Callable[[dict[str, Any], np.random.Generator], Batch]
READ_THREADS = 4


def train_batches(
  source: Examples,
  transform: Transform,
  *,
  batch_size: int,
  seed: int,
  start: int,
  workers: int,
  part: tuple[int, int] = (0, 1),
) -> Iterator[Batch]:
  """The endless batches of steps start, start + 1, ...

  Args:
    source: examples by index.
    transform: (example, generator) -> arrays of one shape.
    batch_size: b. The last, partial batch of an epoch is filled from the next epoch.
    seed: of order and draws.
    start: step of the first batch.
    workers: worker processes; 0 for threads of this process.
    part: (i, n): the i-th of n equal parts of every batch alone.

  Raises:
    ValueError: the source is empty, or n does not divide b.
  """
  if not len(source):
    raise ValueError("the train split is empty; prepare more shapes")
  number, parts = part
  if batch_size % parts:
    raise ValueError(
      f"batch of {batch_size} shapes in {parts} processes; want a multiple: set "
      "config.train.batch_size"
    )
  shapes = _in_order(source, seed).random_map(transform).batch(batch_size // parts)
  options = grain.ReadOptions(num_threads=READ_THREADS, prefetch_buffer_size=8)
  batches = shapes[start * parts + number :: parts].to_iter_dataset(options)
  if workers:
    batches = batches.mp_prefetch(
      grain.MultiprocessingOptions(num_workers=workers, per_worker_buffer_size=4)
    )
  return iter(batches)


def batch_indices(
  shapes: int, *, batch_size: int, seed: int, step: int
) -> Int[np.ndarray, " b"]:
  """Which shapes of the split the batch of a step holds; arguments as above."""
  order = _in_order(np.arange(shapes), seed).batch(batch_size)
  return order[step]


def _in_order(source: Any, seed: int) -> grain.MapDataset:
  """The source again and again, each time in another order."""
  return grain.MapDataset.source(source).seed(seed).shuffle().repeat()


def evaluation_batches(
  source: Examples,
  transform: Transform,
  *,
  batch_size: int,
  seed: int,
  limit: int,
  part: tuple[int, int] = (0, 1),
) -> Iterator[tuple[Batch, int]]:
  """Every shape once, in order, with draws that are the same each time.

  Args:
    source, transform: as of `train_batches`.
    batch_size: b; the last batch is filled up with copies of its last shape, so that
      all have one form.
    seed: of the draws; shape i draws from (seed, i).
    limit: at most so many shapes, evenly spread over the split; 0 for all.
    part: (i, n): shapes i, i + n, ... of these alone.

  Yields:
    (batch, how many of its shapes count).
  """
  number, parts = part
  chosen = evenly_spaced(len(source), limit)[number::parts]

  def shape(index: int) -> Batch:
    return transform(source[index], shape_rng(seed, index))

  def finish(shapes: list[Future]) -> tuple[Batch, int]:
    found = [one.result() for one in shapes]
    count, found = len(found), found + found[-1:] * (batch_size - len(found))
    return {name: np.stack([one[name] for one in found]) for name in found[0]}, count

  waiting: collections.deque = collections.deque()  # one batch is read ahead
  with ThreadPoolExecutor(READ_THREADS) as pool:
    for first in range(0, len(chosen), batch_size):
      indices = chosen[first : first + batch_size].tolist()
      waiting.append([pool.submit(shape, index) for index in indices])
      if len(waiting) > 1:
        yield finish(waiting.popleft())
    if waiting:
      yield finish(waiting.popleft())


def evenly_spaced(count: int, limit: int) -> np.ndarray:
  """All indices below `count`, or `limit` of them evenly spread if that is less."""
  if not limit or limit >= count:
    return np.arange(count)
  return np.linspace(0, count - 1, limit).round().astype(int)


def shape_rng(seed: int, index: int) -> np.random.Generator:
  """The generator of one shape outside training."""
  return np.random.default_rng([seed, index])
