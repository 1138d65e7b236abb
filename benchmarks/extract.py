"""Extraction by every method: evaluations, faces, error, seconds, memory.

  python -m benchmarks.extract [--workdir=runs/pointcloud] [--resolutions=64,128]
      [--fields=network] [--methods=mise_roots] [--no-memory]

Fields: signed distances of a ball, a torus and a box; a network with the reference's
sizes (hidden 256, code 512) and random weights, for its cost; with --workdir, a trained
network's reconstructions of --shapes test shapes. `mise` starts from 32 cells a side or
more, the others from 12 to 23 (--least).

Errors are distances of points drawn on the mesh from the level set, onto which they are
projected along the gradient of the field, in units of 1e-5 of the cube: mean, 95th and
99th percentile, and Hausdorff, which includes the distances to the mesh from points of
a surface extracted at 256 cells a side. Evaluations are those of the field; a gradient
counts as three, and normals at the vertices do not count. The `x` columns have mean
error and evaluations as a share of those of `mise` at --reference cells a side.
Seconds: octree, evaluate, roots, surface, normals. Memory is that of a process that
extracts the torus (Linux only). After the rows of several networks come the means of
their `x`.
"""

import argparse
import collections
import json
import pathlib
import subprocess
import sys

import igl
import jax
import jax.numpy as jnp
import numpy as np

import occnet_jax
from benchmarks import record
from benchmarks.test_inputs import read_test_inputs
from occnet_jax.extract.field import Field, as_field, decoder_field
from occnet_jax.models import registry

STAGES = ("octree", "evaluate", "roots", "surface", "normals")
METHODS = ("mise", "mise_roots", "dual")
REACH = 0.05  # cube units along which the surface is looked for


def ball(p):
  return 0.37 - jnp.sqrt((p**2).sum(-1))


def torus(p):
  return 0.1 - jnp.hypot(jnp.hypot(p[:, 0], p[:, 1]) - 0.3, p[:, 2])


def box(p):
  gaps = jnp.abs(p) - jnp.array([[0.35, 0.21, 0.12]])
  outside = jnp.sqrt((jnp.maximum(gaps, 0) ** 2).sum(-1) + 1e-20)
  return -outside - jnp.minimum(gaps.max(-1), 0)


def official_size() -> tuple[Field, float]:
  """A decoder with the reference's sizes and random weights, and its median."""
  from configs import onet

  config = onet.get_config("pointcloud").to_dict()
  method = registry.build(config["model"])
  rng = np.random.default_rng(0)
  batch = {
    "points": np.zeros((1, 1, 3), np.float32),
    "occupancies": np.zeros((1, 1), np.float32),
    "inputs": rng.uniform(-0.5, 0.5, (1, 300, 3)).astype(np.float32),
  }
  variables = method.init(jax.random.key(0), batch)
  leaves, tree = jax.tree.flatten(variables["params"])
  keys = jax.random.split(jax.random.key(1), len(leaves))
  leaves = [  # its last layers start at zero, which would be a constant field
    leaf + 0.05 * jax.random.normal(key, leaf.shape)
    for leaf, key in zip(leaves, keys, strict=True)
  ]
  variables = {**variables, "params": jax.tree.unflatten(tree, leaves)}
  field = decoder_field(
    method.decode, variables, method.encode(variables, batch["inputs"])
  )
  points = rng.uniform(-0.55, 0.55, (4096, 3))
  return field, float(np.median(field.values(points)))


def trained(workdir: pathlib.Path, count: int) -> dict[str, tuple[Field, float]]:
  """The fields of some test shapes, as a trained network sees them."""
  model = occnet_jax.restore(workdir)
  return {
    f"network, shape {i}": (model.field(model.encode(inputs[None])), model.level)
    for i, inputs in read_test_inputs(model, count).items()
  }


