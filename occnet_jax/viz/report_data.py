"""Gathers the results in a run's workdir into report.html (host)."""

import csv
import hashlib
import math
import pathlib
from typing import Any

import numpy as np

from occnet_jax import files
from occnet_jax.config import Settings
from occnet_jax.data import loader
from occnet_jax.data.source import Examples
from occnet_jax.evaluation import evaluate, reconstructions, tables
from occnet_jax.evaluation.tables import Row
from occnet_jax.geometry import mesh_io
from occnet_jax.train import metric_log
from occnet_jax.viz import pages, panes
from occnet_jax.viz.charts import Chart
from occnet_jax.viz.panes import ReportShape
from occnet_jax.viz.report import read_digest, write_report

# Stages of extraction, as the page calls them; "evaluate" is a stage of a run there.
STAGES = {
  stage: stage
  for stage in ("octree", "roots", "surface", "simplify", "refine", "normals")
} | {"evaluate": "values"}
METRICS = pathlib.PurePath("logs", "metrics.jsonl")
_SOURCES = (".py", ".html", ".css", ".js")


def gather(
  settings: Settings,
  workdir: pathlib.Path,
  shapes: Examples,
  transform: loader.Transform,
) -> pathlib.Path:
  """Writes <workdir>/report.html, unless it already shows exactly this.

  The page holds a digest of its content and of the code that draws it; only a page with
  another digest is written again. Wall times alone do not make a page stale: they grow
  with every call, also with one that has nothing to do.

  Args:
    settings: settings of the run.
    workdir: directory of the run, whose meshes are evaluated.
    shapes: the split that was evaluated, with the fields `evaluate.FIELDS`.
    transform: (example, generator) -> the arrays of one shape, of which `inputs` are
      shown.

  Raises:
    ValueError: the run was not evaluated on this split of this data set.
  """
  measured_with, rows = measured(settings, workdir)
  content = {
    "title": f"Report of {settings.name}",
    "summary": tables.summarise(rows),
    "charts": training_charts(metric_log.read(workdir / METRICS)),
    "shapes": report_shapes(settings, workdir, shapes, transform),
  }
  facts = _facts(settings, measured_with)
  digest = digest_of(content, facts, seconds_per_mesh(rows))
  path = workdir / "report.html"
  if read_digest(path) != digest:
    facts |= times(workdir, rows)
    write_report(path, facts=facts, digest=digest, **content)
  return path


def report_shapes(
  settings: Settings,
  workdir: pathlib.Path,
  shapes: Examples,
  transform: loader.Transform,
) -> list[ReportShape]:
  """The shapes that a report shows, spread over those evaluated; see `gather`."""
  _, rows = measured(settings, workdir)
  chosen = loader.evenly_spaced(len(rows), settings.report.shapes).tolist()
  credits = _credits(pathlib.Path(settings.data.dir, "prepare_report.csv"))
  return [
    _shape(settings, workdir, shapes, transform, rows[i], credits) for i in chosen
  ]


def measured(
  settings: Settings, workdir: pathlib.Path
) -> tuple[dict[str, Any], list[Row]]:
  """Settings and rows of the evaluation, by category and id.

  Raises:
    ValueError: the run was not evaluated on config.test.split of config.data.
  """
  origin = evaluate.make_origin(settings.test.split, settings.data._asdict())
  measured_with, rows = evaluate.read_rows(workdir / evaluate.MEASURED, origin)
  if not rows:
    raise ValueError(
      f"{workdir}: split {origin.split!r} of {settings.data.dir} is not evaluated "
      "yet; run --mode=evaluate first"
    )
  return measured_with, sorted(rows, key=lambda row: (row["category"], row["id"]))


def is_measured(settings: Settings, workdir: pathlib.Path) -> bool:
  """Whether the run was evaluated on config.test.split of config.data."""
  origin = evaluate.make_origin(settings.test.split, settings.data._asdict())
  return bool(evaluate.read_rows(workdir / evaluate.MEASURED, origin)[1])


def digest_of(*content: Any) -> str:
  """SHA-256 of nested content, and of the code and templates that make a page of it."""
  digest = hashlib.sha256()
  sources = [path for path in pages.ROOT.rglob("*") if path.suffix in _SOURCES]
  for path in sorted(sources):
    digest.update(path.read_bytes())
  digest.update(repr(tables.COLUMNS).encode())
  _update(digest, content)
  return digest.hexdigest()


def _update(digest: Any, value: Any) -> None:
  """Feeds a value into a hash such that equal bytes mean equal values."""
  if isinstance(value, np.ndarray):
    digest.update(f"{value.dtype}{value.shape}".encode())
    digest.update(np.ascontiguousarray(value).tobytes())
  elif isinstance(value, dict):
    _update(digest, list(value.items()))
  elif isinstance(value, list | tuple):
    digest.update(f"[{len(value)}".encode())
    for part in value:
      _update(digest, part)
  else:
    digest.update(f"{value!r};".encode())


