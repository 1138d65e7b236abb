"""The paper's tables with every system trained alike, and its other experiments.

  python main.py --mode=prepare --config=configs/quickstart.py --config.prep.views=12 \
    --config.prep.view_side=64 --config.prep.out=data/tables
  python -m benchmarks.tables --data=data/tables --out=runs/tables --minutes=3

--part=table1 is single-image reconstruction (3D-R2N2, PSGN, Pixel2Mesh, AtlasNet, the
occupancy network), table2 that of clouds (3D-R2N2, PSGN, Deep Marching Cubes, AtlasNet
with squares and sphere, the occupancy network and one with three planes of local
features), figure4 representation power, and generation unconditional samples and
interpolations, with the networks of benchmarks.tasks. --photos=FOLDER adds
meshes of photographs (section 4.5) by the image systems, but for Pixel2Mesh, which
wants cameras.

All systems are smaller than published (benchmarks/table_systems.py) and have the same
optimiser; each has as many steps as fit into --minutes of CPU time (all cores
together), which are those of the steps: reading data, validation, meshes and their
measures come on top. The test split's meshes are measured as the paper measures them.
Such short trainings show what a system learns first, not what it can reach. --seeds=3
trains each of a table three times, with other initial weights and draws, and prints
means with the least and the most.

Writes <out>/<table>.json and, where Embree is installed, <table>.png: one test shape of
each of --pictures categories, the observations above, the points of the truth below,
each system's reconstruction between them. --render puts the tables of
benchmarks/results into docs/results.md. Call it again to resume: a system that is
finished is not trained again, and one that was interrupted continues from its
checkpoint.
"""

import argparse
import csv
import json
import pathlib
import time
from typing import Any

import numpy as np

from benchmarks import (
  machine,
  representation,
  small,
  table_page,
  table_systems,
  tasks,
)
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
TASKS = {"figure4": "autodecoder", "generation": "unconditional"}
PARTS = (*TABLES, *TASKS)
INTERPOLATED = 8  # meshes on the way between two shapes
RESULTS = pathlib.Path(__file__).parent / "results"
PAGE = RESULTS.parents[1] / "docs" / "results.md"


def configure(
  table: str,
  system: str,
  args: argparse.Namespace,
  steps: int = CHECKS,
  seed: int = 0,
) -> dict[str, Any]:
  """The config of a system's run, as nested dicts."""
  fields = {
    "seed": seed,
    "data.dir": str(args.data),
    "data.workers": 0,
    "test.samples": args.samples,
    "test.shapes": args.shapes,
  }
  return table_systems.configure(table, system, fields, steps, CHECKS)


def run(
  table: str, system: str, args: argparse.Namespace, seed: int = 0
) -> dict[str, Any]:
  """Trains, generates and measures one system; its row, with those of categories.

  Raises:
    SystemExit: the row of an earlier call is of another budget.
  """
  workdir = args.out / folder(table, system, seed)
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
  cost = args.out / f"{folder(table, system)}.cost.json"  # of all seeds
  seconds, parameters = measure_step(configure(table, system, args), cost)
  steps = CHECKS * max(round(60 * args.minutes / seconds / CHECKS), 1)
  config = configure(table, system, args, steps, seed)
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


def folder(table: str, system: str, seed: int = 0) -> str:
  name = f"{table}_{system}".replace(", ", "_").replace(" ", "_")
  return f"{name}_seed{seed}" if seed else name


def merge(rows: list[dict[str, Any]]) -> dict[str, Any]:
  """The rows of a system's seeds as one, with means; `of_seeds` has each one's."""
  parts = [row["categories"] for row in rows]
  return rows[0] | {
    "means": average([row["means"] for row in rows]),
    "categories": {name: average([part[name] for part in parts]) for name in parts[0]},
    "of_seeds": [row["means"] for row in rows],
    **{name: sum(row[name] for row in rows) for name in ("meshes", "empty", "missing")},
  }


