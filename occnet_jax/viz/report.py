"""report.html: one file, opened from disk, with a run's results (host).

Facts, metrics with their meaning, curves, and shapes in 3D: the input, the
reconstruction and the truth side by side under linked cameras. The page holds
everything it shows and its content security policy forbids it to fetch anything.
"""

import math
import os
import pathlib
import re
from collections.abc import Sequence

import markupsafe

from occnet_jax import files
from occnet_jax.evaluation import tables
from occnet_jax.evaluation.tables import Row
from occnet_jax.viz import charts, pages, panes
from occnet_jax.viz.charts import Chart
from occnet_jax.viz.panes import ReportShape

HEADLINES = ("iou", "chamfer_l1_x10", "normal_consistency", "f_score_1pct")
# Chamfer-L1 in the unit of the papers alone; the CSV files have both.
SHOWN = tuple(name for name in tables.COLUMNS if name != "chamfer_l1")
SHAPE_FIGURES = ("iou", "chamfer_l1_x10", "normal_consistency", "f_score_1pct")


def write_report(
  path: str | os.PathLike,
  *,
  title: str,
  facts: dict[str, str],
  summary: Sequence[Row],
  charts: Sequence[Chart],
  shapes: Sequence[ReportShape],
  digest: str = "",
  picture: str = "",
  reload: int = 0,
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
    picture: data URL of a picture of shapes, shown above those in 3D; "" for none.
    reload: seconds after which the page loads itself again; 0 for a page that is
      finished.
  """
  summary_by_category = {row["category"]: row for row in summary}
  page = pages.render(
    "report.html",
    title=title,
    digest=digest,
    picture=picture,
    reload=reload,
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
    panes=[panes.all_panes(shape) for shape in shapes],
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