def errors(field: Field, level: float, mesh, count: int) -> np.ndarray:
  """Distances of points on a mesh to the level set, (count,) or fewer."""
  rng = np.random.default_rng(0)
  corners = mesh.vertices.view(np.ndarray)[mesh.faces]
  areas = np.linalg.norm(
    np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1
  )
  chosen = rng.choice(len(areas), count, p=areas / areas.sum())
  weights = rng.dirichlet((1, 1, 1), count)
  points = (corners[chosen] * weights[:, :, None]).sum(1)
  points = points[np.abs(points).max(1) < 0.545]  # the cube's faces are no level set
  normals = field.gradients(points).astype(np.float64)
  normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
  steps = REACH * np.linspace(0, 1, 17) ** 2
  steps = np.concatenate([-steps[:0:-1], steps])
  inside = np.stack([field.values(points + s * normals) > level for s in steps], 1)
  crossed = inside[:, 1:] != inside[:, :-1]
  middles = np.abs(steps[1:] + steps[:-1]) / 2
  nearest = np.where(crossed, middles, np.inf).argmin(1)
  low, high = steps[nearest], steps[nearest + 1]
  first = inside[np.arange(len(points)), nearest]
  for _ in range(10):
    middle = (low + high) / 2
    same = (field.values(points + middle[:, None] * normals) > level) == first
    low, high = np.where(same, middle, low), np.where(same, high, middle)
  return np.where(crossed.any(1), np.abs(low + high) / 2, REACH)


def grid(method: str, resolution: int, least: int = 12) -> dict[str, str | int]:
  """Settings with so many cells a side, from 32 for `mise`, else from `least` to twice.

  That is 12 to 23 cells, as long as no other number is asked for.
  """
  least, start, steps = 32 if method == "mise" else least, resolution, 0
  while start % 2 == 0 and start // 2 >= least:
    start, steps = start // 2, steps + 1
  return {"method": method, "resolution_0": start, "upsampling_steps": steps}


def surface_points(field: Field, level: float, count: int) -> np.ndarray:
  """Points (count, 3) of the level set, as far as 256 cells a side find it."""
  mesh = occnet_jax.extract_mesh(
    field, level=level, normals=False, **grid("mise_roots", 256)
  )
  return mesh.sample(count, seed=0).view(np.ndarray)


def measure(name, field, level, method, resolution, samples, surface, least) -> dict:
  """One row of the table."""
  settings = {"level": level, **grid(method, resolution, least)}
  occnet_jax.extract_mesh(  # compiles
    field, **settings | {"upsampling_steps": 1}
  )
  mesh = occnet_jax.extract_mesh(field, **settings)
  facts = mesh.metadata
  distances = 1e5 * errors(field, level, mesh, samples)
  vertices, faces = mesh.vertices.view(np.ndarray), mesh.faces.view(np.ndarray)
  missed = 1e5 * igl.point_mesh_squared_distance(surface, vertices, faces)[0] ** 0.5
  return {
    "field": name,
    "method": method,
    "resolution": resolution,
    "evaluations": facts["evaluations"],
    "faces": len(mesh.faces),
    "bodies": int(mesh.body_count),
    "mean": float(distances.mean()),
    "p95": float(np.quantile(distances, 0.95)),
    "p99": float(np.quantile(distances, 0.99)),
    "hausdorff": float(max(distances.max(), missed.max())),
    "seconds": [round(facts[f"seconds_{stage}"], 2) for stage in STAGES],
  }


def memory(method: str, resolution: int) -> dict:
  """Peak memory of a process of its own that extracts the torus, and before it did."""
  settings = grid(method, resolution)
  occnet_jax.extract_mesh(torus, **settings | {"upsampling_steps": 1})
  before = peak_memory()
  mesh = occnet_jax.extract_mesh(torus, **settings)
  return {
    "memory": method,
    "resolution": resolution,
    "faces": len(mesh.faces),
    "before_mib": before,
    "peak_mib": peak_memory(),
    "seconds": round(
      sum(v for k, v in mesh.metadata.items() if k.startswith("seconds_")), 1
    ),
  }


def peak_memory() -> int:
  """MiB of this process at its peak; not of its parent, as getrusage has it."""
  status = pathlib.Path("/proc/self/status").read_text()
  return int(status.split("VmHWM:")[1].split()[0]) // 1024


