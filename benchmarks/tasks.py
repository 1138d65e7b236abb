"""Every task of the paper, trained small on procedural shapes, in one table.

  python -m benchmarks.tasks --out runs/tasks

Single image, several images, point cloud, voxels (and the voxel input itself), the
unconditional model and the code table; test split of 39 shapes (the code table: of
training shapes, as in the paper). It takes half an hour on two CPU cores; call it again
to resume.
"""

import argparse
import json
import pathlib

import numpy as np
import tqdm

from benchmarks import record, small
from occnet_jax.data import inputs, source
from occnet_jax.evaluation import evaluate, metrics, resume_log, tables
from occnet_jax.geometry import grids

# Steps for about equal time of training on two cores.
TASKS = {
  "image": {"train__steps": 1000},
  "images": {"train__steps": 250, "data__image_views": 4},
  "pointcloud": {"train__steps": 5000, "data__random_stretch": 0.5},
  "voxels": {"train__steps": 350, "data__points": 256},
  "unconditional": {"train__steps": 4000, "data__near_fraction": 0.0},
  "autodecoder": {"train__steps": 6000, "test__shapes": 39, "val__shapes": 39},
}
METRICS = ("iou", "chamfer_l1_x10", "normal_consistency", "f_score_1pct")


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("runs/tasks"))
  parser.add_argument("--only", nargs="*", choices=TASKS, default=list(TASKS))
  args = record.parse(parser)
  lines = [f"{'task':22} {'steps':>6} {'train s':>8}  " + "  ".join(METRICS)]
  table = []
  for variant in args.only:
    config = small.make(variant, args.out / "data", **TASKS[variant])
    workdir = args.out / variant
    small.run(config, workdir)
    taken = {"steps": config["train"]["steps"]}
    taken |= {"train s": small.seconds(workdir, "train")}
    steps = f"{config['train']['steps']:6} {small.seconds(workdir, 'train'):8.0f}"
    if variant == "unconditional":
      measures = (workdir / "evaluation" / "generation.json").read_text()
      table.append({"task": variant, **taken, **json.loads(measures)})
      lines.append(f"{variant:22} {steps}  {' '.join(measures.split())}")
      continue
    rows = resume_log.read(workdir / "evaluation" / "measured.jsonl")[1]
    lines.append(f"{variant:22} {steps}  {_cells(rows)}")
    table.append({"task": variant, **taken, **_means(rows)})
    if variant == "voxels":
      rows = _inputs(config)
      lines.append(f"{'(the voxel input)':22} {'':15}  {_cells(rows)}")
      table.append({"task": "(the voxel input)", **_means(rows)})
  print("\n".join(lines))  # noqa: T201
  record.save(args, tasks=table)


def _cells(rows: list[tables.Row]) -> str:
  return "  ".join(f"{x:{len(name)}.3f}" for name, x in _means(rows).items())


def _means(rows: list[tables.Row]) -> dict[str, float]:
  """Means of classes."""
  means = {row["category"]: row for row in tables.summarise(rows)}
  return {name: means[tables.MEAN_OF_CLASSES][name] for name in METRICS}


def _inputs(config: dict) -> list[tables.Row]:
  """The voxel grids measured as if they were reconstructions (paper, Table 3)."""
  fields = evaluate.FIELDS | {"voxels": True}
  shapes = source.open_split(config["data"]["dir"], config["test"]["split"], fields)
  rows = []
  for index in tqdm.trange(len(shapes), desc="voxel inputs", unit="shape"):
    shape = shapes[index]
    side = config["data"]["voxel_side"]
    occupied = inputs.unpack_voxels(shape["voxels"], side) > 0.5
    points = shape["points"]["points"].astype(np.float64)
    figures = metrics.evaluate_mesh(
      *grids.cube_surface(occupied),
      points=points,
      occupancies=np.unpackbits(shape["points"]["occupancies"])[: len(points)],
      surface=shape["pointcloud"]["points"].astype(np.float64),
      normals=shape["pointcloud"]["normals"].astype(np.float64),
      samples=config["test"]["samples"],
      seed=index,
    )
    rows.append({"category": str(shape["category"]), "id": str(shape["id"]), **figures})
  return rows


if __name__ == "__main__":
  main()
