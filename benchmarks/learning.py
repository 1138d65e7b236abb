"""IoU against minutes of CPU time, by the kind of latent that a network learns.

  python -m benchmarks.learning --data=data/quickstart --out=runs/learning --minutes=4

The quickstart's data, optimiser and loss with a global code, one plane, three planes, a
grid of 32^3 cells, three planes with the nearest input points, the grid of patches of
quickstart.py:patches, and the quickstart's own network, IF-Net in small. Each has as
many steps as fit into --minutes of CPU time (all cores together), so that its schedule
ends there; the CPU time of a step is measured first, after compilation and without
data, so a busy machine changes it little. IoU is measured on the validation split at
the best threshold, eight times on the way, of averaged variables. --seeds is for the
variants of --repeated, or all; seeds change the initial values and all draws. Writes
learning.csv, and learning.png where matplotlib is installed (tests/requirements.txt).
Call it again to resume.
"""

import argparse
import importlib.util
import pathlib
import statistics
from typing import Any

from benchmarks import record
from benchmarks.step_cost import measure_step
from configs import quickstart
from occnet_jax.cli import process
from occnet_jax.evaluation import tables
from occnet_jax.train import loop, metric_log

LOCAL = {  # one form of encoder, decoder and batch for all that is not a code
  "data.points": 512,
  "data.random_stretch": 0.5,
  "model.plane_resolution": 64,
  "model.read_at": "nodes",
  "model.c_dim": 32,
  "model.encoder_blocks": 3,
  "model.unet_filters": 16,
  "model.unet3d_norm": True,
  "model.unet3d_patch": 1,
  "model.unet3d_merge": "concat",
  "model.decoder_blocks": 5,
  "train.batch_size": 8,
}
PLANES = {**LOCAL, "model.features": ("xz", "xy", "yz")}
# The variant of configs/quickstart.py, and what it changes there.
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
  "code": ("paper", {}),
  "plane": ("patches", {**LOCAL, "model.features": ("xz",)}),
  "planes": ("patches", PLANES),
  "grid": (
    "patches",
    {**LOCAL, "model.features": ("grid",), "model.unet3d_filters": 16},
  ),
  "planes_knn": ("patches", {**PLANES, "model.knn": 8}),
  "patches": ("patches", {}),
  "ifnet": ("local", {"optim.ema_batches": 16}),
}
VALIDATIONS = 8  # on the way of a run


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--data", type=pathlib.Path, required=True)
  parser.add_argument("--out", type=pathlib.Path, required=True)
  parser.add_argument("--minutes", type=float, default=4.0, help="of CPU time a run")
  parser.add_argument("--seeds", type=int, default=1)
  parser.add_argument("--repeated", nargs="+", choices=VARIANTS, default=list(VARIANTS))
  parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
  args = record.parse(parser)
  process.keep_freed_memory()  # as main.py does
  rows = []
  for variant in args.variants:
    path = args.out / f"{variant}.json"
    seconds, parameters = measure_step(configure(variant, args), path)
    for seed in range(args.seeds if variant in args.repeated else 1):
      for step, iou in train(variant, seed, seconds, args):
        row = {"variant": variant, "parameters": parameters, "seed": seed}
        rows.append(row | {"step": step, "minutes": step * seconds / 60, "iou": iou})
    tables.write_csv(args.out / "learning.csv", rows)
  record.save(args, learning=print_table(rows))
  if importlib.util.find_spec("matplotlib"):
    draw(args.out / "learning.png", rows)


def configure(
  variant: str, args: argparse.Namespace, seed: int = 0, steps: int = VALIDATIONS
) -> dict[str, Any]:
  """The config of a run, as nested dicts."""
  name, changes = VARIANTS[variant]
  config = quickstart.get_config(name)
  config.optim.update(quickstart.get_config().optim)
  config.update_from_flattened_dict(
    {
      "seed": seed,
      "data.dir": str(args.data),
      "train.steps": steps,
      "train.validate_every": steps // VALIDATIONS,
      "train.save_every": steps,
      **changes,
    }
  )
  return config.to_dict()


def train(
  variant: str, seed: int, seconds: float, args: argparse.Namespace
) -> list[tuple[int, float]]:
  """Steps and validation IoU of a run."""
  every = max(round(60 * args.minutes / seconds / VALIDATIONS), 1)
  workdir = args.out / f"{variant}_{seed}"
  loop.train(configure(variant, args, seed, VALIDATIONS * every), workdir)
  rows = metric_log.read(workdir / "logs" / "metrics.jsonl")
  return list(zip(*metric_log.curve(rows, "val/iou"), strict=True))


def curves(rows: list[dict[str, Any]]) -> dict[str, dict[float, list[float]]]:
  """IoU of every seed by minutes, by variant."""
  by_variant: dict[str, dict[float, list[float]]] = {}
  for row in rows:
    own = by_variant.setdefault(row["variant"], {})
    own.setdefault(row["minutes"], []).append(row["iou"])
  return by_variant


def print_table(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
  """Prints mean IoU over seeds after a quarter, half and all of the time; the rows."""
  table = []
  print(f"{'variant':12} {'parameters':>10} {'steps':>6}   1/4   1/2     1")  # noqa: T201
  for variant, curve in curves(rows).items():
    own = [row for row in rows if row["variant"] == variant]
    means = [statistics.mean(ious) for ious in curve.values()]
    parts = {f"IoU, 1/{n} of the time": means[len(means) // n - 1] for n in (4, 2, 1)}
    cells = "".join(f"{iou:6.3f}" for iou in parts.values())
    steps = max(row["step"] for row in own)
    sizes = {"parameters": own[0]["parameters"], "steps": steps}
    table.append({"variant": variant, **sizes, **parts})
    print(f"{variant:12} {own[0]['parameters']:10} {steps:6}{cells}")  # noqa: T201
  return table


def draw(path: pathlib.Path, rows: list[dict[str, Any]]) -> None:
  """Mean IoU over CPU minutes, a curve for each variant, with the range of seeds."""
  import matplotlib

  matplotlib.use("Agg")
  from matplotlib import pyplot

  figure, axes = pyplot.subplots(figsize=(6, 3.4), layout="constrained")
  for variant, curve in curves(rows).items():
    minutes, ious = list(curve), list(curve.values())
    (line,) = axes.plot(minutes, list(map(statistics.mean, ious)), "-o", label=variant)
    low, high = list(map(min, ious)), list(map(max, ious))
    axes.fill_between(minutes, low, high, color=line.get_color(), alpha=0.2)
  axes.set(xlabel="minutes of CPU time", ylabel="IoU")
  axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
  figure.savefig(path, dpi=150)


if __name__ == "__main__":
  main()
