"""Seconds from a command to its first mesh, cold and with what a call before kept.

  python -m benchmarks.startup

Each call is a process of its own: the import of the package, the help of the command,
and `occnet reconstruct` of 3,000 noisy points of a tube. "cold" has an empty folder in
place of ~/.cache, "warm" that of a call before. Medians over --rounds.
"""

import argparse
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np
import trimesh

from benchmarks import record

PYTHON = sys.executable
IMPORT = [PYTHON, "-c", "import occnet_jax"]
HELP = [PYTHON, "-m", "occnet_jax", "--help"]


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
  parser.add_argument("--rounds", type=int, default=3)
  parser.add_argument("--model", default="scan")
  args = record.parse(parser)
  measured: dict[str, list[tuple[float, float]]] = {}
  with tempfile.TemporaryDirectory() as directory:
    folder = pathlib.Path(directory)
    np.savetxt(folder / "scan.xyz", noisy_tube(3000))
    reconstruct = [PYTHON, "-m", "occnet_jax", "reconstruct", str(folder / "scan.xyz")]
    reconstruct += ["-o", str(folder / "mesh.glb"), f"--model={args.model}"]
    for number in range(args.rounds):
      cache = folder / f"cache{number}"  # a new one, so that its first call is cold
      calls = {"import": IMPORT, "help": HELP, "cold": reconstruct, "warm": reconstruct}
      for name, command in calls.items():
        measured.setdefault(name, []).append(seconds(command, cache))
  rows = []
  for name, times in measured.items():
    wall, cpu = (statistics.median(each) for each in zip(*times, strict=True))
    rows.append({"call": name, "s": wall, "CPU s": cpu})
    print(f"{name:8} {wall:6.2f} s {cpu:6.2f} CPU s")  # noqa: T201
  record.save(args, startup=rows)


def noisy_tube(count: int) -> np.ndarray:
  """Points (count, 3) of a tube of radii 0.3 and 0.5, with noise of 0.003."""
  tube = trimesh.creation.annulus(0.3, 0.5, 0.6)
  points = trimesh.sample.sample_surface(tube, count, seed=0)[0]
  return points + np.random.default_rng(0).normal(scale=0.003, size=points.shape)


def seconds(command: list[str], cache: pathlib.Path) -> tuple[float, float]:
  """Wall and CPU seconds of a process whose cache is this folder."""
  env = {**os.environ, "XDG_CACHE_HOME": str(cache)}
  env.pop("JAX_COMPILATION_CACHE_DIR", None)
  before, start = os.times(), time.perf_counter()
  subprocess.run(command, env=env, check=True, capture_output=True)
  wall, after = time.perf_counter() - start, os.times()
  own = after.children_user + after.children_system
  return wall, own - before.children_user - before.children_system


if __name__ == "__main__":
  main()
