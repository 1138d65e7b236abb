"""Batches by Grain over random access (host).

The batch of step s is a function of (seed, s) alone, so that a run resumes at any step:
the order of the shapes is shuffled again every epoch, the random draws for a shape
depend on its place in that order, and batches are formed before they are distributed
over workers.

Shape letters: b shapes of a batch, t query points.
"""

import collections
import resource
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grain
import jax
import numpy as np
from absl import flags
from jaxtyping import Int

from occnet_jax.data.source import Examples
from occnet_jax.types import Batch

Transform = Callable[[dict[str, Any], np.random.Generator], Batch]
Epoch = Int[np.ndarray, " e"] | None
READ_THREADS = 4
# Files that a process opens for itself, its network and its data, and for each worker.
OPEN_FILES, OPEN_FILES_OF_A_WORKER = 64, 16


def train_batches(
  source: Examples,
  transform: Transform,
  *,
  batch_size: int,
  seed: int,
  start: int,
  workers: int,
  part: tuple[int, int] = (0, 1),
  epoch: Epoch = None,
) -> Iterator[Batch]:
  """The endless batches of steps start, start + 1, ...; read ahead of their use.

  Args:
    source: examples by index.
    transform: (example, generator) -> arrays of one shape.
    batch_size: b. The last, partial batch of an epoch is filled from the next epoch.
    seed: seed of the order and of the draws.
    start: step of the first batch.
    workers: number of worker processes; 0 for threads of this process.
    part: (i, n) to yield only the i-th of n equal parts of every batch.
    epoch: indices of the examples in an epoch; None for each once.

  Raises:
    ValueError: the source is empty, n does not divide b, or the system lets a process
      open too few files for so many workers.
  """
  number, parts = part
  if batch_size % parts:
    raise ValueError(
      f"batch of {batch_size} shapes in {parts} processes; want a multiple: set "
      "config.train.batch_size"
    )
  size = batch_size // parts
  shapes = _batches(source, transform, batch_size=size, seed=seed, epoch=epoch)
  options = grain.ReadOptions(num_threads=READ_THREADS, prefetch_buffer_size=8)
  batches = shapes[start * parts + number :: parts].to_iter_dataset(options)
  if workers:
    allow_open_files(workers)
    batches = batches.mp_prefetch(
      grain.MultiprocessingOptions(num_workers=workers, per_worker_buffer_size=4)
    )
  return iter(batches)


def allow_open_files(workers: int) -> None:
  """Raises the number of files that this process may open to what its workers need.

  Raises:
    ValueError: the system allows fewer; a worker that cannot be started would end the
      run in errors of its end.
  """
  needed = OPEN_FILES + OPEN_FILES_OF_A_WORKER * workers
  soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
  if soft != resource.RLIM_INFINITY and soft < needed:
    if hard != resource.RLIM_INFINITY and hard < needed:
      raise ValueError(
        f"config.data.workers={workers} processes need about {needed} open files, but "
        f"the system allows {hard}; raise that (ulimit -n {needed}), or want fewer "
        "workers"
      )
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def read_batch(
  source: Examples,
  transform: Transform,
  *,
  batch_size: int,
  seed: int,
  step: int,
  epoch: Epoch = None,
) -> Batch:
  """The batch of one step, without reading ahead; arguments as of `train_batches`."""
  batches = _batches(source, transform, batch_size=batch_size, seed=seed, epoch=epoch)
  return batches[step]


def batch_indices(
  shapes: int, *, batch_size: int, seed: int, step: int, epoch: Epoch = None
) -> Int[np.ndarray, " b"]:
  """Indices of the shapes in the batch of a step, without reading any.

  Args:
    shapes: number of shapes in the split.
    batch_size, seed, step, epoch: arguments of `read_batch`.
  """
  return _batched(_shuffled_epochs(np.arange(shapes), seed, epoch), batch_size)[step]


def _batches(
  source: Examples,
  transform: Transform,
  *,
  batch_size: int,
  seed: int,
  epoch: Epoch,
) -> grain.MapDataset:
  """Batches by step.

  Raises:
    ValueError: the source is empty.
  """
  if not len(source):
    raise ValueError("the train split is empty; prepare more shapes")
  if not flags.FLAGS.is_parsed():  # Grain reads its absl flags, in any program
    flags.FLAGS.mark_as_parsed()
  shapes = _shuffled_epochs(source, seed, epoch)
  return _batched(shapes.random_map(transform), batch_size)


def _shuffled_epochs(source: Any, seed: int, epoch: Epoch) -> grain.MapDataset:
  """The source in an endless sequence, reshuffled every epoch."""
  order = source if epoch is None else epoch
  shapes = grain.MapDataset.source(order).seed(seed).shuffle().repeat()
  return shapes if epoch is None else shapes.map(lambda index: source[int(index)])


def _batched(shapes: grain.MapDataset, batch_size: int) -> grain.MapDataset:
  """The endless sequence in batches."""
  # It has no remainder, but Grain would round the number of batches of one shape up to
  # 2^63, which is no length.
  return shapes.batch(batch_size, drop_remainder=True)


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
    source, transform: arguments of `train_batches`.
    batch_size: b; the last batch is filled with copies of its last shape, so that all
      batches have the same shapes.
    seed: seed of the draws; shape i draws from (seed, i).
    limit: largest number of shapes, evenly spaced over the split; 0 for all.
    part: (i, n) to take only shapes i, i + n, ... of these.

  Yields:
    (batch, number of its shapes that are no copies). A part without a shape of its own
    gets one batch of which none counts.
  """
  number, parts = part
  chosen = evenly_spaced(len(source), limit)[number::parts]

  def shape(index: int) -> Batch:
    return transform(source[index], shape_rng(seed, index))

  def stack(shapes: list[Batch]) -> tuple[Batch, int]:
    padded = shapes + shapes[-1:] * (batch_size - len(shapes))
    return jax.tree.map(lambda *arrays: np.stack(arrays), *padded), len(shapes)

  if not len(chosen) and len(source):
    # A process without a shape of its own knows from this the names of the scores.
    yield stack([shape(0)])[0], 0
    return
  waiting: collections.deque = collections.deque()  # one batch is read ahead
  with ThreadPoolExecutor(READ_THREADS) as pool:
    for first in range(0, len(chosen), batch_size):
      indices = chosen[first : first + batch_size].tolist()
      waiting.append([pool.submit(shape, index) for index in indices])
      if len(waiting) > 1:
        yield stack([future.result() for future in waiting.popleft()])
    if waiting:
      yield stack([future.result() for future in waiting.popleft()])


def evenly_spaced(count: int, limit: int) -> np.ndarray:
  """All indices below `count`, or `limit` of them evenly spaced if that is fewer."""
  if not limit or limit >= count:
    return np.arange(count)
  return np.linspace(0, count - 1, limit).round().astype(int)


def shape_rng(seed: int, index: int) -> np.random.Generator:
  """The random generator of one shape outside training."""
  return np.random.default_rng([seed, index])
