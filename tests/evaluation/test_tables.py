"""Summaries and their files against sums done by hand."""

import csv
import math

import numpy as np
import pytest

from occnet_jax.evaluation import metrics, tables

ROWS = [
  {"category": "car", "id": "7", "iou": 0.8, "chamfer_l1": 0.01, "empty": False},
  {"category": "car", "id": "8", "iou": 0.6, "chamfer_l1": 0.03, "empty": False},
  {"category": "car", "id": "9", "iou": 0.1, "chamfer_l1": 0.05, "empty": False},
  {"category": "bench", "id": "1", "iou": 0.0, "chamfer_l1": 1.73, "empty": True},
]


def test_classes_weigh_the_same_in_one_mean_and_meshes_in_the_other():
  bench, car, over_classes, over_meshes = tables.summarise(ROWS)
  assert [bench["category"], car["category"]] == ["bench", "car"]
  np.testing.assert_allclose([bench["iou"], car["iou"]], [0, 0.5])
  assert over_classes["category"] == tables.MEAN_OF_CLASSES
  assert over_meshes["category"] == tables.MEAN_OF_MESHES
  np.testing.assert_allclose(over_classes["iou"], 0.25)
  np.testing.assert_allclose(over_meshes["iou"], 1.5 / 4)
  np.testing.assert_allclose(over_classes["chamfer_l1"], (0.03 + 1.73) / 2)


def test_empty_and_missing_meshes_are_counted():
  lost = tables.missing_row("car", "10", "field is NaN")
  rows = tables.summarise([*ROWS, lost])
  counts = [tuple(row[k] for k in ("meshes", "empty", "missing")) for row in rows]
  assert counts == [(1, 1, 0), (3, 0, 1), (4, 1, 1), (4, 1, 1)]
  np.testing.assert_allclose(rows[1]["iou"], 0.5)


def test_a_category_of_missing_meshes_shows_and_spoils_the_mean_of_classes():
  rows = tables.summarise([*ROWS, tables.missing_row("sofa", "1", "file not there")])
  sofa, over_classes, over_meshes = rows[2:]
  assert (sofa["category"], sofa["missing"]) == ("sofa", 1)
  assert math.isnan(sofa["iou"])
  assert math.isnan(over_classes["iou"])
  np.testing.assert_allclose(over_meshes["iou"], 1.5 / 4)


def test_a_figure_that_one_mesh_lacks_is_not_averaged_over_the_others():
  (car, *_) = tables.summarise([ROWS[0] | {"seconds": 3.0}, ROWS[1]])
  assert math.isnan(car["seconds"])


def test_no_rows_is_an_error():
  with pytest.raises(ValueError, match="0 rows to summarise"):
    tables.summarise([])


def test_a_csv_file_holds_every_row_under_every_name(tmp_path):
  path = tmp_path / "evaluation" / "per_mesh.csv"
  lost = tables.missing_row("car", "10", "two, three\nlines")
  tables.write_csv(path, [*ROWS, lost])
  with path.open(newline="") as file:
    read = list(csv.DictReader(file))
  assert len(read) == 5
  assert read[0]["iou"] == "0.8"
  assert read[3]["empty"] == "True"
  assert read[4]["reason"] == "two, three\nlines"
  assert read[4]["iou"] == ""
  assert [file.name for file in path.parent.iterdir()] == ["per_mesh.csv"]


def test_no_cell_is_a_formula_for_a_spreadsheet(tmp_path):
  names = ["=cmd|' C calc'!A0", "@x", "+1", "-x.ply", "a\x1b[31m.ply", "'=1", "a=b"]
  rows = [{"id": name, "iou": -0.5} for name in names]
  tables.write_csv(tmp_path / "a.csv", rows)
  with (tmp_path / "a.csv").open(newline="") as file:
    cells = [(row["id"], row["iou"]) for row in csv.DictReader(file)]
  assert cells == [
    ("'=cmd|' C calc'!A0", "-0.5"),
    ("'@x", "-0.5"),
    ("'+1", "-0.5"),
    ("'-x.ply", "-0.5"),
    (r"a\x1b[31m.ply", "-0.5"),
    ("''=1", "-0.5"),
    ("a=b", "-0.5"),
  ]


def test_every_metric_has_a_column_that_explains_it():
  nowhere = metrics.Distances(np.ones(1), np.ones(1))
  names = {"iou", "emd", "iou_voxels", *metrics.compare_surfaces(nowhere, nowhere)}
  assert names == tables.COLUMNS.keys()
