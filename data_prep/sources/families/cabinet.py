"""Procedural cabinets, shelves and chests of drawers (host)."""

import numpy as np
from manifold3d import Manifold

from data_prep.sources.families.parts import (
  Draw,
  Real,
  Span,
  both_sides,
  box,
  four_corners,
  rod,
  rounded_path,
  tube,
  union,
)


def cabinet(draw: Draw) -> Manifold:
  """A carcass of columns and rows whose cells are open, or closed by a front."""
  width, height, columns, rows = draw.one_of(_tall, _low, _middling)(draw)
  depth, wall = draw.between(0.24, 0.38), draw.between(0.024, 0.034)
  base, low = _base(draw, width, depth)
  x, z = (-width / 2, width / 2), (-depth / 2, depth / 2)
  top = low + height
  body, fronts = box(x, (low, top), z), []
  # Now and then there is no back, and one looks through open cells.
  back = z[1] + 1 if draw.chance(0.15) else z[1] - wall
  cell_x, cell_y = (width - wall) / columns, (height - wall) / rows
  open_rows = [draw.chance(0.4) for _ in range(rows)]
  handle = _handle(draw, cell_x - wall, cell_y - wall)
  for i, j in np.ndindex(columns, rows):
    left, bottom = x[0] + wall + i * cell_x, low + wall + j * cell_y
    cell = (left, left + cell_x - wall), (bottom, bottom + cell_y - wall)
    if open_rows[j] != draw.chance(0.15):
      body -= box(*cell, (z[0] - 1, back))
      if cell_y > 0.32:
        fronts.append(_shelf(draw, *cell, (z[0] + 0.03, z[1] - wall / 2)))
    else:
      over = 0.3 * wall
      face = [(a - over, b + over) for a, b in cell]
      fronts.append(box(*face, (z[0] - 0.02, z[0] + 0.02)))
      middle = [(a + b) / 2 for a, b in cell]
      fronts.append(handle.translate((*middle, z[0] - 0.015)))
  if draw.chance(0.4):
    over = draw.between(0.01, 0.03)
    cover = (x[0] - over, x[1] + over), (top - 0.01, top + 0.025)
    fronts.append(box(*cover, (z[0] - over, z[1])))
  return union([body, base, *fronts])


def _tall(draw: Draw) -> tuple[float, float, int, int]:
  """Width, height, columns and rows of a cupboard or bookcase."""
  size = draw.between(0.35, 0.6), draw.between(0.85, 1.05)
  return *size, draw.count(1, 2), draw.count(2, 5)


def _low(draw: Draw) -> tuple[float, float, int, int]:
  size = draw.between(0.85, 1.1), draw.between(0.3, 0.5)
  return *size, draw.count(1, 4), draw.count(1, 3)


def _middling(draw: Draw) -> tuple[float, float, int, int]:
  size = draw.between(0.5, 0.8), draw.between(0.5, 0.8)
  return *size, draw.count(1, 3), draw.count(1, 4)


def _shelf(draw: Draw, x: Span, y: Span, z: Span) -> Manifold:
  """A board somewhere in the middle of a high cell."""
  at = y[0] + draw.between(0.4, 0.6) * (y[1] - y[0])
  return box((x[0] - 0.01, x[1] + 0.01), (at - 0.012, at + 0.012), z)


def _base(draw: Draw, width: Real, depth: Real) -> tuple[Manifold, float]:
  """Plinth, legs, runners or nothing, and the height at which the carcass begins."""
  style = draw.one_of("none", "plinth", "legs", "legs", "runners")
  a, b = width / 2 - 0.03, depth / 2 - 0.03
  if style == "none":
    return Manifold(), 0.0
  if style == "plinth":
    foot = draw.between(0.03, 0.07)
    return box((-a, a), (0, foot + 0.01), (-b, b)), foot
  foot = draw.between(0.06, 0.2)
  if style == "runners":
    return both_sides(box((a - 0.035, a), (0, foot + 0.01), (-b, b))), foot
  splay, r = draw.one_of(0, 0.03), draw.between(0.014, 0.022)
  head = (a - r - splay, foot + 0.01, b - r - splay)
  return four_corners(rod((a - r, 0, b - r), head, r, 1.3 * r)), foot


def _handle(draw: Draw, width: Real, height: Real) -> Manifold:
  """A knob, a lip, or a bar on two posts, which leaves a hole."""
  style = draw.one_of("knob", "bar", "upright", "lip")
  if style == "knob":
    return Manifold.sphere(draw.between(0.018, 0.026), 16).translate((0, 0, -0.02))
  if style == "lip":
    return box((-0.3 * width, 0.3 * width), (-0.012, 0.012), (-0.035, 0.01))
  half = min(0.3 * (width if style == "bar" else height), 0.12)
  grip = [(-half, 0, 0.01), (-half, 0, -0.045), (half, 0, -0.045), (half, 0, 0.01)]
  loop = tube(rounded_path(grip, 0.02), 0.012, sides=8)
  return loop if style == "bar" else loop.rotate((0, 0, 90))
