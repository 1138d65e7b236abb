"""The page as text: complete, well-formed, escaped and on its own."""

import base64
import html.parser
import math
import re

import numpy as np
import pytest
import trimesh

from occnet_jax.evaluation import tables
from occnet_jax.viz import pages, report
from tests.helpers.report_example import CHARTS, CREDIT, FACTS, TITLE, ball, box, write

VOID = {"meta", "link", "br", "img", "input", "hr"}


class Page(html.parser.HTMLParser):
  """Checks that tags nest; collects text, attributes and the rows of the table."""

  def __init__(self, source):
    super().__init__()
    self.open, self.words, self.attributes, self.rows = [], [], [], []
    self.feed(source)
    self.close()
    assert self.open == []

  def handle_starttag(self, tag, attrs):
    self.attributes += [(tag, name, value) for name, value in attrs]
    if tag not in VOID:
      self.open.append(tag)
    if tag == "tr":
      self.rows.append([])

  def handle_startendtag(self, tag, attrs):
    self.attributes += [(tag, name, value) for name, value in attrs]

  def handle_endtag(self, tag):
    assert self.open.pop() == tag

  def handle_data(self, data):
    if self.open and self.open[-1] in ("script", "style"):
      return
    self.words.append(data)
    if {"th", "td"} & set(self.open) and "tr" in self.open:
      self.rows[-1].append(data)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
  path = tmp_path_factory.mktemp("report") / "report.html"
  write(path)
  return Page(path.read_text())


def attributes(page, tag, name):
  return [value for t, n, value in page.attributes if (t, n) == (tag, name)]


def test_text_is_shown_as_it_is_written(page):
  words = "".join(page.words)
  assert TITLE in words
  for name, value in FACTS.items():
    assert name in words
    assert value in words
  for chart in CHARTS:
    assert chart.unit in words
  assert "the field is <NaN>" in words
  assert words.count(CREDIT) == 1


def test_the_table_has_a_row_for_every_category_and_mean(page):
  head, *body = page.rows
  assert "cube units" in head
  assert [[row[0], *row[-3:]] for row in body] == [
    ["car", "2", "1", "0"],
    ["chair", "0", "0", "1"],
    [tables.MEAN_OF_CLASSES, "2", "1", "1"],
    [tables.MEAN_OF_MESHES, "2", "1", "1"],
  ]
  assert [row[1] for row in body] == ["0.250", "n/a", "n/a", "0.250"]
  assert all(len(row) == 4 + len(report.SHOWN) for row in body)


def test_every_metric_is_explained(page):
  words = "".join(page.words)
  columns = [tables.COLUMNS[name] for name in report.SHOWN]
  assert len(columns) == len(tables.COLUMNS) - 1  # Chamfer-L1 has two units
  for column in columns:
    assert column.label in words
    assert column.meaning in words
  meanings = {column.meaning for column in columns}
  assert meanings <= set(attributes(page, "th", "title"))


def test_every_shape_is_there_with_its_pictures_or_the_reason_why_not(page):
  words = "".join(page.words)
  assert all(id in words for id in ("id-good", "id-empty", "id-missing"))
  assert attributes(page, "model-viewer", "alt") == [
    "Input points of car id-good",
    "Reconstruction of car id-good",
    "True shape of car id-good",
    "Input points of car id-empty",
    "True shape of car id-empty",
    "Input points of chair id-missing",
  ]
  assert "Empty: no point exceeds the threshold." in words
  assert "Missing: there is no mesh." in words
  assert "Not kept in this data set." in words


def test_the_pictures_hold_the_meshes(page):
  sources = attributes(page, "model-viewer", "src")
  for source, (vertices, faces) in ((sources[1], ball()), (sources[4], box())):
    data = base64.b64decode(source.removeprefix("data:model/gltf-binary;base64,"))
    shown = trimesh.load_mesh(trimesh.util.wrap_as_stream(data), file_type="glb")
    assert len(shown.faces) == len(faces)
    truth = trimesh.Trimesh(vertices, faces)
    np.testing.assert_allclose(shown.volume, truth.volume, rtol=1e-5)


def test_nothing_is_fetched(page):
  for name in ("src", "href", "srcset", "data", "action", "poster"):
    found = [value for _, n, value in page.attributes if n == name]
    assert all(value.startswith("data:") for value in found)
  (policy,) = attributes(page, "meta", "content")[-1:]
  assert policy.startswith("default-src 'none'")
  assert not re.search(r"https?:|\*", policy)


def test_the_style_loads_nothing():
  style = pages.asset("report.css")
  assert "url(" not in style
  assert "@import" not in style


def test_the_viewer_does_not_end_its_script_early():
  assert not re.search("<script|</script", pages.asset("model-viewer.min.js"), re.I)


def test_a_run_without_measurements_still_has_a_page(tmp_path):
  path = tmp_path / "report.html"
  report.write_report(path, title="t", facts={}, summary=[], charts=[], shapes=[])
  words = "".join(Page(path.read_text()).words)
  for what in ("measurements", "curves", "shapes"):
    assert f"No {what}." in words


def test_a_figure_that_cannot_be_formed_says_so():
  assert report.format_figure(math.nan, "iou") == "n/a"
  assert report.format_figure(0.12345, "iou") == "0.123"
