"""Rate at which examples are read, and the time that training waits for them.

  python -m benchmarks.loader --data=data/quickstart_paper

First shapes per second from each placement (draws, points, cloud; a batch is taken as
soon as it is ready), compared with one npz file of points and one of the cloud that are
opened for every shape, as the reference does, in as many threads. Then the relative
step rate: steps per second of --config's network with batches as they come, over those
with one repeated batch. The ways take turns, --rounds times; medians. With the
reference's network:

  python -m benchmarks.loader --data=data/quickstart_paper --config=onet:pointcloud \
    --batch=8 --steps=15 --rounds=2
"""

import argparse
import importlib
import itertools
import pathlib
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor

import jax
import numpy as np

from benchmarks import record
from occnet_jax import config as config_lib
from occnet_jax.cli import process
from occnet_jax.config import Settings
from occnet_jax.data import batches as batches_lib
from occnet_jax.data import loader
from occnet_jax.models import registry
from occnet_jax.train import optimizers
from occnet_jax.train import state as state_lib
from occnet_jax.train import step as step_lib

PLACEMENTS = ("stream", "host", "device")


def configure(args: argparse.Namespace, placement: str) -> Settings:
  name, *variant = args.config.split(":")
  config = importlib.import_module(f"configs.{name}").get_config(*variant)
  if args.batch:
    config.train.batch_size = args.batch
  config.data.update(dir=str(args.data), placement=placement, workers=args.workers)
  return config_lib.parse(config.to_dict())


def write_official(examples, count: int, folder: pathlib.Path) -> int:
  """Some shapes as the reference's files."""
  count = min(count, len(examples))
  for i in range(count):
    labelled, surface = examples[i]["points"], examples[i]["pointcloud"]["points"]
    np.savez(folder / f"{i}_points.npz", **labelled)
    np.savez(
      folder / f"{i}_pointcloud.npz", points=surface, normals=np.zeros_like(surface)
    )
  return count


def read_official(
  folder: pathlib.Path, count: int, config: Settings, batches: int
) -> float:
  """Shapes a second by opening files, as the reference's fields do."""
  rng = np.random.default_rng(0)
  data = config.data

  def one(i: int) -> tuple:
    with np.load(folder / f"{i}_points.npz") as file:
      points, packed = file["points"], file["occupancies"]
    rows = rng.integers(len(points), size=data.points)
    occupancies = np.unpackbits(packed)[: len(points)][rows]
    points = points[rows].astype(np.float32)
    with np.load(folder / f"{i}_pointcloud.npz") as file:
      surface, _ = file["points"].astype(np.float32), file["normals"]
    cloud = surface[rng.integers(len(surface), size=data.cloud_points)]
    return points, occupancies, cloud

  size = config.train.batch_size
  order = rng.integers(count, size=batches * size).tolist()
  start = time.perf_counter()
  with ThreadPoolExecutor(loader.READ_THREADS) as pool:
    for first in range(0, len(order), size):
      shapes = list(pool.map(one, order[first : first + size]))
      [np.stack(arrays) for arrays in zip(*shapes, strict=True)]
  return len(order) / (time.perf_counter() - start)


def read(config: Settings, split, batches: int) -> float:
  """Shapes a second by our loader."""
  source = batches_lib.train_batches(config, split, 0)
  for _ in range(8):  # workers start, the buffer fills and empties
    next(source)
  start = time.perf_counter()
  for _ in itertools.islice(source, batches):
    pass
  return batches * config.train.batch_size / (time.perf_counter() - start)


def train(config: Settings, split, steps: int, *, real: bool) -> float:
  """Steps a second."""
  mapped = registry.build(config.model, axis_name=step_lib.AXIS)
  optimizer = optimizers.make(config.optim, config.train.steps)
  batches = batches_lib.train_batches(config, split, 0)
  first = next(batches)
  sample = split.gather_fn(split.device_arrays, first) if split.gather_fn else first
  method = registry.build(config.model)
  state = state_lib.create(method, optimizer, sample, seed=0, ema=True)
  step = step_lib.data_parallel(
    step_lib.make_step(mapped, optimizer, ema_decay=0.99, gather_fn=split.gather_fn)
  )
  state, resident = step_lib.replicate(state), step_lib.replicate(split.device_arrays)
  source = batches if real else itertools.repeat(first)
  source = step_lib.stack_batches(source, 1, jax.local_device_count())
  for number in range(steps + 8):
    if number == 8:
      jax.block_until_ready(state)
      start = time.perf_counter()
    state, _ = step(state, next(source), np.int32(number), resident)
  jax.block_until_ready(state)
  return steps / (time.perf_counter() - start)


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--data", type=pathlib.Path, required=True)
  parser.add_argument("--config", default="quickstart:paper")
  parser.add_argument("--batch", type=int, default=0, help="shapes; 0 as configured")
  parser.add_argument("--placements", default=",".join(PLACEMENTS))
  parser.add_argument("--workers", type=int, default=0)
  parser.add_argument("--batches", type=int, default=100)
  parser.add_argument("--steps", type=int, default=150)
  parser.add_argument("--rounds", type=int, default=3)
  args = record.parse(parser)
  process.keep_freed_memory()  # as main.py does
  configs = {name: configure(args, name) for name in args.placements.split(",")}
  splits = {
    name: batches_lib.place_train(config.data, batches_lib.open_train(config.data))
    for name, config in configs.items()
  }
  rates: dict[str, list[float]] = {}
  first = next(iter(configs.values()))
  with tempfile.TemporaryDirectory() as folder:
    folder = pathlib.Path(folder)
    count = write_official(batches_lib.open_train(first.data), 256, folder)
    for _ in range(args.rounds):
      rate = read_official(folder, count, first, args.batches // 4)
      rates.setdefault("npz a shape", []).append(rate)
      for name in configs:
        rates.setdefault(name, []).append(
          read(configs[name], splits[name], args.batches)
        )
  reading, stepping = [], []
  opened = statistics.median(rates["npz a shape"])
  for name, values in rates.items():
    rate = statistics.median(values)
    print(f"{name:12} {rate:9.0f} shapes/s {rate / opened:7.1f} times npz", flush=True)  # noqa: T201
    reading.append({"way": name, "shapes/s": rate, "times npz": rate / opened})
  for name in configs:
    pairs = [
      [
        train(configs[name], splits[name], args.steps, real=real)
        for real in (True, False)
      ]
      for _ in range(args.rounds)
    ]
    real, synthetic = (statistics.median(each) for each in zip(*pairs, strict=True))
    rates_of = {"steps/s": real, "of one batch": synthetic, "share": real / synthetic}
    stepping.append({"placement": name, **rates_of})
    print(  # noqa: T201
      f"{name:12} {real:7.2f} steps/s of {synthetic:.2f}: {real / synthetic:.2f}",
      flush=True,
    )
  record.save(args, reading=reading, stepping=stepping)


if __name__ == "__main__":
  main()
