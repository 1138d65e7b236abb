"""Quality of a shape by the size of its representation: neural fields and voxel grids.

  python -m benchmarks.single --out runs/single

Every variant of configs/single.py at several sizes, fitted to procedural shapes with
the same number of points a step, and voxel grids of 32^3 to 128^3 cells whose occupancy
is that of their centres. A field counts its trained parameters, a grid its cells. IoU
is measured at points that no field was trained on. Writes single.csv, and single.png
where matplotlib is installed (tests/requirements.txt). Call it again to resume.
"""

import argparse
import importlib.util
import pathlib
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
import tqdm

import occnet_jax
from benchmarks import record, representation, small
from configs import single
from data_prep import sources
from data_prep.sampling import example, inside_test, voxels
from occnet_jax.data import source
from occnet_jax.evaluation import evaluate, metrics, resume_log, tables

SIDES = (32, 64, 128)
SIZES: dict[str, list[dict[str, Any]]] = {
  "fourier": [{"model.hidden_size": size} for size in (32, 64, 128)],
  "hashgrid": [{"model.hash_log2_entries": size} for size in (10, 12, 14)],
  "multires": [
    {"model.levels": levels, "model.level_features": 4} for levels in (2, 3, 4)
  ],
  "siren": [{"model.hidden_size": size} for size in (32, 64, 128)],
}


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("runs/single"))
  parser.add_argument("--shapes", nargs="+", default=["chair", "lamp"])
  parser.add_argument("--encodings", nargs="+", choices=SIZES, default=list(SIZES))
  parser.add_argument("--steps", type=int, default=1000)
  parser.add_argument("--points", type=int, default=8192, help="points a step")
  args = record.parse(parser)
  entries = sources.collect("synthetic", args.out, per_category=1, seed=0, workers=0)
  chosen = [entry for entry in entries if entry.category in args.shapes]
  if len(chosen) != len(args.shapes):
    names = ", ".join(entry.category for entry in entries)
    raise SystemExit(f"--shapes {' '.join(args.shapes)}: want some of {names}")
  rows = [row for entry in chosen for row in measure(entry, args)]
  table = summarise(rows)
  tables.write_csv(args.out / "single.csv", table)
  print(f"{'representation':14} {'parameters':>10} {'IoU':>6}")  # noqa: T201
  for row in table:
    print(f"{row['representation']:14} {row['parameters']:10} {row['iou']:6.3f}")  # noqa: T201
  record.save(args, single=table)
  if importlib.util.find_spec("matplotlib"):
    draw(args.out / "single.png", table)


def measure(entry: Any, args: argparse.Namespace) -> Iterator[dict[str, Any]]:
  """The representation, its size and its IoU, for all representations of one mesh."""
  data = args.out / entry.category / "data"
  for encoding in args.encodings:
    for number, sizes in enumerate(SIZES[encoding]):
      config = make_config(encoding, entry.path, data, args, sizes)
      workdir = args.out / entry.category / f"{encoding}_{number}"
      small.run(config, workdir)
      (row,) = resume_log.read(workdir / "evaluation" / "measured.jsonl")[1]
      leaves = jax.tree.leaves(occnet_jax.restore(workdir).variables["params"])
      count = sum(leaf.size for leaf in leaves)
      yield {"representation": encoding, "parameters": count, "iou": row["iou"]}
  (shape,) = list(source.open_split(data, "test", evaluate.FIELDS))
  points = shape["points"]["points"].astype(np.float64)
  inside = np.unpackbits(shape["points"]["occupancies"])[: len(points)].astype(bool)
  options = single.get_config().prep.solid.to_dict()
  contains = inside_test.make_inside_test(
    example.load_watertight(entry.path, options)[0]
  )
  for side in tqdm.tqdm(SIDES, desc="voxel grids", unit="grid"):
    grid = np.unpackbits(voxels.voxelize(contains, side=side))[: side**3]
    iou = metrics.iou(representation.look_up(grid, side, points), inside)
    yield {"representation": "voxels", "parameters": side**3, "iou": iou}


def make_config(
  encoding: str,
  mesh: pathlib.Path,
  data: pathlib.Path,
  args: argparse.Namespace,
  sizes: dict[str, Any],
) -> dict[str, Any]:
  """A variant of configs/single.py for one mesh, as nested dicts."""
  config = single.get_config(encoding)
  # SIREN has as many points on the surface as in the cube.
  points = args.points // 2 if encoding == "siren" else args.points
  config.update_from_flattened_dict(
    {
      "prep.source": f"folder:{mesh}",
      "prep.out": str(data),
      "data.points": points,
      "train.steps": args.steps,
      "train.save_every": args.steps,
      "train.validate_every": args.steps,
      **sizes,
    }
  )
  return config.to_dict()


def summarise(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
  """Means over shapes, by representation and size."""
  groups: dict[tuple[str, int], list[float]] = {}
  for row in rows:
    key = row["representation"], row["parameters"]
    groups.setdefault(key, []).append(row["iou"])
  return [
    {"representation": name, "parameters": count, "iou": float(np.mean(ious))}
    for (name, count), ious in groups.items()
  ]


def draw(path: pathlib.Path, table: list[dict[str, Any]]) -> None:
  """IoU over the number of parameters, a curve for each representation."""
  import matplotlib

  matplotlib.use("Agg")
  from matplotlib import pyplot

  figure, axes = pyplot.subplots(figsize=(5, 3.4), layout="constrained")
  for name in dict.fromkeys(row["representation"] for row in table):
    own = [row for row in table if row["representation"] == name]
    counts, ious = [row["parameters"] for row in own], [row["iou"] for row in own]
    axes.plot(counts, ious, "--s" if name == "voxels" else "-o", label=name)
  axes.set_xscale("log")
  axes.set(xlabel="parameters, or cells", ylabel="IoU")
  axes.legend()
  figure.savefig(path, dpi=150)


if __name__ == "__main__":
  main()
