"""Procedural tables and cabinets (host).

Every function maps random choices to one connected solid; the frame and the units are
those of synthetic_parts.
"""

import numpy as np
from manifold3d import Manifold

from data_prep.sources.synthetic_parts import (
  Draw,
  around,
  bar,
  both_sides,
  box,
  ellipse,
  extrude,
  four_corners,
  lathe,
  polygon,
  rectangle,
  rod,
  rounded_path,
  smooth,
  tube,
  union,
)

# Tables -----------------------------------------------------------------------------


def table(draw: Draw) -> Manifold:
  """A table: a top of some outline on legs, a column or frames, maybe with a shelf."""
  height = draw.one_of(draw.between(0.28, 0.42), draw.between(0.5, 0.72))
  round_top = draw.chance(0.35)
  width = draw.between(0.75, 1.1)
  depth = width if round_top and draw.chance(0.6) else draw.between(0.5, 0.75) * width
  thick = draw.between(0.028, 0.05)
  x, z = (-width / 2, width / 2), (-depth / 2, depth / 2)
  if round_top:
    section = ellipse(width, depth, sides=48)
  else:
    section = rectangle(x, z, rounding=draw.one_of(0, 0, draw.between(0.02, 0.2)))
  parts = [extrude(section, (height - thick, height))]
  under = height - thick / 2
  inset = 0.72 if round_top else draw.between(0.86, 0.95)
  a, b = inset * width / 2, inset * depth / 2
  style = draw.one_of("legs", "legs", "column", "trestle", "frames", "cross")
  if style == "legs":
    parts.append(_table_legs(draw, a, b, under))
  elif style == "column":
    parts.append(_table_column(draw, min(width, depth) / 2, under))
  elif style == "trestle":
    parts.append(_trestles(draw, a, b, under))
  elif style == "frames":
    parts.append(_table_frames(draw, a, b, under))
  else:
    parts.append(_crossed_legs(draw, a, b, under))
  return union(parts)


def _table_legs(draw: Draw, a: float, b: float, top: float) -> Manifold:
  """Four legs, and of apron, stretchers and shelf what the dice say."""
  radius = draw.between(0.018, 0.032)
  splay = draw.one_of(0, 0, draw.between(0.02, 0.08))
  x, z = a - radius - splay, b - radius - splay
  style = draw.one_of("square", "round", "turned")
  if style == "square":
    leg = bar((x + splay, 0, z + splay), (x, top, z), 2 * radius)
  elif style == "round":
    taper = draw.between(0.55, 1)
    leg = rod((x + splay, 0, z + splay), (x, top, z), taper * radius, 1.1 * radius)
  else:
    waves = zip(np.linspace(0, top, 7).tolist(), (0.7, 1.2, 0.75, 1.3, 0.9, 1.4, 1.3))
    leg = lathe(smooth([(radius * w, y) for y, w in waves], 16), sides=12)
    leg, splay = leg.translate((x, 0, z)), 0
  parts = [four_corners(leg)]
  if draw.chance(0.5):
    deep, thin = draw.between(0.05, 0.1), 0.024
    frame = rectangle((-x, x), (-z, z)) - rectangle(
      (thin - x, x - thin), (thin - z, z - thin)
    )
    parts.append(extrude(frame, (top - deep, top)))
  extra = draw.one_of("none", "shelf", "stretchers", "none")
  y = draw.between(0.2, 0.4) * top
  c, d = x + splay * (1 - y / top), z + splay * (1 - y / top)
  if extra == "shelf":
    parts.append(box((-c, c), (y - 0.014, y + 0.014), (-d, d)))
  if extra == "stretchers":
    parts.append(both_sides(bar((c, y, -d), (c, y, d), 0.03)))
    parts.append(bar((-c, y, 0), (c, y, 0), 0.03))
  return union(parts)


