"""Curves over training steps as inline SVG (host).

Plain SVG needs no library on the page and prints sharply. Colours are CSS classes that
the page defines.
"""

import html
import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

WIDTH, HEIGHT = 560, 300
LEFT, RIGHT, TOP, BOTTOM = 64, 28, 14, 46
BINS = 240  # longer curves are averaged over so many bins, and drawn with their range

TICKS = 5  # on an axis, about

Curve = tuple[ArrayLike, ArrayLike]  # steps, values


class Chart(NamedTuple):
  """Curves that share two axes.

  Attributes:
    title: heading.
    unit: unit of the values, printed along the vertical axis.
    curves: steps and values by name.
    log: whether the vertical axis is logarithmic; linear if a value is not positive.
  """

  title: str
  unit: str
  curves: dict[str, Curve]
  log: bool = False


def draw(chart: Chart) -> str:
  """The chart as a `<figure>`, with a sentence in place of curves if there are none."""
  curves = {name: _finite(*curve) for name, curve in chart.curves.items()}
  curves = {name: curve for name, curve in curves.items() if len(curve[0])}
  title = html.escape(chart.title)
  if not curves:
    return f"<figure><figcaption>{title}</figcaption><p>Nothing logged.</p></figure>"
  values = np.concatenate([values for _, values in curves.values()])
  scale = _Scale(
    last=float(max(max(steps) for steps, _ in curves.values())),
    low=float(values.min()),
    high=float(values.max()),
    log=chart.log and bool(values.min() > 0),
  )
  lines = [_curve(i, *curve, scale) for i, curve in enumerate(curves.values())]
  legend = [_key(i, name, *curve) for i, (name, curve) in enumerate(curves.items())]
  label = html.escape(f"{chart.title}: {', '.join(curves)} over training steps")
  return (
    f"<figure><figcaption>{title}</figcaption>"
    f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">'
    f"{_axes(scale, chart.unit)}{''.join(lines)}</svg>"
    f'<ul class="legend">{"".join(legend)}</ul></figure>'
  )


class _Scale:
  """Positions of steps and values in the picture, and its ticks."""

  def __init__(self, last: float, low: float, high: float, log: bool):
    self.log = log
    self.last = max(last, 1.0)
    self.steps = [tick for tick in _ticks(0.0, self.last) if tick <= self.last]
    if log:
      self.values = _log_ticks(low, high)
      self.low, self.high = min(low, self.values[0]), max(high, self.values[-1])
    else:
      self.values = _ticks(low, high)
      self.low, self.high = self.values[0], self.values[-1]

  def x(self, step):
    return LEFT + (WIDTH - LEFT - RIGHT) * np.asarray(step) / self.last

  def y(self, value):
    low, high, value = (
      (np.log(v) if self.log else np.asarray(v)) for v in (self.low, self.high, value)
    )
    return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (value - low) / (high - low)


def _ticks(low: float, high: float) -> list[float]:
  """About TICKS round numbers that enclose low and high."""
  if high <= low:
    low, high = low - abs(low) / 2 - 0.5, high + abs(high) / 2 + 0.5
  raw = (high - low) / TICKS
  size = 10 ** math.floor(math.log10(raw))
  step = next(size * factor for factor in (1, 2, 5, 10) if size * factor >= raw)
  first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
  return [round(float(i * step), 12) for i in range(first, last + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
  """Round numbers that enclose low and high, fewer per decade the more decades."""
  decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
  factors = (1, 2, 5) if len(decades) <= 4 else (1,)
  ticks = [factor * 10.0**decade for decade in decades for factor in factors]
  first = max(i for i, tick in enumerate(ticks) if tick <= low * 1.000001)
  last = min(i for i, tick in enumerate(ticks) if tick >= high * 0.999999)
  return ticks[first : max(last, first + 1) + 1]


def _axes(scale: _Scale, unit: str) -> str:
  bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
  parts = []
  for value in scale.values:
    y = f"{scale.y(value):.1f}"
    parts.append(f'<line class="grid" x1="{LEFT}" x2="{right}" y1="{y}" y2="{y}"/>')
    parts.append(
      f'<text class="tick" x="{LEFT - 8}" y="{y}" dy=".32em" text-anchor="end">'
      f"{value:,.6g}</text>"
    )
  for step in scale.steps:
    x = f"{scale.x(step):.1f}"
    parts.append(
      f'<line class="axis" x1="{x}" x2="{x}" y1="{bottom}" y2="{bottom + 4}"/>'
      f'<text class="tick" x="{x}" y="{bottom + 18}" text-anchor="middle">'
      f"{step:,.0f}</text>"
    )
  middle = (TOP + bottom) / 2
  parts.append(
    f'<line class="axis" x1="{LEFT}" x2="{right}" y1="{bottom}" y2="{bottom}"/>'
    f'<text class="label" x="{(LEFT + right) / 2}" y="{HEIGHT - 8}" '
    'text-anchor="middle">training step</text>'
    f'<text class="label" transform="translate(14 {middle}) rotate(-90)" '
    f'text-anchor="middle">{html.escape(unit)}</text>'
  )
  return "".join(parts)


def _curve(number: int, steps: np.ndarray, values: np.ndarray, scale: _Scale) -> str:
  if len(steps) == 1:
    x, y = scale.x(steps[0]), scale.y(values[0])
    return f'<circle class="dot-{number}" cx="{x:.1f}" cy="{y:.1f}" r="3.5"/>'
  band = ""
  if len(steps) > BINS:
    bins = np.array_split(np.arange(len(steps)), BINS)
    means = np.array([steps[b].mean() for b in bins])
    highs = _path(means, np.array([values[b].max() for b in bins]), scale)
    lows = _path(means[::-1], np.array([values[b].min() for b in bins])[::-1], scale)
    band = f'<polygon class="band-{number}" points="{highs} {lows}"/>'
    steps, values = means, np.array([values[b].mean() for b in bins])
  path = _path(steps, values, scale)
  return f'{band}<polyline class="line-{number}" points="{path}"/>'


def _path(steps: np.ndarray, values: np.ndarray, scale: _Scale) -> str:
  points = zip(scale.x(steps), scale.y(values), strict=True)
  return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def _key(number: int, name: str, steps: np.ndarray, values: np.ndarray) -> str:
  return (
    f'<li class="key-{number}"><b>{html.escape(name)}</b> '
    f"{values[-1]:.4g} at step {steps[-1]:,.0f}</li>"
  )


def _finite(steps: ArrayLike, values: ArrayLike):
  """Steps and values in order of step, without those that are not finite."""
  steps, values = np.asarray(steps, np.float64), np.asarray(values, np.float64)
  order = np.argsort(steps, kind="stable")
  order = order[np.isfinite(values[order])]
  return steps[order], values[order]
