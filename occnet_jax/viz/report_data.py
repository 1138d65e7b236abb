"""Gathers what a run left in its workdir into report.html (host)."""

import csv
import json
import pathlib
from typing import Any

import numpy as np

from occnet_jax.data import loader
from occnet_jax.data.source import Examples
from occnet_jax.evaluation import evaluate, resume_log, tables
from occnet_jax.evaluation.tables import Row
from occnet_jax.geometry import grids, mesh_io
from occnet_jax.train import metric_log
from occnet_jax.viz.charts import Chart
from occnet_jax.viz.report import ReportShape, write_report

MEASURED = pathlib.Path("evaluation", "measured.jsonl")
SECONDS = ("octree", "evaluate", "roots", "surface", "simplify", "refine", "normals")


def gather(
  config: dict[str, Any],
  workdir: pathlib.Path,
  shapes: Examples,
  transform: loader.Transform,
) -> pathlib.Path:
  """Writes <workdir>/report.html from evaluation/, logs/ and meshes/, if they changed.

  Args:
    config: of the run.
    workdir: of the run, evaluated.
    shapes: the split that was evaluated, with the fields `evaluate.FIELDS`.
    transform: (example, generator) -> the arrays of which `inputs` were seen.

  Raises:
    ValueError: the run was not evaluated.
  """
  settings, rows = measured(workdir)
  path, logs = workdir / "report.html", workdir / "logs" / "metrics.jsonl"
  sources = [source for source in (workdir / MEASURED, logs) if source.exists()]
  if path.exists() and all(_time(path) > _time(source) for source in sources):
    return path
  write_report(
    path,
    title=f"Occupancy network: {config['name']}",
    facts=_facts(config, workdir, settings, rows),
    summary=tables.summarise(rows),
    charts=_charts(config, metric_log.read(logs)),
    shapes=report_shapes(config, workdir, shapes, transform),
  )
  return path


def report_shapes(
  config: dict[str, Any],
  workdir: pathlib.Path,
  shapes: Examples,
  transform: loader.Transform,
) -> list[ReportShape]:
  """The shapes that a report shows, spread over those evaluated; see `gather`."""
  _, rows = measured(workdir)
  chosen = loader.evenly_spaced(len(rows), config["report"]["shapes"]).tolist()
  credits = _credits(pathlib.Path(config["data"]["dir"], "prepare_report.csv"))
  return [_shape(config, workdir, shapes, transform, rows[i], credits) for i in chosen]


def measured(workdir: pathlib.Path) -> tuple[dict[str, Any], list[Row]]:
  """Settings and rows of the evaluation, by category and id.

  Raises:
    ValueError: there was none.
  """
  settings, rows = resume_log.read(workdir / MEASURED)
  if not rows:
    raise ValueError(f"{workdir}: is not evaluated yet; run --mode=evaluate first")
  return settings, sorted(rows, key=lambda row: (row["category"], row["id"]))


def _facts(
  config: dict[str, Any], workdir: pathlib.Path, settings: dict, rows: list[Row]
) -> dict[str, str]:
  model = config["model"]
  facts = {
    "Config": config["name"],
    "Network": f"{model['name']}: {model['encoder']}, {model['decoder']}",
    "Checkpoint": f"step {settings['step']}, best in validation",
    "Threshold tau": f"{settings['tau']:.2f}, chosen in validation",
    "Data": f"{config['data']['dir']}, split {config['test']['split']}",
  }
  return facts | times(workdir, rows)


def times(workdir: pathlib.Path, rows: list[Row]) -> dict[str, str]:
  """Wall time of the run by stage, and mean seconds per mesh by stage of extraction."""
  path = workdir / "wall_time.json"
  wall = json.loads(path.read_text()) if path.exists() else {}
  found = {f"Wall time, {stage}": _duration(s) for stage, s in wall.items()}
  for stage in SECONDS:
    seconds = [row[f"seconds_{stage}"] for row in rows if f"seconds_{stage}" in row]
    if any(seconds):
      name = f"Time per mesh, {stage.replace('_', ' ')}"
      found[name] = f"{np.mean(seconds):.3f} s"
  return found


def _time(path: pathlib.Path) -> float:
  return path.stat().st_mtime


def _duration(seconds: float) -> str:
  return f"{seconds:.1f} s" if seconds < 120 else f"{seconds / 60:.1f} min"


def _charts(config: dict[str, Any], rows: list[dict[str, Any]]) -> list[Chart]:
  def per_point(curve, points):
    return curve[0], [value / points for value in curve[1]]

  validated = config["val"]["points"] or config["prep"]["points"]
  loss = {
    "training": per_point(
      metric_log.curve(rows, "train/loss"), config["data"]["points"]
    ),
    "validation": per_point(metric_log.curve(rows, "val/loss"), validated),
  }
  iou = {
    f"training, tau {config['model']['tau']:g}": metric_log.curve(rows, "train/iou"),
    "validation, best tau": metric_log.curve(rows, "val/iou"),
  }
  return [
    Chart("Cross-entropy", "nats per point", loss, log=True),
    Chart("IoU at the sampled points", "IoU", iou),
  ]


def _shape(config, workdir, shapes, transform, row: Row, credits) -> ReportShape:
  category, id, index = row["category"], row["id"], row["index"]
  example = shapes[index]
  form = config["generation"]["format"]
  reconstruction = None
  if not row.get("missing"):
    path = evaluate.mesh_path(workdir, category, id, form)
    empty = np.zeros((0, 3)), np.zeros((0, 3), np.int64)
    reconstruction = mesh_io.read_mesh(path) if row["faces"] else empty
  solid = pathlib.Path(config["data"]["dir"], "solids", category, f"{id}.ply")
  cloud = example["pointcloud"]
  inputs = transform(example, loader.shape_rng(config["seed"], index))["inputs"]
  return ReportShape(
    id=id,
    category=category,
    metrics=row,
    seen=seen(config["data"]["inputs"], inputs),
    reconstruction=reconstruction,
    truth=mesh_io.read_mesh(solid) if solid.exists() else None,
    truth_points=cloud["points"].astype(np.float32),
    truth_normals=cloud["normals"].astype(np.float32),
    credit=credits.get((category, id), ""),
  )


def _credits(path: pathlib.Path) -> dict[tuple[str, str], str]:
  """Who made a shape and under which licence, by category and id, where it is known."""
  if not path.exists():
    return {}
  with path.open(newline="", encoding="utf-8") as stream:
    return {
      (row["category"], row["id"]): ", ".join(
        filter(None, (row.get("attribution"), row.get("licence")))
      )
      for row in csv.DictReader(stream)
    }


def seen(kind: str, inputs: np.ndarray) -> np.ndarray | tuple | None:
  """An observation as `ReportShape.seen` has it."""
  if kind == "voxels":
    return grids.cube_surface(inputs > 0.5)
  return None if kind in ("index", "none") else inputs