def _facts(settings: Settings, measured_with: dict[str, Any]) -> dict[str, str]:
  model, level = settings.model, measured_with["level"]
  shown = "none" if level is None else f"{level:.3g}"
  # With tau a system's values are logits, but for a single shape's other losses.
  is_logit = "tau" in model and model.get("loss", "cross_entropy") == "cross_entropy"
  if level is not None and is_logit:
    shown += f", occupancy probability {1 / (1 + math.exp(-level)):.2f}"
  return {
    "Config": settings.name,
    "Network": describe_network(model),
    "Checkpoint": f"step {measured_with['step']}, best in validation",
    "Level of the surface": shown,
    "Data": f"{settings.data.dir}, split {settings.test.split}",
  }


def describe_network(model: dict[str, Any]) -> str:
  """The system of a model's settings, and its parts."""
  parts = filter(None, (model.get("encoder"), model.get("decoder")))
  return ": ".join(filter(None, (model["name"], ", ".join(parts))))


def times(workdir: pathlib.Path, rows: list[Row]) -> dict[str, str]:
  """Wall time of the run by stage, and mean seconds per mesh by stage of extraction."""
  path = workdir / "wall_time.json"
  wall = files.read_numbers(path)
  by_stage = {f"Wall time, {stage}": _duration(s) for stage, s in wall.items()}
  return by_stage | seconds_per_mesh(rows)


def seconds_per_mesh(rows: list[Row]) -> dict[str, str]:
  """Mean seconds per mesh by stage of extraction, for stages that took any time."""
  facts = {}
  for stage, label in STAGES.items():
    seconds = [row[f"seconds_{stage}"] for row in rows if f"seconds_{stage}" in row]
    if any(seconds):
      facts[f"Time per mesh, {label}"] = f"{np.mean(seconds):.3f} s"
  return facts


def _duration(seconds: float) -> str:
  return f"{seconds:.1f} s" if seconds < 120 else f"{seconds / 60:.1f} min"


def training_charts(rows: list[dict[str, Any]]) -> list[Chart]:
  """Loss, and IoU where it is logged, over the steps of the rows of a metric log."""
  # A sum over points is shown per point where the method logs it so: training and
  # validation have other numbers of points.
  per_point = any("train/loss_per_point" in row for row in rows)
  name = "loss_per_point" if per_point else "loss"
  loss, iou = (
    {
      "training": metric_log.curve(rows, f"train/{score}"),
      "validation": metric_log.curve(rows, f"val/{score}"),
    }
    for score in (name, "iou")
  )
  charts = [Chart("Loss", "nats per point" if per_point else "loss", loss, log=True)]
  if any(len(steps) for steps, _ in iou.values()):  # points have none
    charts.append(Chart("IoU at the sampled points", "IoU", iou))
  return charts


def _shape(settings, workdir, shapes, transform, row: Row, credits) -> ReportShape:
  category, id, index = row["category"], row["id"], row["index"]
  example = shapes[index]
  if evaluate.shape_names(example) != {"category": category, "id": id}:
    raise ValueError(
      f"{workdir}: {category} {id} is no longer shape {index} of its split; the data "
      "set has changed: run --mode=generate and --mode=evaluate again"
    )
  form = settings.generation.format
  reconstruction = None
  if not row.get("missing"):
    reconstruction = reconstructions.read(workdir, row, form)
  solid = pathlib.Path(settings.data.dir, "solids", category, f"{id}.ply")
  cloud = example["pointcloud"]
  inputs = transform(example, loader.shape_rng(settings.seed, index))["inputs"]
  return ReportShape(
    id=id,
    category=category,
    metrics=row,
    observation=panes.viewable(settings.data.inputs, inputs),
    reconstruction=reconstruction,
    truth=mesh_io.read_mesh(solid) if solid.exists() else None,
    truth_points=cloud["points"].astype(np.float32),
    truth_normals=cloud["normals"].astype(np.float32),
    credit=credits.get((category, id), ""),
  )


def _credits(path: pathlib.Path) -> dict[tuple[str, str], str]:
  """Author and licence of shapes by category and id, for those that have them."""
  if not path.exists():
    return {}
  with path.open(newline="", encoding="utf-8") as stream:
    return {
      (files.from_cell(row["category"]), files.from_cell(row["id"])): ", ".join(
        filter(None, (row.get("attribution"), row.get("licence")))
      )
      for row in csv.DictReader(stream)
    }
