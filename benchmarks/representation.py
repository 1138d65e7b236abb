"""Representation power: a code table's IoU beside that of voxel grids (Figure 4).

  python -m benchmarks.tasks --out runs/tasks --only autodecoder
  python -m benchmarks.representation --out runs/tasks

For the training shapes that the first command measured: IoU of the network's meshes,
whose size has nothing to do with a resolution, and of grids of 8^3 to 128^3 cells whose
occupancy is that of their centres. Writes representation.csv, and representation.png
where matplotlib is installed (tests/requirements.txt).
"""

import argparse
import importlib.util
import pathlib
from typing import Any

import jax
import numpy as np
import tqdm

import occnet_jax
from benchmarks import record, small, tasks
from data_prep.sampling import inside_test, voxels
from data_prep.watertight import solid as solid_lib
from occnet_jax.data import source
from occnet_jax.evaluation import evaluate, metrics, resume_log, tables
from occnet_jax.geometry import frames, mesh_io
from occnet_jax.geometry.solids import Solid

SIDES = (8, 16, 32, 64, 128)


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("runs/tasks"))
  args = record.parse(parser)
  out = args.out
  config = small.make("autodecoder", out / "data", **tasks.TASKS["autodecoder"])
  record.save(args, representation=compare(config, out))


def compare(config: dict[str, Any], out: pathlib.Path) -> list[dict[str, Any]]:
  """The rows of representation.csv, which it writes with its picture.

  Args:
    config: of the code table's run.
    out: directory of that run, as benchmarks.tasks makes it.

  Raises:
    SystemExit: there is no such run.
  """
  rows = resume_log.read(out / "autodecoder" / "evaluation" / "measured.jsonl")[1]
  if not rows:
    raise SystemExit(f"{out}: run benchmarks.tasks --only autodecoder first")
  shapes = source.open_split(config["data"]["dir"], "train", evaluate.FIELDS)
  ious = {side: [] for side in SIDES}
  meshes = pathlib.Path(config["data"]["dir"]) / "meshes"
  for row in tqdm.tqdm(rows, desc="voxel grids", unit="shape"):
    shape = shapes[row["index"]]
    path = meshes / row["category"]
    solid = solid_lib.close(*mesh_io.read_mesh(next(path.glob(f"{row['id']}.*"))))
    loc, scale = frames.unit_cube_frame(solid.vertices)
    contains = inside_test.make_inside_test(
      Solid((solid.vertices - loc) / scale, solid.faces)
    )
    points = shape["points"]["points"].astype(np.float64)
    inside = np.unpackbits(shape["points"]["occupancies"])[: len(points)].astype(bool)
    for side in SIDES:
      grid = np.unpackbits(voxels.voxelize(contains, side=side))[: side**3]
      ious[side].append(metrics.iou(look_up(grid, side, points), inside))
  network = float(np.mean([row["iou"] for row in rows]))
  model = occnet_jax.restore(out / "autodecoder")
  size = sum(leaf.size for leaf in jax.tree.leaves(model.variables["params"]))
  table = [
    {
      "representation": f"{side}^3 cells",
      "numbers": side**3,
      "iou": float(np.mean(ious[side])),
    }
    for side in SIDES
  ]
  codes = config["model"]["c_dim"]
  table.append(
    {
      "representation": "code table",
      "numbers": codes,
      "shared numbers": size - len(shapes) * codes,
      "iou": network,
    }
  )
  tables.write_csv(out / "representation.csv", table)
  for row in table:
    print(f"{row['representation']:14} {row['numbers']:9} {row['iou']:.3f}")  # noqa: T201
  if importlib.util.find_spec("matplotlib"):
    draw(out / "representation.png", [row["iou"] for row in table[:-1]], network)
  return table


def look_up(grid: np.ndarray, side: int, points: np.ndarray) -> np.ndarray:
  """The cell's occupancy at points (t, 3); nothing is beyond the unit cube."""
  cells = np.floor((points + 0.5) * side).astype(int)
  within = ((cells >= 0) & (cells < side)).all(1)
  x, y, z = cells.clip(0, side - 1).T
  return (grid[(x * side + y) * side + z] == 1) & within


def draw(path: pathlib.Path, ious: list[float], network: float) -> None:
  """IoU over the grid's side, and the network's as a level line."""
  import matplotlib

  matplotlib.use("Agg")
  from matplotlib import pyplot

  figure, axes = pyplot.subplots(figsize=(5, 3.4), layout="constrained")
  axes.plot(SIDES, ious, "o-", label="voxel grid")
  axes.axhline(network, color="tab:orange", label="occupancy network, code table")
  axes.set_xscale("log", base=2)
  axes.set_xticks(SIDES, [str(side) for side in SIDES])
  axes.set(xlabel="cells a side", ylabel="IoU", ylim=(0, 1))
  axes.legend()
  figure.savefig(path, dpi=150)


if __name__ == "__main__":
  main()
