"""Samples of a generative model, measured as a set, and interpolations (host)."""

import json
import pathlib
import sys

import jax
import numpy as np
import tqdm
import trimesh

from occnet_jax import api, files
from occnet_jax.config import Settings
from occnet_jax.data import batches, input_arrays, loader
from occnet_jax.data.source import Examples
from occnet_jax.evaluation import evaluate, generative, reconstructions
from occnet_jax.geometry import mesh_io, surface_sampling
from occnet_jax.viz import sheets

POINTS = 2048  # drawn from every surface (Achlioptas et al. 2018)
SHOWN = 32  # samples in the picture


def read_samples(settings: Settings, workdir: pathlib.Path) -> list[trimesh.Trimesh]:
  """The meshes of --mode=generate that have a surface.

  Raises:
    ValueError: nothing was generated.
  """
  origin = evaluate.make_origin(settings.test.split, settings.data._asdict())
  _, rows = evaluate.read_rows(workdir / evaluate.GENERATED, origin)
  if not rows:
    raise ValueError(f"{workdir}: nothing is generated yet; run --mode=generate first")
  form = settings.generation.format
  return [
    trimesh.Trimesh(
      *reconstructions.read(workdir, row, form),
      process=False,
    )
    for row in rows
    if row.get("faces")
  ]


def evaluate_samples(
  settings: Settings, workdir: pathlib.Path, shapes: Examples
) -> dict[str, float | int]:
  """The samples as a set against as many shapes of the test split.

  Coverage, MMD, JSD and, of more than one shape, 1-NNA.

  Writes evaluation/generation.json and evaluation/samples.png.

  Args:
    settings: settings of the run.
    workdir: directory of the run, with generated meshes.
    shapes: the test split.
  """
  made = read_samples(settings, workdir)
  drawn = [
    surface_sampling.sample(
      np.asarray(mesh.vertices),
      np.asarray(mesh.faces, np.int64),
      POINTS,
      np.random.default_rng(i),
    )[0]
    for i, mesh in enumerate(made)
  ]
  chosen = loader.evenly_spaced(len(shapes), settings.test.shapes).tolist()
  true = []
  for index in chosen:
    cloud = shapes[index]["pointcloud"]["points"]
    rng = loader.shape_rng(settings.seed, index)
    true.append(cloud[rng.choice(len(cloud), min(POINTS, len(cloud)), replace=False)])
  true = [cloud.astype(float) for cloud in true]
  distances = generative.chamfer_matrix(drawn, true)
  scores = generative.coverage_and_mmd(distances)
  scores["jsd"] = generative.jensen_shannon(drawn, true)
  if min(distances.shape) > 1:
    within = (generative.chamfer_matrix(clouds, clouds) for clouds in (drawn, true))
    accuracy = generative.nearest_neighbour_accuracy(*within, distances)
    scores["nearest_neighbour_accuracy"] = accuracy
  measures = {
    "samples": len(made),
    "empty": len(chosen) - len(made),
    "mmd_chamfer_l1_x10": 10 * scores.pop("mmd"),
    **scores,
  }
  with files.atomic_write(workdir / "evaluation" / "generation.json") as scratch:
    scratch.write_text(json.dumps(measures, indent=2))
  spread = loader.evenly_spaced(len(made), SHOWN).tolist()
  sheets.write_sheet(
    workdir / "evaluation" / "samples.png", [made[i] for i in spread], columns=8
  )
  return measures


def interpolate(
  settings: Settings,
  model: api.Model,
  workdir: pathlib.Path,
  shapes: Examples,
  steps: int,
) -> pathlib.Path:
  """Meshes and one picture of the way between test shapes.

  Of `config.report.shapes` shapes, spread over the split, every two make a pair, and
  latents move on the straight line between them: z of a generative model from posterior
  mean to posterior mean, else the codes of what is observed. Writes, under
  interpolation/, <a>_<b>/NN.ply and interpolation.png, a row a pair. Names of shapes
  that occur in several categories have these before them.

  Args:
    settings: settings of the run.
    model: the trained network.
    workdir: directory of the run.
    shapes: the test split, as `evaluate.FIELDS` and the inputs need it.
    steps: number of meshes from one shape to the next, both ends included, at least 2.

  Returns:
    The picture.
  """
  if steps < 2:
    raise ValueError(f"--steps={steps}; want at least 2, the two ends")
  transform = batches.evaluation_transform(settings.data, settings.data.points)
  chosen = loader.evenly_spaced(len(shapes), settings.report.shapes).tolist()
  if len(chosen) < 2:
    raise ValueError(
      f"{settings.data.dir}: {len(chosen)} shapes of the test split to interpolate "
      "between, want 2 or more; prepare a larger one, or raise config.report.shapes"
    )
  out, rows = workdir / "interpolation", []
  ends = list(zip(chosen[::2], chosen[1::2], strict=False))
  names = _name_pairs(settings, shapes, ends)
  progress = tqdm.tqdm(ends, desc="interpolate", unit="pair", file=sys.stdout)
  for name, (a, b) in zip(names, progress, strict=True):
    latents = [_latent(model, transform, shapes[i], settings.seed, i) for i in (a, b)]
    for step, share in enumerate(np.linspace(0, 1, steps)):
      mix = jax.tree.map(lambda x, y: (1 - share) * x + share * y, *latents)  # noqa: B023
      mesh = model.extract(mix, on_empty="empty")
      path = out / name / f"{step:02}.ply"
      mesh_io.write_mesh(path, mesh.vertices, mesh.faces)
      rows.append(mesh)
  sheets.write_sheet(out / "interpolation.png", rows, columns=steps)
  return out / "interpolation.png"


def _name_pairs(
  settings: Settings, shapes: Examples, ends: list[tuple[int, int]]
) -> list[str]:
  """A folder's name for each pair, no two the same."""
  pairs = [[evaluate.shape_names(shapes[i]) for i in pair] for pair in ends]
  for shape in (shape for pair in pairs for shape in pair):
    files.check_names(shape["category"], shape["id"], source=settings.data.dir)
  names = ["_".join(shape["id"] for shape in pair) for pair in pairs]
  if len(set(names)) < len(names):
    names = ["_".join(f"{s['category']}-{s['id']}" for s in pair) for pair in pairs]
  return files.number_repeats(names)


def _latent(model, transform, shape, seed, index):
  arrays = transform(shape, loader.shape_rng(seed, index))
  latent = model.encode(input_arrays.batch_of_one(arrays["inputs"]))
  if model.method.prior is not None:
    mean, _ = model.posterior(
      arrays["points"][None], arrays["occupancies"][None], arrays["inputs"][None]
    )
    latent = model.with_z(latent, mean)
  return latent