def average(figures: list[dict[str, float | None]]) -> dict[str, float | None]:
  """The mean of each figure; None for one that a system does not have."""
  kept = {name: [each[name] for each in figures] for name in figures[0]}
  return {
    name: None if None in values else round(float(np.mean(values)), 6)
    for name, values in kept.items()
  }


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


def run_table(table: str, args: argparse.Namespace) -> None:
  """All systems of a table, then its file, its picture and its text."""
  rows = []
  for system in args.systems or TABLES[table]:
    print(f"{table}: {system}", flush=True)  # noqa: T201
    rows.append(merge([run(table, system, args, k) for k in range(args.seeds)]))
    result = {"table": table, "machine": machine.describe(), "rows": rows}
    write_json(args.out / f"{table}.json", result)
  print(table_page.text(result))  # noqa: T201
  if args.pictures and rendering.is_available():
    draw(table, [row["system"] for row in rows], args)
  if args.photos and table == "table1":
    reconstruct_photos([row["system"] for row in rows], args)


def reconstruct_photos(systems: list[str], args: argparse.Namespace) -> None:
  """Meshes of a folder of photographs by all systems that need no camera (4.5)."""
  for system in systems:
    if system != "Pixel2Mesh":
      target = args.out / "photos" / folder("table1", system)
      workdir = args.out / folder("table1", system)
      stages.reconstruct(workdir, str(args.photos), str(target))


def run_task(part: str, args: argparse.Namespace) -> None:
  """Figure 4 or generation: a task of benchmarks.tasks at the same budget."""
  task = TASKS[part]
  fields = tasks.TASKS[task] | {"test__samples": args.samples}
  config = small.make(task, args.data, **fields)
  cost = args.out / f"{part}.cost.json"
  seconds, parameters = measure_step(config, cost)
  steps = max(round(60 * args.minutes / seconds), 1)
  config = small.make(task, args.data, **fields | {"train__steps": steps})
  for stage in (stages.train, stages.generate, stages.evaluate):
    stage(config, args.out / task)
  result = {
    "part": part,
    "machine": machine.describe(),
    "minutes": args.minutes,
    "parameters": parameters,
    "steps": steps,
  }
  if part == "figure4":
    result["rows"] = representation.compare(config, args.out)
  else:
    measures = args.out / task / "evaluation" / "generation.json"
    result["measures"] = json.loads(measures.read_text())
    stages.interpolate(config, args.out / task, INTERPOLATED)
  write_json(args.out / f"{part}.json", result)
  print(json.dumps(result, indent=1))  # noqa: T201


def render() -> None:
  """Puts the tables of benchmarks/results into docs/results.md."""
  for table in TABLES:
    path = RESULTS / f"{table}.json"
    if path.exists():
      table_page.replace(PAGE, table, table_page.text(json.loads(path.read_text())))


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--data", type=pathlib.Path, help="prepared data, with views")
  parser.add_argument("--out", type=pathlib.Path, help="directory of all runs")
  parser.add_argument("--part", choices=[*PARTS, "all"], default="all")
  parser.add_argument("--photos", type=pathlib.Path, help="folder, by image systems")
  parser.add_argument("--render", action="store_true", help="write docs/results.md")
  parser.add_argument("--minutes", type=float, default=3.0, help="of CPU time a run")
  parser.add_argument("--seeds", type=int, default=1, help="runs of each of a table")
  parser.add_argument("--samples", type=int, default=100_000, help="points of a mesh")
  parser.add_argument("--shapes", type=int, default=0, help="test shapes; 0 for all")
  parser.add_argument("--pictures", type=int, default=6, help="shapes of a picture")
  parser.add_argument("--systems", nargs="+", help="some of a table; all by default")
  args = parser.parse_args()
  process.keep_freed_memory()  # as main.py does
  if args.render:
    render()
    return
  if not (args.data and args.out):
    parser.error("want --data and --out, or --render")
  for part in PARTS if args.part == "all" else [args.part]:
    (run_table if part in TABLES else run_task)(part, args)


if __name__ == "__main__":
  main()
