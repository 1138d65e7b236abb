"""How fast examples come, and whether training waits for them.

  python -m benchmarks.loader --data=data/quickstart

Shapes a second from each placement (draws, points, cloud; a batch taken as soon as it
is there), beside the reference's way: one npz of points and one of the cloud opened for
every shape, in as many threads. Then steps a second of --config's network with batches
as they come over those with one batch again and again: the share that is left of the
rate. Ways take turns, --rounds times; medians. With the reference's network:

  python -m benchmarks.loader --data=data/quickstart --config=onet:pointcloud \
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

from occnet_jax.cli import process
from occnet_jax.data import loader
from occnet_jax.models import registry
from occnet_jax.train import loop, optimizers
from occnet_jax.train import state as state_lib
from occnet_jax.train import step as step_lib

PLACEMENTS = ("stream", "host", "device")


def configure(args: argparse.Namespace, placement: str) -> dict:
  name, *variant = args.config.split(":")
  config = importlib.import_module(f"configs.{name}").get_config(*variant).to_dict()
  if args.batch:
    config["train"]["batch_size"] = args.batch
  config["data"] |= {"dir": str(args.data), "residence": placement}
  config["data"]["workers"] = args.workers
  return config


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
  folder: pathlib.Path, count: int, config: dict, batches: int
) -> float:
  """Shapes a second by opening files, as the reference's fields do."""
  rng = np.random.default_rng(0)
  data = config["data"]

  def one(i: int) -> tuple:
    with np.load(folder / f"{i}_points.npz") as file:
      points, packed = file["points"], file["occupancies"]
    rows = rng.integers(len(points), size=data["points"])
    occupancies = np.unpackbits(packed)[: len(points)][rows]
    points = points[rows].astype(np.float32)
    with np.load(folder / f"{i}_pointcloud.npz") as file:
      surface, _ = file["points"].astype(np.float32), file["normals"]
    cloud = surface[rng.integers(len(surface), size=data["cloud_points"])]
    return points, occupancies, cloud

  size = config["train"]["batch_size"]
  order = rng.integers(count, size=batches * size).tolist()
  start = time.perf_counter()
  with ThreadPoolExecutor(loader.READ_THREADS) as pool:
    for first in range(0, len(order), size):
      shapes = list(pool.map(one, order[first : first + size]))
      [np.stack(arrays) for arrays in zip(*shapes, strict=True)]
  return len(order) / (time.perf_counter() - start)


def read(config: dict, data, batches: int) -> float:
  """Shapes a second by our loader."""
  endless = loop.train_batches(config, data, 0)
  for _ in range(8):  # workers start, the buffer fills and empties
    next(endless)
  start = time.perf_counter()
  for _ in itertools.islice(endless, batches):
    pass
  return batches * config["train"]["batch_size"] / (time.perf_counter() - start)


def train(config: dict, data, steps: int, *, real: bool) -> float:
  """Steps a second."""
  tau = config["model"]["tau"]
  mapped = registry.build(config["model"], tau=tau, axis_name=step_lib.AXIS)
  optimizer = optimizers.optimizer(config["optim"], config["train"]["steps"])
  batches = loop.train_batches(config, data, 0)
  first = next(batches)
  sample = data.gather_fn(data.device_arrays, first) if data.gather_fn else first
  method = registry.build(config["model"], tau=tau)
  state = state_lib.create(method, optimizer, sample, seed=0, ema=True)
  step = step_lib.data_parallel(
    step_lib.make_step(mapped, optimizer, ema_decay=0.99, see=data.gather_fn)
  )
  state, resident = step_lib.replicate(state), step_lib.replicate(data.device_arrays)
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
  parser.add_argument("--config", default="quickstart")
  parser.add_argument("--batch", type=int, default=0, help="shapes; 0 as configured")
  parser.add_argument("--placements", default=",".join(PLACEMENTS))
  parser.add_argument("--workers", type=int, default=0)
  parser.add_argument("--batches", type=int, default=100)
  parser.add_argument("--steps", type=int, default=150)
  parser.add_argument("--rounds", type=int, default=3)
  args = parser.parse_args()
  process.keep_freed_memory()  # as main.py does
  configs = {name: configure(args, name) for name in args.placements.split(",")}
  splits = {
    name: loop.place_train_split(config, loop.open_train_split(config))
    for name, config in configs.items()
  }
  rates: dict[str, list[float]] = {}
  first = next(iter(configs.values()))
  with tempfile.TemporaryDirectory() as folder:
    folder = pathlib.Path(folder)
    count = write_official(loop.open_train_split(first), 256, folder)
    for _ in range(args.rounds):
      rate = read_official(folder, count, first, args.batches // 4)
      rates.setdefault("npz a shape", []).append(rate)
      for name in configs:
        rates.setdefault(name, []).append(
          read(configs[name], splits[name], args.batches)
        )
  opened = statistics.median(rates["npz a shape"])
  for name, measured in rates.items():
    rate = statistics.median(measured)
    print(f"{name:12} {rate:9.0f} shapes/s {rate / opened:7.1f} times npz", flush=True)  # noqa: T201
  for name in configs:
    pairs = [
      [
        train(configs[name], splits[name], args.steps, real=real)
        for real in (True, False)
      ]
      for _ in range(args.rounds)
    ]
    real, synthetic = (statistics.median(each) for each in zip(*pairs, strict=True))
    print(  # noqa: T201
      f"{name:12} {real:7.2f} steps/s of {synthetic:.2f}: {real / synthetic:.2f}",
      flush=True,
    )


if __name__ == "__main__":
  main()
