"""A small report with one shape of every kind."""

import numpy as np
import trimesh

from occnet_jax.evaluation import tables
from occnet_jax.viz import report
from occnet_jax.viz.charts import Chart

TITLE = 'Cars & <chairs> "quoted" {{style}}'
FACTS = {"Config": "configs/x.py", "Checkpoint": "step 1,000", "Wall time": "1 < 2 min"}
STEPS = np.arange(0, 1001, 10)
CREDIT = "Zoë & <Co>, CC-BY-4.0"
CHARTS = [
  Chart(
    "Loss",
    "nats per shape",
    {
      "training": (STEPS, 1000 * np.exp(-STEPS / 300) + 10),
      "validation": ([0, 500, 1000], [1000, 220, 40]),
    },
    log=True,
  ),
  Chart("IoU", "ratio", {"validation": ([0, 500, 1000], [0.1, 0.5, 0.6])}),
]


def row(category, id, iou):
  figures = dict.fromkeys(tables.COLUMNS, 0.25) | {"iou": iou}
  return {"category": category, "id": id, "empty": iou == 0} | figures


def ball():
  mesh = trimesh.creation.icosphere(4, 0.4)
  return np.array(mesh.vertices), np.array(mesh.faces)


def box():
  mesh = trimesh.creation.box((0.8, 0.5, 0.3))
  return np.array(mesh.vertices), np.array(mesh.faces)


def write(path):
  """Writes the page and returns its rows."""
  rng = np.random.default_rng(0)
  normals = rng.normal(size=(3000, 3))
  normals /= np.linalg.norm(normals, axis=1, keepdims=True)
  nothing = np.zeros((0, 3)), np.zeros((0, 3), np.int64)
  lost = tables.missing_row("chair", "id-missing", "the field is <NaN>")
  rows = [row("car", "id-good", 0.5), row("car", "id-empty", 0.0), lost]
  cloud = 0.4 * normals[:300]
  surface = {"truth_points": 0.4 * normals, "truth_normals": normals}
  report.write_report(
    path,
    title=TITLE,
    facts=FACTS,
    summary=tables.summarise(rows),
    charts=CHARTS,
    shapes=[
      report.ReportShape(
        "id-good", "car", rows[0], cloud, ball(), **surface, credit=CREDIT
      ),
      report.ReportShape("id-empty", "car", rows[1], cloud, nothing, truth=box()),
      report.ReportShape("id-missing", "chair", lost, cloud, None),
    ],
  )
  return rows
