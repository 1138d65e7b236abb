"""The paper's Table 2, reconstruction from clouds, with every system trained alike.

  python -m benchmarks.tables --data=data/quickstart --out=runs/tables --minutes=4

3D-R2N2, PSGN, AtlasNet (squares and sphere), the occupancy network and one with three
planes of local features, from 300 noisy points of procedural shapes. All are smaller
than published and have the same optimiser and batch; each has as many steps as fit into
--minutes of CPU time (all cores together). The test split's meshes are measured as the
paper measures them, and stand beside the figures that the paper gives for ShapeNet.
Such short trainings show what a system learns first, not what it can reach.

Writes tables.json and, where Embree is installed, tables.png: one test shape of each of
--pictures categories, the points of the truth above, then each system's reconstruction.
Call it again to resume.
"""

import argparse
import csv
import json
import pathlib
from typing import Any

from benchmarks.learning import PLANES
from benchmarks.step_cost import measure_step
from configs import atlasnet, psgn, quickstart, r2n2
from occnet_jax import config as config_lib
from occnet_jax.cli import process, stages
from occnet_jax.data import loader
from occnet_jax.evaluation import evaluate, reconstructions, resume_log, tables
from occnet_jax.files import atomic_write
from occnet_jax.geometry import rendering
from occnet_jax.viz import sheets

_ENCODER = {
  "model.encoder": "pointnet_resnet",
  "model.encoder_hidden_size": 64,
  "model.c_dim": 128,
  "model.fourier_octaves": 5,
}
_ATLASNET = {**_ENCODER, "model.hidden_size": 64, "data.points": 1000}
# Recipe, and what makes it small.
SYSTEMS: dict[str, tuple[Any, str, dict[str, Any]]] = {
  "3D-R2N2": (r2n2, "pointcloud", {**_ENCODER, "model.channels": (64, 32, 16, 8)}),
  "PSGN": (psgn, "pointcloud", {**_ENCODER, "model.hidden_size": 256}),
  "AtlasNet, squares": (atlasnet, "squares", _ATLASNET),
  "AtlasNet, sphere": (atlasnet, "sphere", {**_ATLASNET, "model.n_points": 1000}),
  "ONet": (quickstart, "paper", {}),
  "three planes": (quickstart, "patches", PLANES),
}
PUBLISHED = {  # IoU, Chamfer-L1 x10 and normal consistency of the paper's Table 2
  "3D-R2N2": (0.565, 0.169, 0.719),
  "PSGN": (None, 0.202, None),
  "ONet": (0.762, 0.087, 0.891),
}
METRICS = ("iou", "chamfer_l1_x10", "normal_consistency", "f_score_1pct")
SIDE = 160  # pixels of a picture
CHECKS = 4  # validations, and checkpoints, of a run


def configure(system: str, args: argparse.Namespace, steps: int) -> dict[str, Any]:
  """The config of a system's run, as nested dicts."""
  recipe, variant, changes = SYSTEMS[system]
  config = recipe.get_config(variant)
  config.optim.update(quickstart.get_config("paper").optim)
  if system == "three planes":
    config.optim.update(quickstart.get_config("patches").optim)
  config.update_from_flattened_dict(
    {
      "data.dir": str(args.data),
      "data.cloud_points": 300,
      "train.batch_size": 8,
      "train.steps": steps,
      "train.validate_every": steps // CHECKS,
      "train.save_every": steps // CHECKS,
      "train.preview_shapes": 0,
      "val.points": 2048,
      "test.samples": args.samples,
      "test.shapes": args.shapes,
      "generation.upsampling_steps": 2,
      **changes,
      "data.random_stretch": 0.0,  # grids of cells cannot be stretched
    }
  )
  return config.to_dict()


def run(system: str, args: argparse.Namespace) -> dict[str, Any]:
  """Trains, generates and measures one system; its row, with those of categories."""
  workdir = args.out / folder(system)
  cost = workdir.with_suffix(".json")
  seconds, parameters = measure_step(configure(system, args, CHECKS), cost)
  steps = CHECKS * max(round(60 * args.minutes / seconds / CHECKS), 1)
  config = configure(system, args, steps)
  for stage in (stages.train, stages.generate, stages.evaluate):
    stage(config, workdir)
  summary = read_summary(workdir / "evaluation" / "summary.csv")
  means = next(row for row in summary if row["category"] == tables.MEAN_OF_CLASSES)
  return {
    "system": system,
    "parameters": parameters,
    "steps": steps,
    "cpu_seconds_per_step": seconds,
    "means": {name: means.get(name) for name in METRICS},
    "categories": {
      row["category"]: {name: row.get(name) for name in METRICS}
      for row in summary
      if not row["category"].startswith("mean of")
    },
  }


def read_summary(path: pathlib.Path) -> list[dict[str, Any]]:
  """The rows of a summary: a category and figures."""
  with path.open(newline="", encoding="utf-8") as stream:
    return [
      {k: v if k == "category" else float(v) for k, v in row.items()}
      for row in csv.DictReader(stream)
    ]


def draw(args: argparse.Namespace) -> None:
  """Writes tables.png: a row for the truth and each system, a column for a shape."""
  config = config_lib.parse(configure(args.systems[0], args, CHECKS))
  shapes = stages.open_test_split(config)()
  chosen: dict[str, int] = {}  # the first test shape of each category
  for index in loader.evenly_spaced(len(shapes), args.shapes).tolist():
    chosen.setdefault(evaluate.shape_names(shapes[index])["category"], index)
  indices = list(chosen.values())[: args.pictures]
  tiles = [
    sheets.tile(shapes[index]["pointcloud"]["points"][:3000].astype(float), SIDE)
    for index in indices
  ]
  for system in args.systems:
    workdir = args.out / folder(system)
    rows = resume_log.read(workdir / evaluate.GENERATED)[1]
    by_index = {row["index"]: row for row in rows}
    tiles += [
      sheets.tile(reconstructions.read(workdir, by_index[index], "ply"), SIDE)
      for index in indices
    ]
  sheets.write_tiles(args.out / "tables.png", tiles, columns=len(indices))


def folder(system: str) -> str:
  return system.replace(", ", "_").replace(" ", "_")


def show(value: float | None) -> str:
  return "    –" if value is None else f"{value:5.3f}"


def print_table(rows: list[dict[str, Any]]) -> None:
  """Means over classes beside the paper's figures, then IoU, or Chamfer, by class."""
  heads = "IoU   Ch.x10 normals F-score"
  print(f"{'':18}{'parameters':>11}{'steps':>7}  {heads}   | paper: IoU, Ch., normals")  # noqa: T201
  for row in rows:
    ours = "  ".join(show(row["means"][name]) for name in METRICS)
    paper = "  ".join(map(show, PUBLISHED.get(row["system"], (None,) * 3)))
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
  parser.add_argument("--minutes", type=float, default=4.0, help="of CPU time a run")
  parser.add_argument("--samples", type=int, default=100_000, help="points of a mesh")
  parser.add_argument("--shapes", type=int, default=0, help="test shapes; 0 for all")
  parser.add_argument("--pictures", type=int, default=6, help="shapes on tables.png")
  parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=list(SYSTEMS))
  args = parser.parse_args()
  process.keep_freed_memory()  # as main.py does
  rows = []
  for system in args.systems:
    rows.append(run(system, args))
    with atomic_write(args.out / "tables.json") as scratch:
      scratch.write_text(json.dumps({"minutes": args.minutes, "rows": rows}, indent=1))
  print_table(rows)
  if rendering.is_available():
    draw(args)


if __name__ == "__main__":
  main()
