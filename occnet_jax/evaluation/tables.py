"""Rows of measurements: columns, means and CSV files (host).

A row is a dict. The row of a mesh holds `category`, `id`, all that
`metrics.evaluate_mesh` returns, and other numbers to average, such as seconds. A shape
without a mesh has a row from `missing_row`: it is counted and listed, without figures.
"""

import csv
import math
import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from occnet_jax import files

Row = dict[str, Any]

MEAN_OF_CLASSES = "mean of classes"
MEAN_OF_MESHES = "mean of meshes"


class Column(NamedTuple):
  """A metric as tables show it.

  Attributes:
    label: heading.
    unit: unit of the figure; "" for a ratio.
    better: "higher" or "lower".
    digits: number of decimals in print.
    meaning: one sentence for the reader of a table.
  """

  label: str
  unit: str
  better: str
  digits: int
  meaning: str


COLUMNS = {
  "iou": Column(
    "IoU",
    "",
    "higher",
    3,
    "Volume in both shapes over volume in either, at random points of the padded cube.",
  ),
  "chamfer_l1": Column(
    "Chamfer-L1",
    "cube units",
    "lower",
    4,
    "Half the sum of accuracy and completeness.",
  ),
  "chamfer_l1_x10": Column(
    "Chamfer-L1 × 10",
    "tenths of the cube",
    "lower",
    3,
    "The same, as the papers print it.",
  ),
  "chamfer_l2": Column(
    "Chamfer-L2",
    "square cube units",
    "lower",
    5,
    "Half the sum of the mean squared distances in both directions.",
  ),
  "accuracy": Column(
    "Accuracy",
    "cube units",
    "lower",
    4,
    "Mean distance from the reconstruction to the nearest true point.",
  ),
  "completeness": Column(
    "Completeness",
    "cube units",
    "lower",
    4,
    "Mean distance from the true surface to the nearest reconstructed point.",
  ),
  "normal_consistency": Column(
    "Normal consistency",
    "",
    "higher",
    3,
    "Mean absolute cosine between the normals of nearest points, both directions.",
  ),
  "f_score_1pct": Column(
    "F-score 1 %",
    "",
    "higher",
    3,
    "Harmonic mean of precision and recall at a distance of 0.01 cube units.",
  ),
  "precision_1pct": Column(
    "Precision 1 %",
    "",
    "higher",
    3,
    "Share of the reconstruction within 0.01 cube units of the true surface.",
  ),
  "recall_1pct": Column(
    "Recall 1 %",
    "",
    "higher",
    3,
    "Share of the true surface within 0.01 cube units of the reconstruction.",
  ),
  "emd": Column(
    "EMD",
    "cube units",
    "lower",
    4,
    "Mean length of the moves that turn points of one surface into those of the other.",
  ),
  "iou_voxels": Column(
    "IoU of cells",
    "",
    "higher",
    3,
    "Cells of the stored grid inside both shapes over cells inside either.",
  ),
}


def missing_row(category: str, id: str, reason: str) -> Row:
  """The row of a shape that has no mesh to measure, with the reason."""
  return {"category": category, "id": id, "missing": True, "reason": reason}


def is_whole(row: Row) -> bool:
  """Whether the row of a shape has its index and its mesh; a damaged one may not."""
  is_counted = row.get("missing") or isinstance(row.get("faces"), int)
  return isinstance(row.get("index"), int) and bool(is_counted)


def summarise(rows: Sequence[Row]) -> list[Row]:
  """Means per category, then the mean of those means, then the mean over all meshes.

  The papers print the unweighted mean of class means. Nothing is left out silently:
  every row is in one of the counts, an empty mesh has its figures in the means, and the
  mean of no figures (a category of missing meshes only) is NaN, as is a mean over NaN.

  Args:
    rows: one per mesh.

  Returns:
    Rows with `category`, the counts `meshes` (measured, empty ones included), `empty`
    and `missing`, and the mean of every number that the measured rows hold.

  Raises:
    ValueError: there are no rows.
  """
  if not rows:
    raise ValueError("0 rows to summarise, want one per mesh; is the test split empty?")
  names = _numbers(rows)
  categories: dict[str, list[Row]] = {}
  for row in rows:
    categories.setdefault(row["category"], []).append(row)
  means = [_means(name, categories[name], names) for name in sorted(categories)]
  over_meshes = _means(MEAN_OF_MESHES, rows, names)
  over_classes = over_meshes | {"category": MEAN_OF_CLASSES}
  over_classes |= {name: _mean([row[name] for row in means]) for name in names}
  return [*means, over_classes, over_meshes]


def write_csv(path: str | os.PathLike, rows: Sequence[Row]) -> None:
  """Writes rows under a heading of all their keys in order of appearance.

  Floats have 6 significant digits; a key that a row lacks is an empty cell.
  """
  names = list(dict.fromkeys(name for row in rows for name in row))
  with files.atomic_write(path) as scratch, scratch.open("w", newline="") as file:
    writer = csv.DictWriter(file, names)
    writer.writeheader()
    writer.writerows({name: _cell(row[name]) for name in row} for row in rows)


def as_text(rows: Sequence[Row]) -> str:
  """A summary as an aligned table for the terminal: counts and headline metrics."""
  metrics = ["iou", "chamfer_l1_x10", "normal_consistency", "f_score_1pct"]
  asked = [name for name in rows[0] if name.startswith("f_score_")]
  metrics += [name for name in (*asked, "emd", "iou_voxels") if name not in metrics]
  names = ["category", "meshes", "empty", "missing"]
  names += [name for name in metrics if any(name in row for row in rows)]
  heads = [COLUMNS[n].label if n in COLUMNS else n for n in names]
  cells = [
    [f"{v:.3f}" if isinstance(v, float) else str(v) for v in map(row.get, names)]
    for row in rows
  ]
  widths = [max(map(len, column)) for column in zip(heads, *cells, strict=True)]
  lines = [
    "  ".join(
      cell.rjust(width) if i else cell.ljust(width)
      for i, (cell, width) in enumerate(zip(line, widths, strict=True))
    )
    for line in [heads, *cells]
  ]
  return "\n".join(line.rstrip() for line in lines)


def _numbers(rows: Sequence[Row]) -> list[str]:
  names = dict.fromkeys(
    name for row in rows for name in row if name not in ("id", "index")
  )
  return [name for name in names if any(_is_number(row.get(name)) for row in rows)]


def _is_number(value: Any) -> bool:
  return isinstance(value, int | float | np.number) and not isinstance(value, bool)


def _means(category: str, rows: Sequence[Row], names: Sequence[str]) -> Row:
  measured = [row for row in rows if not row.get("missing", False)]
  counts = {
    "meshes": len(measured),
    "empty": sum(bool(row.get("empty", False)) for row in measured),
    "missing": len(rows) - len(measured),
  }
  means = {name: _mean([row.get(name, math.nan) for row in measured]) for name in names}
  return {"category": category} | counts | means


def _mean(values: Sequence[float | int]) -> float:
  return sum(map(float, values)) / len(values) if values else math.nan


def _cell(value: Any) -> Any:
  if isinstance(value, str):
    return files.to_cell(value)
  return f"{value:.6g}" if isinstance(value, float | np.floating) else value
