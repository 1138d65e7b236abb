"""Batches by Grain over random access (host).

The batch of step s is a function of (seed, s) alone: shapes are shuffled anew every
epoch, what is drawn for a shape depends on its place in that order, and batching comes
before anything that is spread over workers. So a run resumes at any step.
"""

from collections.abc import Callable, Iterator
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
) -> Iterator[Batch]:
  """The endless batches of steps start, start + 1, ...

  Args:
    source: examples by index.
    transform: (example, generator) -> arrays of one shape.
    batch_size: b. The last, partial batch of an epoch is filled from the next epoch.
    seed: of order and draws.
    start: step of the first batch.
    workers: worker processes; 0 for threads of this process.

  Raises:
    ValueError: the source is empty.
  """
  if not len(source):
    raise ValueError("the train split is empty; prepare more shapes")
  shapes = _in_order(source, seed).random_map(transform).batch(batch_size)
  options = grain.ReadOptions(num_threads=READ_THREADS, prefetch_buffer_size=8)
  batches = shapes[start:].to_iter_dataset(options)
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
) -> Iterator[tuple[Batch, int]]:
  """Every shape once, in order, with draws that are the same each time.

  Args:
    source, transform: as of `train_batches`.
    batch_size: b; the last batch is filled up with copies of its last shape, so that
      all have one form.
    seed: of the draws; shape i draws from (seed, i).
    limit: at most so many shapes, evenly spread over the split; 0 for all.

  Yields:
    (batch, how many of its shapes count).
  """
  chosen = spread(len(source), limit)
  for first in range(0, len(chosen), batch_size):
    indices = chosen[first : first + batch_size]
    shapes = [transform(source[i], shape_rng(seed, i)) for i in indices.tolist()]
    shapes += shapes[-1:] * (batch_size - len(shapes))
    yield {k: np.stack([shape[k] for shape in shapes]) for k in shapes[0]}, len(indices)


def spread(count: int, limit: int) -> np.ndarray:
  """All indices below `count`, or `limit` of them evenly spread if that is less."""
  if not limit or limit >= count:
    return np.arange(count)
  return np.linspace(0, count - 1, limit).round().astype(int)


def shape_rng(seed: int, index: int) -> np.random.Generator:
  """The generator of one shape outside training."""
  return np.random.default_rng([seed, index])
