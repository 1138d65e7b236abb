"""The paper's tables with every system trained alike, and its other experiments.

  python main.py --mode=prepare --config=configs/quickstart.py --config.prep.views=12 \
    --config.prep.view_side=64 --config.prep.out=data/tables
  python -m benchmarks.tables --data=data/tables --out=runs/tables --minutes=3

--part=table1 is single-image reconstruction (3D-R2N2, PSGN, Pixel2Mesh, AtlasNet, the
occupancy network), table2 that of clouds (3D-R2N2, PSGN, Deep Marching Cubes, AtlasNet
with squares and sphere, the occupancy network and one with three planes of local
features), figure4 representation power and generation unconditional samples and
interpolations (both by benchmarks.tasks, on data of its own). all is the two tables.

All systems are smaller than published (benchmarks/table_systems.py) and have the same
optimiser; each has as many steps as fit into --minutes of CPU time (all cores
together), which are those of the steps: reading data, validation, meshes and their
measures come on top. The test split's meshes are measured as the paper measures them.
Such short trainings show what a system learns first, not what it can reach.

Writes <out>/<table>.json and, where Embree is installed, <table>.png: one test shape of
each of --pictures categories, the observations above, the points of the truth below,
each system's reconstruction between them. Call it again to resume: a system that is
finished is not trained anew, one that was interrupted goes on from its checkpoint.
"""

import argparse
import csv
import json
import pathlib
import time
from typing import Any

import numpy as np

from benchmarks import machine, table_systems
from benchmarks.step_cost import measure_step
from benchmarks.table_systems import METRICS, TABLES
from occnet_jax import config as config_lib
from occnet_jax.cli import process, stages
from occnet_jax.data import batches, loader
from occnet_jax.evaluation import evaluate, reconstructions, resume_log, tables
from occnet_jax.files import atomic_write
from occnet_jax.geometry import rendering
from occnet_jax.viz import sheets

SIDE = 128  # pixels of a picture
CHECKS = 4  # validations, and checkpoints, of a run
PARTS = {  # parts that benchmarks.tasks trains, and its tasks
  "figure4": "autodecoder",
  "generation": "unconditional",
}


def configure(
  table: str, system: str, args: argparse.Namespace, steps: int = CHECKS
) -> dict[str, Any]:
  """The config of a system's run, as nested dicts."""
  fields = {
    "data.dir": str(args.data),
    "data.workers": 0,
    "test.samples": args.samples,
    "test.shapes": args.shapes,
  }
  return table_systems.configure(table, system, fields, steps, CHECKS)


def run(table: str, system: str, args: argparse.Namespace) -> dict[str, Any]:
  """Trains, generates and measures one system; its row, with those of categories.

  Raises:
    SystemExit: the row of an earlier call is of another budget.
  """
  workdir = args.out / folder(table, system)
  path = workdir.with_suffix(".row.json")
  budget = {"minutes": args.minutes, "samples": args.samples, "shapes": args.shapes}
  if path.exists():
    row = json.loads(path.read_text())
    if row["budget"] != budget:
      raise SystemExit(
        f"{path} has the budget {row['budget']}, want {budget}; give another --out, or "
        "delete the file and the directory of that name"
      )
    return row
  cost = workdir.with_suffix(".cost.json")
  seconds, parameters = measure_step(configure(table, system, args), cost)
  steps = CHECKS * max(round(60 * args.minutes / seconds / CHECKS), 1)
  config = configure(table, system, args, steps)
  spent = {}
  for name in ("train", "generate", "evaluate"):
    start = time.process_time()
    getattr(stages, name)(config, workdir)
    spent[name] = time.process_time() - start
  summary = read_summary(workdir / "evaluation" / "summary.csv")
  means = next(row for row in summary if row["category"] == tables.MEAN_OF_CLASSES)
  row = {
    "system": system,
    "budget": budget,
    "parameters": parameters,
    "steps": steps,
    "batch_size": config["train"]["batch_size"],
    "cpu_seconds_per_step": seconds,
    "cpu_seconds": spent,  # of this call; an interrupted one is not in them
    "meshes": means["meshes"],
    "empty": means["empty"],
    "missing": means["missing"],
    "means": {name: means.get(name) for name in METRICS},
    "categories": {
      row["category"]: {name: row.get(name) for name in METRICS}
      for row in summary
      if not row["category"].startswith("mean of")
    },
  }
  write_json(path, row)
  return row


