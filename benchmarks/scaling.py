"""What large jobs cost, and where more machines stop helping: a simulation.

  python -m benchmarks.scaling                  # ShapeNet's training, a million scans
  python -m benchmarks.scaling --training-only  # without measuring scans here

Training: the reference's 300,000 steps by data parallelism, a batch of 64 shapes on
each device. A step lasts as long as its slowest device, then gradients are averaged
around a ring, then the next batch must be there. The step's time, the loader's rate and
the number of parameters are measured ones (benchmarks/results/rates.json, with their
commands); bandwidths, the jitter of a device and the cores of a host are options.

Scans: seconds of single reconstructions and of a process's start are measured here and
drawn again for a million scans. Workers take every n-th scan, as `--shard=i/n` does, or
the next one of a queue, as Beam, Dask or Ray do.
"""

import argparse
import heapq
import json
import pathlib
import subprocess
import sys
import time

import numpy as np

import occnet_jax
from benchmarks import record
from benchmarks.accelerator import torus_clouds

RATES = pathlib.Path(__file__).parent / "results" / "rates.json"
PAPER_STEPS = 300_000
SIMULATED_STEPS = 400
HALF = 0.5  # efficiency below which more machines are said not to help


def ring_seconds(
  parameters: int, devices: int, devices_a_host: int, args: argparse.Namespace
) -> float:
  """Seconds to average float32 gradients around a ring of devices.

  Every device sends and receives 2 (d - 1) / d of the gradients in 2 (d - 1) messages.
  """
  if devices == 1:
    return 0.0
  gigabytes = args.network if devices > devices_a_host else args.link
  sent = 4 * parameters * 2 * (devices - 1) / devices
  return sent / (1e9 * gigabytes) + 2 * (devices - 1) * 1e-6 * args.latency


def simulate_training(
  step: float, ring: float, wait: float, devices: int, jitter: float
) -> float:
  """Mean seconds of a step of several devices.

  Args:
    step: seconds of a step of one device.
    ring: seconds to average the gradients.
    wait: seconds in which a host has its next batches ready.
    devices: number of devices.
    jitter: standard deviation of the logarithm of a device's step.
  """
  rng = np.random.default_rng(0)
  slowest = step * np.exp(jitter * rng.normal(size=(SIMULATED_STEPS, devices))).max(1)
  return float(np.maximum(slowest + ring, wait).mean())


def simulate_workers(
  seconds: np.ndarray, start: float, workers: int, *, queue: bool
) -> float:
  """Seconds until the last of some workers has ended.

  Args:
    seconds: (n,) of each item.
    start: seconds until a worker works.
    workers: their number.
    queue: whether a worker takes the next item when it is free, or every n-th item.
  """
  if not queue:
    return start + max(seconds[worker::workers].sum() for worker in range(workers))
  free = [start] * min(workers, len(seconds))
  for item in seconds:
    heapq.heapreplace(free, free[0] + item)
  return max(free)


def print_training(args: argparse.Namespace) -> list[dict]:
  """Hours of one device, and efficiency by the number of devices; the rows."""
  rows = []
  rates = json.loads(RATES.read_text())
  loader = rates["loader"]["shapes_per_s_of_two_cores"]
  per_core = {name: rate / 2 for name, rate in loader.items()}
  for kind, measured in rates["training"].items():
    for task, rate in measured["steps_per_s"].items():
      hours = PAPER_STEPS / rate / 3600
      print(f"\n{kind}, {task}: 300,000 steps in {hours:,.1f} hours of one device")  # noqa: T201
      limit = None
      for devices in (1, 2, 4, 8, 16, 64, 256):
        parameters, a_host = rates["parameters"][task], measured["devices_a_host"]
        ring = ring_seconds(parameters, devices, a_host, args)
        shapes = measured["batch"] * min(devices, a_host)
        waits = [shapes / (r * args.cores) for r in per_core.values()]
        steps = [
          simulate_training(1 / rate, ring, wait, devices, args.jitter)
          for wait in waits
        ]
        shares = [1 / rate / each for each in steps]
        if limit is None and max(shares) < HALF:
          limit = devices
        by_placement = dict(zip(per_core, shares, strict=True))
        job = {"machine": kind, "task": task, "devices": devices, "ring ms": 1e3 * ring}
        rows.append(
          job | {f"efficiency, {p}": each for p, each in by_placement.items()}
        )
        text = ", ".join(f"{name} {share:.2f}" for name, share in by_placement.items())
        print(f"  {devices:4} devices: ring {1e3 * ring:7.2f} ms; efficiency {text}")  # noqa: T201
      if limit:
        print(f"  from {limit} devices on half of the time or more is waiting")  # noqa: T201
  return rows


def measure_scans(count: int) -> tuple[np.ndarray, float]:
  """Seconds of single reconstructions, and of a process until its first mesh."""
  model = occnet_jax.from_pretrained("scan")
  clouds, taken = torus_clouds(count + 1), []
  for cloud in clouds:
    start = time.perf_counter()
    model.reconstruct(cloud)
    taken.append(time.perf_counter() - start)
  code = (
    "import occnet_jax; from benchmarks.accelerator import torus_clouds; "
    "occnet_jax.from_pretrained('scan').reconstruct(torus_clouds(1)[0])"
  )
  start = time.perf_counter()
  subprocess.run([sys.executable, "-c", code], check=True)
  return np.array(taken[1:]), time.perf_counter() - start - taken[-1]


def print_scans(args: argparse.Namespace) -> list[dict]:
  """Hours for a million scans by the number of workers, each like this; the rows."""
  rows = []
  taken, start = measure_scans(args.scans_measured)
  print(  # noqa: T201
    f"\na million scans: {taken.mean():.2f} s each here ({taken.min():.2f} to "
    f"{taken.max():.2f} of {len(taken)}), {start:.1f} s until a process works"
  )
  seconds = np.random.default_rng(0).choice(taken, args.scans)
  ideal = seconds.sum()
  for workers in (1, 10, 100, 1_000, 10_000, 100_000):
    shards, queue = (
      simulate_workers(seconds, start, workers, queue=queue) for queue in (False, True)
    )
    print(  # noqa: T201
      f"  {workers:7,} workers: {shards / 3600:9.2f} h by shards (efficiency "
      f"{ideal / workers / shards:.2f}), {queue / 3600:9.2f} h by a queue "
      f"({ideal / workers / queue:.2f})"
    )
    hours = {"hours by shards": shards / 3600, "hours by a queue": queue / 3600}
    rows.append({"workers": workers, **hours})
  return rows


def main() -> None:
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("--link", type=float, default=150, help="GB/s within a host")
  parser.add_argument("--network", type=float, default=12.5, help="GB/s of a host")
  parser.add_argument("--latency", type=float, default=20, help="us of a message")
  parser.add_argument("--jitter", type=float, default=0.02, help="of a device's step")
  parser.add_argument("--cores", type=int, default=16, help="of a host, for the loader")
  parser.add_argument("--scans", type=int, default=1_000_000)
  parser.add_argument("--scans-measured", type=int, default=24)
  parser.add_argument("--training-only", action="store_true")
  args = record.parse(parser)
  tables = {"training": print_training(args)}
  if not args.training_only:
    tables["scans"] = print_scans(args)
  record.save(args, **tables)


if __name__ == "__main__":
  main()
