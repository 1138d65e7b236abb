"""Procedural tables (host)."""

import numpy as np
from manifold3d import Manifold

from data_prep.sources.families.parts import (
  Draw,
  Real,
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


def _table_legs(draw: Draw, a: Real, b: Real, top: Real) -> Manifold:
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
    waves = (0.7, 1.2, 0.75, 1.3, 0.9, 1.4, 1.3)
    turned = [(radius * wave, top * i / 6) for i, wave in enumerate(waves)]
    leg = lathe(smooth(turned, 16), sides=12)
    leg, splay = leg.translate((x, 0, z)), 0
  parts = [four_corners(leg)]
  if draw.chance(0.5):
    deep, thin = draw.between(0.05, 0.1), 0.024
    frame = rectangle((-x, x), (-z, z))
    frame -= rectangle((thin - x, x - thin), (thin - z, z - thin))
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


def _table_column(draw: Draw, reach: Real, top: Real) -> Manifold:
  """A turned column on a disc, or on three to five curved feet."""
  r = draw.between(0.03, 0.05)
  swell = draw.between(1, 2)
  head = draw.between(0.3, 0.6) * reach
  upper = [(r, 0.75 * top), (head, top)]
  if draw.chance(0.5):
    foot = draw.between(0.55, 0.75) * reach
    lower = [(foot, 0), (0.95 * foot, 0.03), (1.2 * r, 0.06), (swell * r, 0.35 * top)]
    return lathe(smooth(lower + upper, 28))
  toe, knee = draw.between(0.65, 0.85) * reach, draw.between(0.15, 0.35) * top
  path = [(0, knee + 0.05, 0), (0.5 * toe, knee, 0), (toe, 0.025, 0)]
  path = rounded_path(path, 0.2, 6)
  thick = np.linspace(0.035, 0.024, len(path))
  lower = [(0.8 * r, 0.4 * knee), (1.1 * r, knee), (swell * r, knee + 0.2 * top)]
  column = lathe(smooth(lower + upper, 24))
  return column + around(tube(path, thick, sides=8), draw.count(3, 5))


def _trestles(draw: Draw, a: Real, b: Real, top: Real) -> Manifold:
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
    u, v = 0.3 * z - 0.035, 0.4 * top
    end -= polygon([(0.06 - z, -0.01), (z - 0.06, -0.01), (u, v), (-u, v)])
  else:
    z = 0.8 * b
    end = rectangle((-z, z), (0, top))
  y = draw.between(0.42, 0.6) * top
  beam = box((-x, x), (y - 0.03, y + 0.03), (-0.018, 0.018))
  return both_sides(extrude(end, (x - wide, x + wide), "x")) + beam


def _table_frames(draw: Draw, a: Real, b: Real, top: Real) -> Manifold:
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


def _crossed_legs(draw: Draw, a: Real, b: Real, top: Real) -> Manifold:
  """Two X-shaped ends and a beam through their crossings."""
  wide, x = draw.between(0.035, 0.05), draw.between(0.7, 0.9) * a
  z = min(0.9 * b, draw.between(0.6, 0.9) * top)
  lower, upper = (x, 0.02, z), (x, top, -z)
  cross = bar(lower, upper, wide)
  cross = (cross + cross.mirror((0, 0, 1))).trim_by_plane((0, 1, 0), 0)
  cross = cross.trim_by_plane((0, -1, 0), -top)
  y = (0.02 + top) / 2
  return both_sides(cross) + bar((-x, y, 0), (x, y, 0), 0.8 * wide)
