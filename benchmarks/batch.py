"""Shapes per second from clouds to meshes, one after another and in a stream.

  python -m benchmarks.batch --workdir=runs/quickstart

The inputs are the network's inputs of test shapes; resolution and method are those of
the run's config. Medians over --rounds of the ways that take turns: `reconstruct`,
`reconstruct_batch`, and `reconstruct_batch` with --together shapes per call; the first
and the last also with the whole extraction on the device. Each runs once before, to
compile.
"""

import argparse
import pathlib
import statistics
import time

import jax

import occnet_jax
from benchmarks import record
from benchmarks.test_inputs import read_test_inputs


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
  parser.add_argument("--workdir", type=pathlib.Path, required=True)
  parser.add_argument("--shapes", type=int, default=16)
  parser.add_argument("--threads", type=int, help="shapes under way; 2 a device")
  parser.add_argument("--together", type=int, default=4, help="shapes of one call")
  parser.add_argument("--rounds", type=int, default=3)
  args = record.parse(parser)
  model = occnet_jax.restore(args.workdir)
  clouds = list(read_test_inputs(model, args.shapes).values())
  settings = {"normalise": False, "on_empty": "empty"}

  def one_by_one(backend: str) -> list:
    return [model.reconstruct(each, backend=backend, **settings) for each in clouds]

  def stream(together: int, backend: str) -> list:
    several = {"threads": args.threads, "together": together, "backend": backend}
    return list(model.reconstruct_batch(clouds, **several, **settings))

  ways = {
    "one by one": lambda: one_by_one("host"),
    "stream": lambda: stream(1, "host"),
    f"{args.together} a call": lambda: stream(args.together, "host"),
    "device": lambda: one_by_one("device"),
    f"device, {args.together} a call": lambda: stream(args.together, "device"),
  }
  rates: dict[str, list[float]] = {name: [] for name in ways}
  for round_ in range(args.rounds + 1):
    for name, reconstruct in ways.items():
      start = time.perf_counter()
      meshes = reconstruct()
      if round_:
        rates[name].append(len(meshes) / (time.perf_counter() - start))
  devices = jax.local_devices()
  print(f"{len(devices)} x {devices[0].device_kind}, {model.config['name']}")  # noqa: T201
  rows = [
    {"way": name, "shapes/s": statistics.median(values)}
    for name, values in rates.items()
  ]
  for name, values in rates.items():
    print(f"{name:20} {statistics.median(values):8.2f} shapes/s")  # noqa: T201
  record.save(args, batch=rows)


if __name__ == "__main__":
  main()
