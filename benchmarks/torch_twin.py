r"""Extraction from encoding to file, compared with the reference's method in PyTorch.

  pip install torch
  python main.py --mode=train --config=configs/onet.py:pointcloud --workdir=runs/full \
    --config.data.dir=data/quickstart_paper --config.data.points=1024 \
    --config.data.near_fraction=0.5 --config.data.random_stretch=0.3 \
    --config.train.batch_size=8 --config.train.steps=700 \
    --config.optim.learning_rate=1e-3 --config.optim.schedule=cosine \
    --config.optim.warmup_steps=50 --config.optim.clip_norm=200.0 \
    --config.train.validate_every=350
  python -m benchmarks.torch_twin --workdir=runs/full

The twin is the reference's PointNet encoder and conditional-batch-norm decoder in plain
PyTorch, checked against its recorded outputs (tests/parity) and given the weights of
the run, one of configs/onet.py:pointcloud. It follows the reference: MISE from 32^3 to
128^3 in batches of 100,000 points, linear marching cubes, an OFF file. The octree and
marching cubes are ours for both; the reference's are Cython, on dense grids. Ours:
`extract` with --resolutions cells a side, and its file. Both run in turn in one
process, on the same threads; medians of --rounds over --shapes test shapes.

Error: mean distance of points on the mesh to the level set, in 1e-5 of the cube.
"""

import argparse
import pathlib
import statistics
import tempfile
import time

import numpy as np
import torch

import occnet_jax
from benchmarks.extract import errors, grid
from benchmarks.test_inputs import read_test_inputs
from benchmarks.torch_models import OccupancyNetwork, check_recorded
from occnet_jax.geometry import mesh_io
from occnet_jax.interop import runs

STAGES = ("encode", "octree", "evaluate", "roots", "surface", "normals", "write")


def twin_of(model: occnet_jax.api.Model, workdir: pathlib.Path) -> OccupancyNetwork:
  """The run's weights in PyTorch, by way of a file in the reference's layout."""
  twin = OccupancyNetwork(model.config["model"])
  with tempfile.TemporaryDirectory() as folder:
    path = runs.export_torch(workdir, f"{folder}/weights.pt")
    twin.load_state_dict(torch.load(path, weights_only=True)["model"])
  return twin.eval()


def mesh_of_twin(twin, cloud, level, path) -> tuple[dict, object]:
  """The reference's way: seconds by stage, and the mesh."""
  start = time.perf_counter()
  with torch.no_grad():
    code = twin.encoder(torch.tensor(cloud)[None])
    encoded = time.perf_counter() - start

    def field(points):
      batches = torch.tensor(points, dtype=torch.float32).split(100_000)
      return torch.cat([twin.decoder(b[None], code)[0] for b in batches]).numpy()

    settings = grid("mise", 128)
    mesh = occnet_jax.extract_mesh(
      field, level=level, normals=False, points_per_batch=10**9, **settings
    )
  written = time.perf_counter()
  mesh_io.write_mesh(path, mesh.vertices, mesh.faces)
  return _times(mesh, encoded, written, start), mesh


def mesh_of_ours(model, cloud, path, resolution) -> tuple[dict, object]:
  """The same through `encode` and `extract`."""
  start = time.perf_counter()
  latent = model.encode(cloud[None])
  latent.c.block_until_ready()
  encoded = time.perf_counter() - start
  mesh = model.extract(latent, normals=False, **grid("mise_roots", resolution))
  written = time.perf_counter()
  mesh_io.write_mesh(path, mesh.vertices, mesh.faces)
  return _times(mesh, encoded, written, start), mesh


def _times(mesh, encoded: float, written: float, start: float) -> dict[str, float]:
  end = time.perf_counter()
  facts = {name: mesh.metadata.get(f"seconds_{name}", 0.0) for name in STAGES}
  return facts | {"encode": encoded, "write": end - written, "whole": end - start}


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
  parser.add_argument("--workdir", type=pathlib.Path, required=True)
  parser.add_argument("--shapes", type=int, default=4)
  parser.add_argument("--rounds", type=int, default=3)
  parser.add_argument("--resolutions", default="128,52")
  args = parser.parse_args()
  check_recorded()
  model = occnet_jax.restore(args.workdir)
  twin, level = twin_of(model, args.workdir), model.level
  resolutions = [int(r) for r in args.resolutions.split(",")]
  names = ["PyTorch, MISE 128", *(f"ours, {r}" for r in resolutions)]
  rows: dict[str, list] = {name: [] for name in names}
  with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder, "mesh.off")
    for i, cloud in read_test_inputs(model, args.shapes).items():
      field = model.field(model.encode(cloud[None]))
      points = np.random.default_rng(i).uniform(-0.5, 0.5, (1, 1000, 3))
      points = points.astype(np.float32)
      with torch.no_grad():
        code = twin.encoder(torch.tensor(cloud)[None])
        theirs = twin.decoder(torch.tensor(points), code)[0].numpy()
      ours = field.values(points[0])
      assert np.abs(theirs - ours).max() < 1e-4 * np.abs(ours).max()
      for round_ in range(args.rounds + 1):
        results = [mesh_of_twin(twin, cloud, level, path)]
        results += [mesh_of_ours(model, cloud, path, r) for r in resolutions]
        if round_ == 0:  # compiles; and the meshes are always the same
          error = [1e5 * errors(field, level, mesh, 5000).mean() for _, mesh in results]
          continue
        for name, (times, mesh), off in zip(names, results, error, strict=True):
          work = {"evaluations": mesh.metadata["evaluations"], "error": off}
          rows[name].append(times | work)
  columns = (*STAGES, "whole", "evaluations", "error")
  print(f"{'':18}" + "".join(f"{column:>12}" for column in columns))  # noqa: T201
  middle = {
    name: {c: statistics.median(row[c] for row in rows[name]) for c in columns}
    for name in names
  }
  for name in names:
    cells = "".join(f"{middle[name][c]:12.5g}" for c in columns)
    ratio = middle[names[0]]["whole"] / middle[name]["whole"]
    print(f"{name:18}{cells}   {ratio:.2f} times as fast")  # noqa: T201


if __name__ == "__main__":
  main()