def show(row: dict, reference: dict | None) -> None:
  error = row["mean"] / reference["mean"] if reference else float("nan")
  work = row["evaluations"] / reference["evaluations"] if reference else float("nan")
  print(  # noqa: T201
    f"{row['field']:20} {row['method']:10} {row['resolution']:5} "
    f"{row['evaluations']:9} {row['faces']:8} {row['bodies']:3} "
    f"{row['mean']:7.1f} {row['p95']:7.1f} {row['p99']:7.1f} {row['hausdorff']:8.1f} "
    f"x{error:5.2f} x{work:5.2f}  {row['seconds']}",
    flush=True,
  )


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
  parser.add_argument("--workdir", type=pathlib.Path)
  parser.add_argument("--shapes", type=int, default=4)
  parser.add_argument("--resolutions", default="64,128,256,512")
  parser.add_argument("--reference", type=int, default=128)
  parser.add_argument("--samples", type=int, default=5000)
  parser.add_argument("--out", type=pathlib.Path, help="JSON lines of all rows")
  parser.add_argument("--fields", help="those whose names begin so, with commas")
  parser.add_argument("--methods", default=",".join(METHODS))
  parser.add_argument("--least", type=int, default=12, help="cells a side to start at")
  parser.add_argument("--no-memory", action="store_true", help="do without its rows")
  parser.add_argument("--memory", help="method:resolution, for this process alone")
  args = record.parse(parser)
  if args.memory:
    method, resolution = args.memory.split(":")
    print(json.dumps(memory(method, int(resolution))))  # noqa: T201
    return
  fields = {name: (as_field(f), 0.0) for name, f in FIELDS.items()}
  fields["official size"] = official_size()
  if args.workdir:
    fields |= trained(args.workdir, args.shapes)
  if args.fields:
    prefixes = tuple(args.fields.split(","))
    fields = {name: f for name, f in fields.items() if name.startswith(prefixes)}
  resolutions = [int(r) for r in args.resolutions.split(",")]
  methods, rows, shares = args.methods.split(","), [], collections.defaultdict(list)
  for name, (field, level) in fields.items():
    samples = args.samples // 5 if name == "official size" else args.samples
    surface = surface_points(field, level, samples)
    shared = {"samples": samples, "surface": surface, "least": args.least}
    reference = measure(name, field, level, "mise", args.reference, **shared)
    for resolution in resolutions:
      for method in methods:
        row = measure(name, field, level, method, resolution, **shared)
        rows.append(row)
        show(row, reference)
        if name.startswith("network"):
          share = [row[key] / reference[key] for key in ("mean", "evaluations")]
          shares[method, resolution].append(
            [row["mean"], reference["mean"], row["evaluations"], *share]
          )
  for (method, resolution), networks in shares.items():
    mean, reference_mean, evaluations, error, work = np.mean(networks, axis=0)
    print(  # noqa: T201
      f"{len(networks)} networks {method:10} {resolution:5} {evaluations:9.0f} "
      f"{mean:7.1f} (of {reference_mean:.1f}) x{error:5.2f} x{work:5.2f}"
    )
  for resolution in [] if args.no_memory else resolutions:
    for method in methods:
      rows.append(_apart(f"--memory={method}:{resolution}"))
      print(rows[-1], flush=True)  # noqa: T201
  if args.out:
    args.out.write_text("".join(json.dumps(row) + "\n" for row in rows))
  tables = {
    "errors": [_apart_by_stage(row) for row in rows if "field" in row],
    "memory": [row for row in rows if "memory" in row],
  }
  record.save(args, **{name: table for name, table in tables.items() if table})


def _apart_by_stage(row: dict) -> dict:
  """A row with a column for the seconds of each stage."""
  seconds = {f"{stage} s": s for stage, s in zip(STAGES, row["seconds"], strict=True)}
  return {name: value for name, value in row.items() if name != "seconds"} | seconds


FIELDS = {"ball": ball, "torus": torus, "box": box}


def _apart(argument: str) -> dict:
  """The output of this program in a process with a peak memory of its own."""
  command = [sys.executable, "-m", "benchmarks.extract", argument]
  done = subprocess.run(command, check=True, capture_output=True, text=True)
  return json.loads(done.stdout)


if __name__ == "__main__":
  main()