def read_summary(path: pathlib.Path) -> list[dict[str, Any]]:
  """The rows of a summary: a category and figures."""
  with path.open(newline="", encoding="utf-8") as stream:
    return [
      {k: v if k == "category" else float(v) for k, v in row.items()}
      for row in csv.DictReader(stream)
    ]


def write_json(path: pathlib.Path, value: Any) -> None:
  with atomic_write(path) as scratch:
    scratch.write_text(json.dumps(value, indent=1) + "\n")


def folder(table: str, system: str) -> str:
  return f"{table}_{system}".replace(", ", "_").replace(" ", "_")


def draw(table: str, systems: list[str], args: argparse.Namespace) -> None:
  """Writes <table>.png, a column for a shape: observation, systems, truth."""
  config = config_lib.parse(configure(table, systems[0], args))
  shapes = stages.open_test_split(config)()
  chosen: dict[str, int] = {}  # the first test shape of each category
  for index in loader.evenly_spaced(len(shapes), args.shapes).tolist():
    chosen.setdefault(evaluate.shape_names(shapes[index])["category"], index)
  indices = list(chosen.values())[: args.pictures]
  transform = batches.evaluation_transform(config.data, points=1)
  rngs = [loader.shape_rng(config.seed, index) for index in indices]
  inputs = [
    transform(shapes[index], rng)["inputs"]
    for index, rng in zip(indices, rngs, strict=True)
  ]
  tiles = [sheets.tile(np.asarray(each), SIDE) for each in inputs]
  for system in systems:
    workdir = args.out / folder(table, system)
    rows = resume_log.read(workdir / evaluate.GENERATED)[1]
    by_index = {row["index"]: row for row in rows}
    tiles += [
      sheets.tile(reconstructions.read(workdir, by_index[index], "ply"), SIDE)
      for index in indices
    ]
  truths = [shapes[index]["pointcloud"]["points"][:3000] for index in indices]
  tiles += [sheets.tile(points.astype(float), SIDE) for points in truths]
  sheets.write_tiles(args.out / f"{table}.png", tiles, columns=len(indices))


def show(value: float | None) -> str:
  return "    –" if value is None else f"{value:5.3f}"


def print_table(table: str, rows: list[dict[str, Any]]) -> None:
  """Means over classes beside the published ones, then Chamfer by class."""
  published = table_systems.PUBLISHED[table]
  heads = "IoU   Ch.x10 normals F-score"
  heads = f"{'parameters':>11}{'steps':>7}  {heads}   | paper: IoU, Ch., normals"
  print(f"{table:18}{heads}")  # noqa: T201
  for row in rows:
    ours = "  ".join(show(row["means"][name]) for name in METRICS)
    paper = "  ".join(map(show, published.get(row["system"], (None,) * 3)))
    print(  # noqa: T201
      f"{row['system']:18}{row['parameters']:11,}{row['steps']:7}  {ours}   | {paper}"
    )
  print("\nChamfer-L1 x10 by class")  # noqa: T201
  names = sorted(rows[0]["categories"])
  print(f"{'':18}" + " ".join(f"{name[:8]:>8}" for name in names))  # noqa: T201
  for row in rows:
    cells = (row["categories"][name]["chamfer_l1_x10"] for name in names)
    print(f"{row['system']:18}" + " ".join(f"{show(cell):>8}" for cell in cells))  # noqa: T201


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--data", type=pathlib.Path, required=True)
  parser.add_argument("--out", type=pathlib.Path, required=True)
  parser.add_argument("--part", choices=[*TABLES, *PARTS, "all"], default="all")
  parser.add_argument("--minutes", type=float, default=3.0, help="of CPU time a run")
  parser.add_argument("--samples", type=int, default=100_000, help="points of a mesh")
  parser.add_argument("--shapes", type=int, default=0, help="test shapes; 0 for all")
  parser.add_argument("--pictures", type=int, default=6, help="shapes of a picture")
  parser.add_argument("--systems", nargs="+", help="some of a table; all by default")
  args = parser.parse_args()
  process.keep_freed_memory()  # as main.py does
  for table in TABLES if args.part == "all" else [args.part]:
    rows = []
    for system in args.systems or TABLES[table]:
      print(f"{table}: {system}", flush=True)  # noqa: T201
      rows.append(run(table, system, args))
      result = {"table": table, "machine": machine.describe(), "rows": rows}
      write_json(args.out / f"{table}.json", result)
    print_table(table, rows)
    if args.pictures and rendering.is_available():
      draw(table, [row["system"] for row in rows], args)


if __name__ == "__main__":
  main()