def _table_column(draw: Draw, reach: float, top: float) -> Manifold:
  """A turned column on a disc, or on three to five curved feet."""
  r = draw.between(0.03, 0.05)
  swell = draw.between(1, 2)
  head = draw.between(0.3, 0.6) * reach
  profile = [(r, 0.1 * top), (swell * r, 0.35 * top), (r, 0.75 * top), (head, top)]
  if draw.chance(0.5):
    foot = draw.between(0.55, 0.75) * reach
    return lathe(smooth([(foot, 0), (0.95 * foot, 0.035), *profile], 28))
  spread_of_feet, knee = (
    draw.between(0.65, 0.85) * reach,
    draw.between(0.15, 0.35) * top,
  )
  path = [
    (0, knee + 0.05, 0),
    (0.5 * spread_of_feet, knee, 0),
    (spread_of_feet, 0.025, 0),
  ]
  path = rounded_path(path, 0.2, 6)
  thick = np.linspace(0.035, 0.024, len(path))
  column = lathe(smooth([(0.8 * r, 0.4 * knee), (1.1 * r, knee), *profile[1:]], 24))
  return column + around(tube(path, thick, sides=8), draw.count(3, 5))


def _trestles(draw: Draw, a: float, b: float, top: float) -> Manifold:
  """Two I-shaped, A-shaped or solid ends, tied by a long beam."""
  wide = draw.between(0.022, 0.04)
  x = draw.between(0.65, 0.9) * a
  style = draw.one_of("I", "A", "solid")
  if style == "I":
    z = 0.85 * b
    end = rectangle((-z, z), (0, 0.05)) + rectangle((-z, z), (top - 0.05, top))
    end += rectangle((-0.06, 0.06), (0, top))
  elif style == "A":
    z = 0.9 * b
    end = polygon([(-z, 0), (z, 0), (0.35 * z, top), (-0.35 * z, top)])
    end -= polygon(
      [
        (0.06 - z, -1e-3),
        (z - 0.06, -1e-3),
        (0.3 * z - 0.035, 0.4 * top),
        (0.035 - 0.3 * z, 0.4 * top),
      ][:4]
    )
    end -= rectangle((-z, z), (-1, 0))
  else:
    z = 0.8 * b
    end = rectangle((-z, z), (0, top))
  y = draw.between(0.42, 0.6) * top
  beam = box((-x, x), (y - 0.03, y + 0.03), (-0.018, 0.018))
  return both_sides(extrude(end, (x - wide, x + wide), "x")) + beam


def _table_frames(draw: Draw, a: float, b: float, top: float) -> Manifold:
  """Two closed rectangular or trapezoid loops; bars on the floor may join them."""
  wide, deep = draw.between(0.03, 0.05), draw.between(0.018, 0.028)
  skew, x = draw.between(0.65, 1), draw.between(0.75, 0.93) * a
  outer = [(-skew * b, 0), (skew * b, 0), (b, top), (-b, top)]
  s = skew * b - wide
  inner = [(-s, wide), (s, wide), (b - wide, top - wide), (wide - b, top - wide)]
  loop = extrude(polygon(outer) - polygon(inner), (x - deep, x + deep), "x")
  frames = both_sides(loop)
  if draw.chance(0.4):
    frames += box((-x, x), (0, 0.032), (-0.02, 0.02))
  return frames


def _crossed_legs(draw: Draw, a: float, b: float, top: float) -> Manifold:
  """Two X-shaped ends and a beam through their crossings."""
  wide, x, z = draw.between(0.035, 0.05), draw.between(0.7, 0.9) * a, 0.9 * b
  lower, upper = (x, 0.02, z), (x, top, -z)
  cross = bar(lower, upper, wide)
  cross = (cross + cross.mirror((0, 0, 1))).trim_by_plane((0, 1, 0), 0)
  y = (0.02 + top) / 2
  return both_sides(cross) + bar((-x, y, 0), (x, y, 0), 0.8 * wide)


