r"""Extraction from encoding to file, compared with the reference's method in PyTorch.

  pip install torch
  python main.py --mode=train --config=configs/onet.py:pointcloud --workdir=runs/full \
    --config.data.dir=data/quickstart_paper --config.data.points=1024 \
    --config.data.near_fraction=0.5 --config.data.random_stretch=0.3 \
    --config.train.batch_size=8 --config.train.steps=700 \
    --config.optim.learning_rate=1e-3 --config.optim.schedule=cosine \
    --config.optim.warmup_steps=50 --config.optim.clip_norm=200.0 \
    --config.train.validate_every=350
  python -m benchmarks.torch_twin runs/full

The twin is the reference's network in plain PyTorch, checked against its recorded
outputs (tests/parity) and given the weights of the run: one of configs/onet.py:
pointcloud, or of planes (configs/convonet.py:shapenet_3plane). It follows the
reference: MISE from 32^3 to 128^3 in batches of 100,000 points, linear marching cubes,
an OFF file. The octree and marching cubes are ours for both; the reference's are
Cython, on dense grids. Ours: `extract` with --resolutions cells a side, and a GLB file.
All run in turn in one process, on the same threads; medians of --rounds over --shapes
test shapes. Of several runs, all are compared with the twin of the first.

Error: mean distance of points on the mesh to the level set, in 1e-5 of the cube.
"""

import argparse
import pathlib
import statistics
import tempfile
import time

import jax
import numpy as np
import torch

import occnet_jax
from benchmarks import record, torch_convonet, torch_models
from benchmarks.extract import errors, grid
from benchmarks.test_inputs import read_test_inputs
from occnet_jax.geometry import mesh_io
from occnet_jax.interop import runs

STAGES = ("encode", "octree", "evaluate", "roots", "surface", "normals", "write")


TWINS = {
  "onet": torch_models.OccupancyNetwork,
  "convonet": torch_convonet.ConvolutionalOccupancyNetwork,
}


def twin_of(model: occnet_jax.api.Model, workdir: pathlib.Path) -> torch.nn.Module:
  """The run's weights in PyTorch, by way of a file in the reference's layout."""
  fields = model.config["model"]
  twin = TWINS[fields["name"]](fields)
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
  latent = jax.block_until_ready(model.encode(cloud[None]))
  encoded = time.perf_counter() - start
  mesh = model.extract(latent, normals=False, **grid("mise_roots", resolution))
  written = time.perf_counter()
  mesh_io.write_mesh(path, mesh.vertices, mesh.faces)
  return _times(mesh, encoded, written, start), mesh


def _times(mesh, encoded: float, written: float, start: float) -> dict[str, float]:
  end = time.perf_counter()
  facts = {name: mesh.metadata.get(f"seconds_{name}", 0.0) for name in STAGES}
  return facts | {"encode": encoded, "write": end - written, "whole": end - start}


def check_equal(twin, model: occnet_jax.api.Model, cloud, seed: int) -> None:
  """Stops unless the twin and ours have the same values at random points."""
  points = np.random.default_rng(seed).uniform(-0.5, 0.5, (1, 1000, 3))
  points = points.astype(np.float32)
  with torch.no_grad():
    theirs = twin(torch.tensor(points), torch.tensor(cloud)[None])[0].numpy()
  ours = model.field(model.encode(cloud[None])).values(points[0])
  assert np.abs(theirs - ours).max() < 1e-4 * np.abs(ours).max()


def compare(workdir: pathlib.Path, args: argparse.Namespace) -> dict[str, list]:
  """Rows of times, work and error of each way to a mesh, all shapes and rounds."""
  model = occnet_jax.restore(workdir)
  twin, level = twin_of(model, workdir), model.level
  resolutions = [int(r) for r in args.resolutions.split(",")]
  names = ["PyTorch, MISE 128", *(f"ours, {r}" for r in resolutions)]
  rows: dict[str, list] = {name: [] for name in names}
  with tempfile.TemporaryDirectory() as folder:
    off_path, path = (pathlib.Path(folder, f"mesh.{form}") for form in ("off", "glb"))
    for i, cloud in read_test_inputs(model, args.shapes).items():
      check_equal(twin, model, cloud, i)
      field = model.field(model.encode(cloud[None]))
      for round_ in range(args.rounds + 1):
        results = [mesh_of_twin(twin, cloud, level, off_path)]
        results += [mesh_of_ours(model, cloud, path, r) for r in resolutions]
        if round_ == 0:  # compiles; and the meshes are always the same
          error = [1e5 * errors(field, level, mesh, 5000).mean() for _, mesh in results]
          continue
        for name, (times, mesh), off in zip(names, results, error, strict=True):
          work = {"evaluations": mesh.metadata["evaluations"], "error": off}
          rows[name].append(times | work)
  return rows


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
  parser.add_argument("workdir", type=pathlib.Path, nargs="+")
  parser.add_argument("--shapes", type=int, default=4)
  parser.add_argument("--rounds", type=int, default=3)
  parser.add_argument("--resolutions", default="128,64,52")
  args = record.parse(parser)
  torch_models.check_recorded()
  torch_convonet.check_recorded()
  columns = (*STAGES, "whole", "evaluations", "error")
  print(f"{'':18}" + "".join(f"{column:>12}" for column in columns))  # noqa: T201
  first, table = None, []
  for workdir in args.workdir:
    print(workdir)  # noqa: T201
    for name, rows in compare(workdir, args).items():
      middle = {c: statistics.median(row[c] for row in rows) for c in columns}
      first = first or middle["whole"]
      cells = "".join(f"{middle[c]:12.5g}" for c in columns)
      ratio = first / middle["whole"]
      print(f"{name:18}{cells}   {ratio:.2f} times as fast")  # noqa: T201
      table.append({"run": workdir.name, "way": name, **middle, "times as fast": ratio})
  record.save(args, twins=table)


if __name__ == "__main__":
  main()
