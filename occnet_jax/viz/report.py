"""report.html: one file, opened from disk, with a run's results (host).

Facts, metrics with their meaning, curves, and shapes in 3D: the input, the
reconstruction and the truth side by side under linked cameras. The page holds
everything it shows and its content security policy forbids it to fetch anything.

Shape letters: n points, v vertices, f faces, k images, h w image side.
"""

import io
import math
import os
import pathlib
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import markupsafe
import numpy as np
from jaxtyping import Float
from PIL import Image

from occnet_jax import files
from occnet_jax.evaluation import tables
from occnet_jax.evaluation.tables import Row
from occnet_jax.viz import charts, glb, pages
from occnet_jax.viz.charts import Chart

INPUT_COLOUR, OUTPUT_COLOUR, TRUTH_COLOUR = "#bd7743", "#7a8fab", "#b8b3a7"
HEADLINES = ("iou", "chamfer_l1_x10", "normal_consistency", "f_score_1pct")
# Chamfer-L1 in the unit of the papers alone; the CSV files have both.
SHOWN = tuple(name for name in tables.COLUMNS if name != "chamfer_l1")
SHAPE_FIGURES = ("iou", "chamfer_l1_x10", "normal_consistency", "f_score_1pct")

Mesh = tuple[np.ndarray, np.ndarray]  # vertices (v, 3), faces (f, 3)


class ReportShape(NamedTuple):
  """One test shape to show; all of it in the cube's frame, y up.

  Attributes:
    id: name of the shape within its category.
    category: category of the shape.
    metrics: its row, as `metrics.evaluate_mesh` returns it; may lack any figure.
    observation: the network's input: a cloud (n, 3), an image (h, w, 3) from 0 to 1 or
      several (k, h, w, 3), an occupancy grid as a mesh, or None for nothing.
    reconstruction: mesh; one without faces is shown as empty, None as missing.
    truth: mesh, if there is one.
    truth_points: (n, 3) on the true surface, drawn where there is no mesh.
    truth_normals: (n, 3) there; without them the points are drawn as balls.
    credit: author of the shape, and its licence.
  """

  id: str
  category: str
  metrics: dict[str, Any]
  observation: np.ndarray | Mesh | None
  reconstruction: Mesh | None
  truth: Mesh | None = None
  truth_points: np.ndarray | None = None
  truth_normals: np.ndarray | None = None
  credit: str = ""


class _Pane(NamedTuple):
  """One of the three pictures of a shape.

  Attributes:
    title: heading.
    caption: beside the heading.
    message: sentence in place of a picture.
    reason: second sentence, below the message.
    model: data URL of a GLB file, to be turned.
    image: data URL of a PNG file.
    alt: text for those who cannot see the picture.
  """

  title: str
  caption: str = ""
  message: str = ""
  reason: str = ""
  model: str = ""
  image: str = ""
  alt: str = ""


def write_report(
  path: str | os.PathLike,
  *,
  title: str,
  facts: dict[str, str],
  summary: Sequence[Row],
  charts: Sequence[Chart],
  shapes: Sequence[ReportShape],
  digest: str = "",
) -> None:
  """Writes the page in one piece, so that a stop leaves the old page or the new one.

  Args:
    path: HTML file to write.
    title: title of the page.
    facts: names and values to show, such as config, step, level and times.
    summary: rows of `tables.summarise`; empty if nothing was measured yet.
    charts: curves over training steps.
    shapes: shapes to show in 3D.
    digest: digest of all that the page depends on, for `read_digest`.
  """
  summary_by_category = {row["category"]: row for row in summary}
  page = pages.render(
    "report.html",
    title=title,
    digest=digest,
    facts=facts,
    columns=tables.COLUMNS,
    names=[name for name in SHOWN if summary and name in summary[0]],
    means=(tables.MEAN_OF_CLASSES, tables.MEAN_OF_MESHES),
    mean_of_classes=summary_by_category.get(tables.MEAN_OF_CLASSES),
    headlines=HEADLINES,
    shape_figures=SHAPE_FIGURES,
    summary=summary,
    charts=_draw_charts(charts),
    shapes=shapes,
    panes=[_panes(shape) for shape in shapes],
    format_figure=format_figure,
  )
  with files.atomic_write(path) as scratch:
    scratch.write_text(page, encoding="utf-8")


