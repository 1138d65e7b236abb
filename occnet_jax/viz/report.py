"""report.html: one file, opened from disk, that shows what a run came to (host).

Facts, metrics with their meaning, curves, and shapes in 3D: what the network saw,
the reconstruction and the truth side by side under linked cameras. The page holds
everything it shows and its content security policy forbids it to fetch anything.

Shape letters: n points, v vertices, f faces.
"""

import base64
import html
import importlib.resources
import io
import math
import os
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from occnet_jax import files
from occnet_jax.evaluation import tables
from occnet_jax.evaluation.tables import Row
from occnet_jax.viz import charts, glb
from occnet_jax.viz.charts import Chart

INPUT_COLOUR, OUTPUT_COLOUR, TRUTH_COLOUR = "#bd7743", "#7a8fab", "#b8b3a7"
HEADLINES = ("iou", "chamfer_l1_x10", "normal_consistency", "f_score_1pct")
SHAPE_FIGURES = ("iou", "chamfer_l1", "normal_consistency", "f_score_1pct")

Mesh = tuple[np.ndarray, np.ndarray]  # vertices (v, 3), faces (f, 3)


class ReportShape(NamedTuple):
  """One test shape to look at; all of it in the cube's frame, y up.

  Attributes:
    id: of the shape.
    category: of the shape.
    metrics: its row, as `metrics.evaluate_mesh` returns it; may lack any figure.
    seen: what the network saw: a cloud (n, 3), a picture (h, w, 3) from 0 to 1 or
      several (k, h, w, 3), an occupancy grid as a mesh, or None for nothing.
    reconstruction: mesh; one without faces is shown as empty, None as missing.
    truth: mesh, if there is one.
    truth_points: (n, 3) on the true surface, drawn where there is no mesh.
    truth_normals: (n, 3) there; without them the points are drawn as balls.
    credit: who made the shape, and its licence.
  """

  id: str
  category: str
  metrics: dict[str, Any]
  seen: np.ndarray | Mesh | None
  reconstruction: Mesh | None
  truth: Mesh | None = None
  truth_points: np.ndarray | None = None
  truth_normals: np.ndarray | None = None
  credit: str = ""


def write_report(
  path: str | os.PathLike,
  *,
  title: str,
  facts: dict[str, str],
  summary: Sequence[Row],
  charts: Sequence[Chart],
  shapes: Sequence[ReportShape],
) -> None:
  """Writes the page; it is there whole or not at all.

  Args:
    path: of the HTML file.
    title: of the page.
    facts: what the run was: config, step, tau, times, in the order to show them.
    summary: rows of `tables.summarise`; empty if nothing was measured yet.
    charts: curves over training steps.
    shapes: to look at in 3D.
  """
  page = _fill(
    _asset("report.html"),
    {
      "title": html.escape(title),
      "headlines": _headlines(summary),
      "facts": _facts(facts),
      "metrics": _metrics(summary),
      "charts": _charts(charts),
      "shapes": "".join(_shape(shape) for shape in shapes) or _nothing("shapes"),
      "style": _asset("report.css"),
      "viewer": _asset("model-viewer.min.js"),
      "script": _asset("report.js"),
    },
  )
  with files.atomic_write(path) as scratch:
    scratch.write_text(page, encoding="utf-8")


def _asset(name: str) -> str:
  assets = importlib.resources.files("occnet_jax.evaluation") / "assets"
  return (assets / name).read_text(encoding="utf-8")


def _fill(template: str, parts: dict[str, str]) -> str:
  """Puts every part at its {{name}}, once, so that no part can hold a placeholder."""
  return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], template)


def _nothing(what: str) -> str:
  return f'<p class="nothing">No {what}.</p>'


def _headlines(summary: Sequence[Row]) -> str:
  """The figures that papers print first: means of class means."""
  row = next((r for r in summary if r["category"] == tables.MEAN_OF_CLASSES), None)
  if row is None:
    return ""
  items = []
  for name in HEADLINES:
    if name in row:
      column = tables.COLUMNS[name]
      items.append(
        f'<li title="{html.escape(column.meaning)}"><b>{_number(row[name], name)}</b>'
        f"<span>{html.escape(column.label)}</span></li>"
      )
  counts = ", ".join(
    f"{row[count] or 'none'} {name}"
    for count, name in (
      ("meshes", "measured"),
      ("empty", "empty"),
      ("missing", "missing"),
    )
  )
  note = f'<p class="note">Means of class means. Meshes: {counts}.</p>'
  return f'<ul class="headlines">{"".join(items)}</ul>{note}'


