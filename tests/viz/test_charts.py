"""Charts taken apart as XML."""

import math
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from occnet_jax.viz import charts
from occnet_jax.viz.charts import Chart

STEPS = np.arange(1001.0)


def picture(*args, **kwargs):
  return ET.fromstring(charts.draw(Chart(*args, **kwargs)))


def line(figure, number=0):
  points = figure.find(f".//polyline[@class='line-{number}']").get("points").split()
  return np.array([point.split(",") for point in points], np.float64)


def texts(figure, kind):
  return [node.text for node in figure.iterfind(f".//text[@class='{kind}']")]


def test_a_curve_runs_between_the_ticks_that_it_touches():
  figure = picture("IoU", "ratio", {"validation": ([0, 50, 100], [0.0, 0.6, 1.0])})
  left, right = charts.LEFT, charts.WIDTH - charts.RIGHT
  top, bottom = charts.TOP, charts.HEIGHT - charts.BOTTOM
  expected = [
    [left, bottom],
    [(left + right) / 2, bottom - 0.6 * (bottom - top)],
    [right, top],
  ]
  np.testing.assert_allclose(line(figure), expected, atol=0.1)
  ticks = texts(figure, "tick")
  assert ticks == [
    "0",
    "0.2",
    "0.4",
    "0.6",
    "0.8",
    "1",
    "0",
    "20",
    "40",
    "60",
    "80",
    "100",
  ]
  assert texts(figure, "label") == ["training step", "ratio"]


def test_equal_ratios_are_equal_distances_on_a_logarithmic_axis():
  figure = picture("Loss", "nats", {"a": ([0, 1, 2], [1.0, 10.0, 100.0])}, log=True)
  (_, low), (_, middle), (_, high) = line(figure)
  np.testing.assert_allclose(low - middle, middle - high, atol=0.2)
  assert texts(figure, "tick")[:7] == ["1", "2", "5", "10", "20", "50", "100"]


def test_a_loss_that_reaches_zero_is_drawn_on_a_linear_axis():
  figure = picture("Loss", "nats", {"a": ([0, 1], [1.0, 0.0])}, log=True)
  assert texts(figure, "tick")[0] == "0"


def test_a_long_curve_is_averaged_within_its_range():
  values = 5 + np.where(STEPS % 2, 1.0, -1.0)
  figure = picture("Loss", "nats", {"a": (STEPS, values)})
  assert len(line(figure)) == charts.BINS
  band = figure.find(".//polygon[@class='band-0']").get("points").split()
  assert len(band) == 2 * charts.BINS


def test_values_that_are_not_finite_are_left_out():
  figure = picture("Loss", "nats", {"a": ([2, 0, 1, 3], [3.0, 1.0, math.nan, 2.0])})
  points = line(figure)
  assert len(points) == 3
  assert (np.diff(points[:, 0]) > 0).all()


def test_a_single_value_is_a_dot_and_none_is_said():
  figure = picture("IoU", "ratio", {"a": ([5], [0.5]), "b": ([], [])})
  assert figure.find(".//circle[@class='dot-0']") is not None
  assert "Nothing logged." in "".join(picture("IoU", "ratio", {}).itertext())


def test_the_legend_tells_the_last_values():
  figure = picture("IoU", "x", {"<a>": ([0, 2000], [0, 0.75]), "b": ([0], [1.0])})
  keys = ["".join(item.itertext()) for item in figure.iterfind(".//li")]
  assert keys == ["<a> 0.75 at step 2,000", "b 1 at step 0"]


@pytest.mark.parametrize(
  ("low", "high"),
  [(0, 1), (0.31, 0.32), (-5, 3), (7, 7), (0, 0), (1e-7, 3e-7), (0, 9e9)],
)
def test_ticks_enclose_the_values_and_are_few_and_even(low, high):
  ticks = charts._ticks(float(low), float(high))
  assert ticks[0] <= low <= high <= ticks[-1]
  assert 2 <= len(ticks) <= 8
  np.testing.assert_allclose(np.diff(ticks), ticks[1] - ticks[0], rtol=1e-5)


@pytest.mark.parametrize(("low", "high"), [(1, 1), (0.03, 900), (2, 3), (1e-9, 1e9)])
def test_logarithmic_ticks_enclose_the_values(low, high):
  ticks = charts._log_ticks(float(low), float(high))
  assert ticks[0] <= low * 1.00001
  assert ticks[-1] >= high * 0.99999
  assert 2 <= len(ticks) <= 20
