"""Steps and seconds until a validation IoU is reached, by recipe of optimisation.

  python -m benchmarks.recipes --data=data/quickstart_paper --out=runs/recipes

One network, that of configs/quickstart.py:paper, on one data set of clouds, with
several recipes: the reference's Adam at a constant 1e-4, and those of this
project, whose schedules are --steps long. The reference gets --patience times as many
steps. IoU is measured every --every steps at the best threshold, on --val points per
shape, of averaged variables where the recipe has them. Seconds count training steps
alone, at the median rate of all runs of the recipe. Seeds change the initial values and
all draws. Call it again to resume.
"""

import argparse
import importlib
import pathlib
import statistics

from benchmarks import record
from occnet_jax.cli import process
from occnet_jax.train import loop, metric_log

OURS = {"optim.warmup_steps": 50, "optim.ema_decay": 0.99}
RECIPES = {
  "reference: Adam 1e-4": {"optim.name": "adam", "optim.learning_rate": 1e-4},
  "Adam 1e-3, cosine, EMA": {
    **OURS,
    "optim.name": "adam",
    "optim.learning_rate": 1e-3,
    "optim.schedule": "cosine",
  },
  "Muon 4e-3, cosine, EMA": {
    **OURS,
    "optim.name": "muon",
    "optim.learning_rate": 4e-3,
    "optim.schedule": "cosine",
  },
  "Muon 4e-3, WSD, EMA": {
    **OURS,
    "optim.name": "muon",
    "optim.learning_rate": 4e-3,
    "optim.schedule": "wsd",
  },
}


def configure(args: argparse.Namespace, recipe: str, seed: int, steps: int) -> dict:
  """The quickstart with another recipe, as nested dicts."""
  config = importlib.import_module("configs.quickstart").get_config("paper")
  base = importlib.import_module("configs.base").get_config()
  config.optim = base.optim
  config.update_from_flattened_dict(
    {
      **RECIPES[recipe],
      "seed": seed,
      "data.dir": str(args.data),
      "train.steps": steps,
      "train.validate_every": args.every,
      "train.save_every": steps,
      "train.log_every": 50,
      "train.preview_shapes": 0,
      "val.points": args.val,
    }
  )
  return config.to_dict()


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--data", type=pathlib.Path, required=True)
  parser.add_argument("--out", type=pathlib.Path, required=True)
  parser.add_argument("--steps", type=int, default=1500)
  parser.add_argument("--patience", type=int, default=4)
  parser.add_argument("--every", type=int, default=250)
  parser.add_argument("--seeds", type=int, default=2)
  parser.add_argument("--val", type=int, default=4096)
  parser.add_argument("--targets", default="0.3,0.4,0.5")
  args = record.parse(parser)
  process.keep_freed_memory()  # as main.py does
  targets = [float(target) for target in args.targets.split(",")]
  print(f"{'recipe':24} {'best':>13}  steps (seconds) to IoU {args.targets}, by seed")  # noqa: T201
  table = []
  for recipe in RECIPES:
    steps = args.steps * (args.patience if recipe.startswith("reference") else 1)
    curves, rates = [], []
    for seed in range(args.seeds):
      name = "".join(c if c.isalnum() else "_" for c in recipe)
      workdir = args.out / f"{name}_{seed}"
      loop.train(configure(args, recipe, seed, steps), workdir)
      rows = metric_log.read(workdir / "logs" / "metrics.jsonl")
      curves.append(list(zip(*metric_log.curve(rows, "val/iou"), strict=True)))
      rates += metric_log.curve(rows, "train/steps_per_second")[1]
    rate = statistics.median(rates)
    best = " ".join(f"{max(iou for _, iou in curve):6.3f}" for curve in curves)
    cells = []
    for target in targets:
      first = [next((s for s, iou in c if iou >= target), None) for c in curves]
      cells.append(
        ", ".join("never" if s is None else f"{s} ({s / rate:.0f})" for s in first)
      )
    print(f"{recipe:24} {best:>13}  {'; '.join(cells)}", flush=True)  # noqa: T201
    reached = {
      f"steps (s) to IoU {target}": cell
      for target, cell in zip(targets, cells, strict=True)
    }
    table.append({"recipe": recipe, "best IoU": " ".join(best.split()), **reached})
  record.save(args, recipes=table)


if __name__ == "__main__":
  main()