# Cabinets ---------------------------------------------------------------------------


def cabinet(draw: Draw) -> Manifold:
  """A carcass of columns and rows whose cells are open, drawers or doors."""
  kind = draw.one_of("tall", "low", "block")
  width, height = {
    "tall": (draw.between(0.35, 0.6), draw.between(0.85, 1.05)),
    "low": (draw.between(0.85, 1.1), draw.between(0.3, 0.5)),
    "block": (draw.between(0.5, 0.8), draw.between(0.5, 0.8)),
  }[kind]
  depth, wall = draw.between(0.24, 0.38), draw.between(0.024, 0.034)
  base, foot = _cabinet_base(draw, width, depth)
  columns = draw.count(1, 3 if width > 0.7 else 2)
  rows = draw.count(2, 5) if kind == "tall" else draw.count(1, 3)
  x, z = (-width / 2, width / 2), (-depth / 2, depth / 2)
  low, top = foot, foot + height
  body = box(x, (low, top), z)
  back = z[1] + 1 if draw.chance(0.15) else z[1] - wall
  cell_x, cell_y = (width - wall) / columns, (height - wall) / rows
  contents = [draw.one_of("open", "drawer", "door") for _ in range(2)]
  handle = _handle(draw, cell_x - wall, cell_y - wall)
  fronts = []
  for i, j in np.ndindex(columns, rows):
    left, bottom = x[0] + wall + i * cell_x, low + wall + j * cell_y
    right, upper = left + cell_x - wall, bottom + cell_y - wall
    inside = box((left, right), (bottom, upper), (z[0] - 1, back))
    content = contents[j % 2] if draw.chance(0.85) else draw.one_of("open", "drawer")
    if content == "open":
      body -= inside
      if cell_y > 0.32 and draw.chance(0.6):
        y = (bottom + upper) / 2
        fronts.append(
          box(
            (left - 0.01, right + 0.01),
            (y - 0.012, y + 0.012),
            (z[0] + 0.03, z[1] - wall / 2),
          )
        )
      continue
    margin = draw.one_of(-1, 1) * 0.45 * wall
    front = box(
      (left - 0.3 * wall, right + 0.3 * wall),
      (bottom - 0.3 * wall, upper + 0.3 * wall),
      (z[0] - 0.02, z[0] + 0.02),
    )
    del margin
    place = ((left + right) / 2, (bottom + upper) / 2, z[0] - 0.015)
    fronts += [front, handle.translate(place)]
  parts = [body, base, *fronts]
  if draw.chance(0.4):
    over = draw.between(0.01, 0.03)
    parts.append(
      box((x[0] - over, x[1] + over), (top - 0.01, top + 0.025), (z[0] - over, z[1]))
    )
  return union(parts)


def _cabinet_base(draw: Draw, width: float, depth: float) -> tuple[Manifold, float]:
  """Plinth, legs or frame, with the height at which the carcass begins."""
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
  leg = rod((a - r, 0, b - r), (a - r - splay, foot + 0.01, b - r - splay), r, 1.3 * r)
  return four_corners(leg), foot


def _handle(draw: Draw, width: float, height: float) -> Manifold:
  """A knob, a bar on two posts (which leaves a hole) or a recessed-looking lip."""
  style = draw.one_of("knob", "bar", "upright", "lip")
  if style == "knob":
    return Manifold.sphere(draw.between(0.018, 0.026), 16).translate((0, 0, -0.02))
  if style == "lip":
    return box((-0.3 * width, 0.3 * width), (-0.012, 0.012), (-0.035, 0.01))
  half = min(0.3 * (width if style == "bar" else height), 0.12)
  grip = [(-half, 0, 0.01), (-half, 0, -0.045), (half, 0, -0.045), (half, 0, 0.01)]
  loop = tube(rounded_path(grip, 0.02), 0.012, sides=8)
  return loop if style == "bar" else loop.rotate((0, 0, 90))