def read_digest(path: str | os.PathLike) -> str:
  """The digest in the head of a page of `write_report`; "" if there is none."""
  path = pathlib.Path(path)
  if not path.exists():
    return ""
  with path.open("rb") as file:
    head = file.read(1024)
  match = re.search(rb'<meta name="digest" content="([^"]*)">', head)
  return match[1].decode() if match else ""


def format_figure(value: float | int, name: str) -> str:
  """A figure in the digits of its column; "n/a" if it is not a number."""
  if math.isnan(value):
    return "n/a"
  return f"{value:.{tables.COLUMNS[name].digits}f}"


def _draw_charts(pictures: Sequence[Chart]) -> list[markupsafe.Markup]:
  return [markupsafe.Markup(charts.draw(picture)) for picture in pictures]


def _panes(shape: ReportShape) -> list[_Pane]:
  name = f"{shape.category} {shape.id}"
  return [_input_pane(shape, name), _output_pane(shape, name), _truth_pane(shape, name)]


def _input_pane(shape: ReportShape, name: str) -> _Pane:
  observation = shape.observation
  if observation is None:
    return _Pane("Input", message="None: this network takes no input.")
  if isinstance(observation, tuple):
    model = _model(glb.mesh_glb(*observation, INPUT_COLOUR))
    alt = f"Input grid of {name}"
    return _Pane("Input", "occupancy grid", model=model, alt=alt)
  if observation.ndim > 2:
    images = observation if observation.ndim == 4 else observation[None]
    caption = "one picture" if len(images) == 1 else f"{len(images)} pictures"
    return _Pane("Input", caption, image=_strip(images), alt=f"Input of {name}")
  if not len(observation):
    return _Pane("Input", message="No input points.")
  caption = f"{len(observation):,} points"
  if len(observation) > glb.MAX_BALLS:
    caption += f", {glb.MAX_BALLS:,} shown"
  model = _model(glb.cloud_glb(observation, INPUT_COLOUR))
  return _Pane("Input", caption, model=model, alt=f"Input points of {name}")


def _output_pane(shape: ReportShape, name: str) -> _Pane:
  title, reason = "Reconstruction", str(shape.metrics.get("reason", ""))
  if shape.reconstruction is None:
    return _Pane(title, message="Missing: there is no mesh.", reason=reason)
  vertices, faces = shape.reconstruction
  if not len(faces):
    message = "Empty: no point exceeds the threshold."
    return _Pane(title, "0 faces", message=message)
  model = _model(glb.mesh_glb(vertices, faces, OUTPUT_COLOUR))
  alt = f"Reconstruction of {name}"
  return _Pane(title, _face_count(len(faces)), model=model, alt=alt)


def _truth_pane(shape: ReportShape, name: str) -> _Pane:
  alt = f"True shape of {name}"
  if shape.truth is not None and len(shape.truth[1]):
    model = _model(glb.mesh_glb(*shape.truth, TRUTH_COLOUR))
    return _Pane("Truth", _face_count(len(shape.truth[1])), model=model, alt=alt)
  points, normals = shape.truth_points, shape.truth_normals
  if points is None or not len(points):
    return _Pane("Truth", message="Not kept in this data set.")
  if normals is None:
    data, shown = glb.cloud_glb(points, TRUTH_COLOUR), glb.MAX_BALLS
  else:
    data, shown = glb.surface_glb(points, normals, TRUTH_COLOUR), glb.MAX_DISCS
  caption = f"surface, {min(len(points), shown):,} points"
  return _Pane("Truth", caption, model=_model(data), alt=alt)


def _face_count(count: int) -> str:
  shown = f", {glb.MAX_FACES:,} shown" if count > glb.MAX_FACES else ""
  return f"{count:,} faces{shown}"


def _model(data: bytes) -> str:
  return pages.data_url(data, "model/gltf-binary")


def _strip(images: Float[np.ndarray, "k h w 3"]) -> str:
  """Images from 0 to 1, side by side, as the data URL of a PNG."""
  strip = np.concatenate(list(images), axis=1)
  buffer = io.BytesIO()
  Image.fromarray(np.rint(255 * strip).astype(np.uint8)).save(buffer, "PNG")
  return pages.data_url(buffer.getvalue(), "image/png")
