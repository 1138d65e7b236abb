"""Which system makes the best meshes of scans after the same CPU time.

  python main.py --mode=prepare --config=configs/scan.py
  python -m benchmarks.scan_systems --out=runs/scan_systems --minutes=8

The data, the draws of scans and the optimiser of configs/scan.py (but the code has
that of quickstart.py:paper, and oriented points alone learn from true normals) with

  code         one code for the whole shape, from 300 points, as in the first paper
  planes       three planes, as in Convolutional Occupancy Networks
  planes_knn   the same, and the nearest input points at each query
  grid_knn     a grid of 32^3 cells, and the nearest input points
  ifnet        the quickstart's IF-Net: grids of three sides of the points
  oriented     oriented points and a Poisson solve: the recipe's own network

Each has as many steps as fit into --minutes of CPU time of its steps (all cores
together), and its schedule ends there. --data, --hollow and --mine name the prepared
data: procedural shapes, hollow ones, and others. IoU is of meshes of --shapes
test shapes of each, evenly spread and not trained on, sampled as benchmarks.scans does.
Call it again to resume.
"""

import argparse
import json
import pathlib
import statistics
import zlib
from typing import Any

import numpy as np

import occnet_jax
from benchmarks import record, scans
from benchmarks.learning import PLANES
from benchmarks.step_cost import measure_step
from configs import quickstart, scan
from occnet_jax.cli import process
from occnet_jax.data.loader import evenly_spaced
from occnet_jax.files import atomic_write
from occnet_jax.train import loop

CHECKS = 4  # validations, and checkpoints, of a run
INPUTS = ("300 points", "3,000 points", "30 % cut off", "one view")
_PLANES = PLANES | {"data.points": 1024}
_GRID = {**_PLANES, "model.features": ("grid",), "model.unet3d_filters": 16}
# The recipe, its variant, and what is changed there; None for that of configs/scan.py.
SYSTEMS: dict[str, tuple[str | None, dict[str, Any]]] = {
  "code": ("paper", {"data.scan.points": (300, 300)}),
  "planes": ("patches", _PLANES),
  "planes_knn": ("patches", {**_PLANES, "model.knn": 8}),
  "grid_knn": ("patches", {**_GRID, "model.knn": 8}),
  "ifnet": ("local", {"optim.ema_batches": 16}),
  "oriented": (None, {}),
}


def configure(
  system: str, args: argparse.Namespace, steps: int = CHECKS
) -> dict[str, Any]:
  """The config of a run, as nested dicts."""
  variant, changes = SYSTEMS[system]
  recipe = scan.get_config()
  config = recipe
  if variant is not None:
    config = quickstart.get_config(variant)
    if variant != "paper":  # whose kernels are few
      config.optim = recipe.optim.copy_and_resolve_references()
    config.update_from_flattened_dict(changes)
    for name in ("points", "near_fraction", "random_stretch", "cloud_points"):
      config.data[name] = recipe.data[name]
    own = config.data.scan.points
    config.data.scan = recipe.data.scan.copy_and_resolve_references()
    config.data.scan.points = own or recipe.data.scan.points
    config.generation = recipe.generation.copy_and_resolve_references()
  config.data.dir = str(args.data)
  config.data.mixture = tuple((str(folder), 1) for folder in (args.hollow, args.mine))
  every = max(steps // CHECKS, 1)
  config.train.update(
    steps=steps, batch_size=8, save_every=every, validate_every=every, preview_shapes=0
  )
  config.val.update(points=4096, shapes=96)
  config.data.workers = 0
  return config.to_dict()


def train(system: str, args: argparse.Namespace) -> dict[str, Any]:
  """Trains one system, or resumes; its steps and parameters."""
  cost = args.out / f"{system}.cost.json"
  seconds, parameters = measure_step(configure(system, args), cost)
  steps = CHECKS * max(round(60 * args.minutes / seconds / CHECKS), 1)
  loop.train(configure(system, args, steps), args.out / system)
  return {"system": system, "parameters": parameters, "steps": steps}


def measure(
  system: str, steps: int, args: argparse.Namespace
) -> dict[str, dict[str, float]]:
  """Mean IoU of meshes by data set, of each kind of input."""
  path = args.out / f"{system}_{steps}_steps_{args.shapes}_shapes.json"
  means = json.loads(path.read_text()) if path.exists() else {}
  model = None
  for folder in (args.data, args.hollow, args.mine):
    own = means.setdefault(folder.name, {})
    missing = [kind for kind in INPUTS if kind not in own]
    if not missing:
      continue
    model = model or occnet_jax.restore(args.out / system)
    truths = scans.load_held_out(folder)
    names = [sorted(truths)[i] for i in evenly_spaced(len(truths), args.shapes)]
    for kind in missing:
      own[kind] = statistics.mean(
        iou(model, kind, truths[name], name) for name in names
      )
      with atomic_write(path) as scratch:
        scratch.write_text(json.dumps(means, indent=1) + "\n")
  return means


def iou(model: occnet_jax.Model, kind: str, truth: scans.Truth, name: str) -> float:
  """IoU of one shape's mesh; 0 where there is none."""
  seen = scans.observe(truth, scans.INPUTS[kind], zlib.crc32(name.encode()))
  made = scans.measure(lambda o: model.reconstruct(o.cloud), seen, truth)
  return float(np.nan_to_num(made["iou"]))


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  add = parser.add_argument
  add("--data", type=pathlib.Path, default="data/scan", help="procedural shapes")
  add("--hollow", type=pathlib.Path, default="data/scan-hollow", help="hollow ones")
  add("--mine", type=pathlib.Path, default="data/scan-furniture", help="others")
  add("--out", type=pathlib.Path, required=True)
  add("--minutes", type=float, default=8.0, help="of CPU time a system")
  add("--shapes", type=int, default=12, help="test shapes of each; 0 for all")
  add("--systems", nargs="+", choices=SYSTEMS, default=list(SYSTEMS))
  args = record.parse(parser)
  process.keep_freed_memory()  # as main.py does
  rows = []
  for system in args.systems:
    row = train(system, args)
    for folder, ious in measure(system, row["steps"], args).items():
      rows.append({**row, "data": folder, **ious})
      shown = " | ".join(f"{ious[kind]:.3f}" for kind in INPUTS)
      print(f"| {system} | {row['steps']:,} | {folder} | {shown} |")  # noqa: T201
  record.save(args, scan_systems=rows)


if __name__ == "__main__":
  main()
