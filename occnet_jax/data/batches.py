"""The splits of a run as batches, from its settings (host)."""

import itertools
from collections.abc import Iterator
from typing import Any

from occnet_jax.config import DataSettings, Settings
from occnet_jax.data import crops, inputs, loader, placement, source, transforms
from occnet_jax.types import Batch


def open_train(data: DataSettings) -> source.Examples:
  """The training split in its files."""
  fields = transforms.fields(
    inputs.make(data),
    near_fraction=data.near_fraction,
    stretch=data.random_stretch,
  )
  return source.open_mixture(data.dir, data.mixture, "train", fields)


def place_train(data: DataSettings, examples: source.Examples) -> placement.TrainData:
  """The training split where config.data.placement wants it."""
  draws = make_draws(data, data.points, train=True)
  placed = placement.place(data.placement, examples, inputs.make(data), draws)
  return placed._replace(epoch=source.epoch_of(examples))


def train_batches(
  settings: Settings,
  split: placement.TrainData,
  start: int,
  part: tuple[int, int] = (0, 1),
) -> Iterator[Batch]:
  """One process' part of the batches of steps start, start + 1, ... of a run."""
  workers = settings.data.workers if split.placement == "stream" else 0
  return loader.train_batches(
    split.examples,
    split.transform,
    batch_size=settings.train.batch_size,
    seed=settings.seed,
    start=start,
    workers=workers,
    part=part,
    epoch=split.epoch,
  )


def read_host_batches(
  settings: Settings, examples: source.Examples, start: int
) -> Iterator[Batch]:
  """Whole batches with all arrays in them, read from the files in this process."""
  data = settings.data
  draws = make_draws(data, data.points, train=True)
  transform = placement.HostTransform(inputs.make(data), draws)
  for step in itertools.count(start):
    yield loader.read_batch(
      examples,
      transform,
      batch_size=settings.train.batch_size,
      seed=settings.seed,
      step=step,
      epoch=source.epoch_of(examples),
    )


def shapes_of_batch(settings: Settings, shapes: int, step: int) -> list[dict[str, Any]]:
  """The shapes in the batch of a step, as {"index": 3, "category": "a", "id": "b"}.

  Args:
    settings: settings of the run.
    shapes: size of the training split.
    step: number of the step, from 0.
  """
  data, fields = settings.data, {"category": True, "id": True}
  names = source.open_mixture(data.dir, data.mixture, "train", fields)
  indices = loader.batch_indices(
    shapes,
    batch_size=settings.train.batch_size,
    seed=settings.seed,
    step=step,
    epoch=source.epoch_of(names),
  )
  return [
    {"index": i, "category": str(shape["category"]), "id": str(shape["id"])}
    for i, shape in ((i, names[i]) for i in indices.tolist())
  ]


def validation_batches(
  settings: Settings, batch_size: int, part: tuple[int, int] = (0, 1)
) -> Iterator[tuple[Batch, int]]:
  """The validation split, the same each time; see `loader.evaluation_batches`."""
  data, val = settings.data, settings.val
  fields = transforms.fields(inputs.make(data))
  return loader.evaluation_batches(
    source.open_mixture(data.dir, data.mixture, val.split, fields),
    evaluation_transform(data, val.points, targets=True),
    batch_size=batch_size,
    seed=settings.seed,
    limit=val.shapes,
    part=part,
  )


def evaluation_transform(
  data: DataSettings, points: int, *, targets: bool = False
) -> loader.Transform:
  """A function from a stored example to the arrays of one shape that is evaluated.

  Args:
    data: settings of the data.
    points: number of labelled points of the shape; 0 for all.
    targets: whether the arrays hold data.targets, and are of a window where data.crop
      describes one and of a scan where data.scan does, for the method's score.
  """
  if not targets:
    plain = data.scan._replace(points=())
    data = data._replace(targets=(), crop=(), scan=plain)
  draws = make_draws(data, points)._replace(scans=targets)
  return placement.HostTransform(inputs.make(data), draws)


def make_draws(
  data: DataSettings, points: int, *, train: bool = False
) -> transforms.Draws:
  """The settings of the random draws.

  Args:
    data: settings of the data.
    points: number of labelled points of a shape; 0 for all.
    train: whether points near the surface, stretch and random views take part.

  Raises:
    ValueError: all points of a window, whose number changes from one to the next.
  """
  window = crops.make(data.crop)
  if window and not points:
    raise ValueError(
      "config.data.crop is set, but the number of points (config.data.points, "
      "config.val.points) is 0 for all of them; want a number, because windows hold "
      "unlike numbers"
    )
  varied = {
    "near_fraction": data.near_fraction,
    "sampling": data.sampling,
    "stretch": data.random_stretch,
  }
  return transforms.Draws(
    points=points,
    train=train,
    float16_noise=data.float16_noise,
    window=window,
    scans=train,
    **(varied if train else {}),
  )