def _facts(facts: dict[str, str]) -> str:
  items = (
    f"<div><dt>{html.escape(name)}</dt><dd>{html.escape(str(value))}</dd></div>"
    for name, value in facts.items()
  )
  return f'<dl class="facts">{"".join(items)}</dl>'


def _metrics(summary: Sequence[Row]) -> str:
  """The table of categories and means, and what its columns mean."""
  if not summary:
    return _nothing("measurements")
  names = [name for name in tables.COLUMNS if name in summary[0]]
  head = "".join(_heading(name) for name in names)
  head += "".join(f'<th scope="col">{n}</th>' for n in ("Meshes", "Empty", "Missing"))
  body = "".join(_table_row(row, names) for row in summary)
  meanings = "".join(
    f"<div><dt>{html.escape(column.label)}</dt><dd>{html.escape(column.meaning)} "
    f"{column.better.capitalize()} is better.{_in_unit(column.unit)}</dd></div>"
    for column in map(tables.COLUMNS.__getitem__, names)
  )
  return (
    '<div class="wide" role="region" aria-label="Metrics" tabindex="0"><table>'
    f'<thead><tr><th scope="col">Category</th>{head}</tr></thead>'
    f"<tbody>{body}</tbody></table></div>"
    '<p class="note">One cube unit is the largest extent of a shape. An empty mesh '
    "counts with the worst figures; a missing one has none and is only counted.</p>"
    f'<details><summary>What the columns mean</summary><dl class="meanings">{meanings}'
    "</dl></details>"
  )


def _in_unit(unit: str) -> str:
  return f" In {html.escape(unit)}." if unit else ""


def _heading(name: str) -> str:
  column = tables.COLUMNS[name]
  arrow = {"higher": "↑", "lower": "↓"}[column.better]
  unit = f"<small>{html.escape(column.unit)}</small>" if column.unit else ""
  label = html.escape(column.label.replace("-", "\N{NON-BREAKING HYPHEN}"))
  return (
    f'<th scope="col" title="{html.escape(column.meaning)}">{label}&nbsp;'
    f'<span aria-label="{column.better} is better">{arrow}</span>{unit}</th>'
  )


def _table_row(row: Row, names: Sequence[str]) -> str:
  is_mean = row["category"] in (tables.MEAN_OF_CLASSES, tables.MEAN_OF_MESHES)
  counts = "".join(
    f"<td{' class=warn' if name != 'meshes' and row[name] else ''}>{row[name]}</td>"
    for name in ("meshes", "empty", "missing")
  )
  cells = "".join(f"<td>{_number(row[name], name)}</td>" for name in names)
  return (
    f'<tr{" class=mean" if is_mean else ""}><th scope="row">'
    f"{html.escape(row['category'])}</th>{cells}{counts}</tr>"
  )


def _number(value: float | int, name: str) -> str:
  if math.isnan(value):
    return '<span title="cannot be formed">n/a</span>'
  return f"{value:.{tables.COLUMNS[name].digits}f}"


def _charts(pictures: Sequence[Chart]) -> str:
  return "".join(map(charts.draw, pictures)) or _nothing("curves")


def _shape(shape: ReportShape) -> str:
  """A shape's heading and its three pictures."""
  figures = " ".join(
    f"<span>{html.escape(tables.COLUMNS[name].label)} "
    f"<b>{_number(shape.metrics[name], name)}</b></span>"
    for name in SHAPE_FIGURES
    if name in shape.metrics
  )
  name = f"{shape.category} {shape.id}"
  panes = (
    _input_pane(shape, name) + _output_pane(shape, name) + _truth_pane(shape, name)
  )
  credit = f'<p class="note">{html.escape(shape.credit)}</p>' if shape.credit else ""
  return (
    f'<article class="shape" aria-label="{html.escape(name)}"><header>'
    f"<h3>{html.escape(shape.category)} <small>{html.escape(shape.id)}</small></h3>"
    f'<p class="figures">{figures}</p>'
    '<button type="button" class="reset">Reset view</button>'
    f'</header><div class="panes">{panes}</div>{credit}</article>'
  )


def _input_pane(shape: ReportShape, name: str) -> str:
  seen = shape.seen
  if seen is None:
    return _pane("Input", "", _words("None: this network sees nothing of a shape."))
  if isinstance(seen, tuple):
    data = glb.mesh_glb(*seen, INPUT_COLOUR)
    return _pane("Input", "occupancy grid", _viewer(data, f"Input grid of {name}"))
  if seen.ndim > 2:
    pictures = seen if seen.ndim == 4 else seen[None]
    caption = "one picture" if len(pictures) == 1 else f"{len(pictures)} pictures"
    return _pane("Input", caption, _picture(pictures, f"Input of {name}"))
  count = len(seen)
  if not count:
    return _pane("Input", "", _words("No input points."))
  caption = f"{count:,} points"
  if count > glb.MAX_BALLS:
    caption += f", {glb.MAX_BALLS:,} shown"
  data = glb.cloud_glb(seen, INPUT_COLOUR)
  return _pane("Input", caption, _viewer(data, f"Input points of {name}"))


def _output_pane(shape: ReportShape, name: str) -> str:
  if shape.reconstruction is None:
    words = "Missing: there is no mesh."
    return _pane("Reconstruction", "", _words(words, shape.metrics.get("reason", "")))
  vertices, faces = shape.reconstruction
  if not len(faces):
    words = "Empty: the network sees nothing solid here."
    return _pane("Reconstruction", "0 faces", _words(words))
  data = glb.mesh_glb(vertices, faces, OUTPUT_COLOUR)
  picture = _viewer(data, f"Reconstruction of {name}")
  return _pane("Reconstruction", _face_count(len(faces)), picture)


def _truth_pane(shape: ReportShape, name: str) -> str:
  alt = f"True shape of {name}"
  if shape.truth is not None and len(shape.truth[1]):
    data = glb.mesh_glb(*shape.truth, TRUTH_COLOUR)
    return _pane("Truth", _face_count(len(shape.truth[1])), _viewer(data, alt))
  points, normals = shape.truth_points, shape.truth_normals
  if points is None or not len(points):
    return _pane("Truth", "", _words("Not kept in this data set."))
  if normals is None:
    data, shown = glb.cloud_glb(points, TRUTH_COLOUR), glb.MAX_BALLS
  else:
    data, shown = glb.surface_glb(points, normals, TRUTH_COLOUR), glb.MAX_DISCS
  caption = f"surface, {min(len(points), shown):,} points"
  return _pane("Truth", caption, _viewer(data, alt))


def _face_count(count: int) -> str:
  shown = f", {glb.MAX_FACES:,} shown" if count > glb.MAX_FACES else ""
  return f"{count:,} faces{shown}"


def _pane(title: str, caption: str, content: str) -> str:
  return (
    f"<figure><figcaption><b>{title}</b> {caption}</figcaption>"
    f'<div class="stage">{content}</div></figure>'
  )


def _words(sentence: str, reason: str = "") -> str:
  reason = f"<br>{html.escape(str(reason))}" if reason else ""
  return f'<p class="words">{html.escape(sentence)}{reason}</p>'


def _picture(pictures: np.ndarray, alt: str) -> str:
  """Pictures (k, h, w, 3) from 0 to 1, side by side."""
  strip = np.concatenate(list(pictures), axis=1)
  buffer = io.BytesIO()
  Image.fromarray(np.rint(255 * strip).astype(np.uint8)).save(buffer, "PNG")
  encoded = base64.b64encode(buffer.getvalue()).decode()
  return (
    f'<img class="seen" alt="{html.escape(alt)}" src="data:image/png;base64,{encoded}">'
  )


def _viewer(data: bytes, alt: str) -> str:
  encoded = base64.b64encode(data).decode()
  return (
    f'<model-viewer alt="{html.escape(alt)}" '
    f'src="data:model/gltf-binary;base64,{encoded}"></model-viewer>'
  )
