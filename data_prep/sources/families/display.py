"""Procedural displays (host)."""

import numpy as np
from manifold3d import Manifold

from data_prep.sources.families.parts import (
  Draw,
  Real,
  Span,
  both_sides,
  box,
  ellipse,
  extrude,
  polygon,
  rectangle,
  rod,
  rounded_path,
  tube,
)


def display(draw: Draw) -> Manifold:
  """A screen with a bezel on a stand: monitor, television, laptop or picture tube."""
  width = draw.between(0.85, 1.1)
  height = width * draw.between(0.5, 0.68)
  thick = draw.between(0.03, 0.06)
  kind = draw.one_of("flat", "flat", "flat", "tube", "laptop", "curved")
  if kind == "laptop":
    return _laptop(draw, width, height)
  gap = draw.between(0.05, 0.2)
  x, y = (-width / 2, width / 2), (gap, gap + height)
  if kind == "curved":
    panel = _curved_panel(draw, width, y, thick)
  else:
    outline = rectangle(x, y, rounding=draw.between(0, 0.03))
    panel = extrude(outline, (0, thick), "z")
    rim = draw.between(0.02, 0.045)
    chin = rim * draw.one_of(1, 1.8)
    glass = (x[0] + rim, x[1] - rim), (y[0] + chin, y[1] - rim)
    panel -= box(*glass, (-1, draw.between(0.008, 0.014)))
  rear = thick
  if kind == "tube":
    rear = draw.between(0.3, 0.45)
    small = draw.between(0.35, 0.6)
    panel += _frustum(x, y, (thick - 0.01, rear), small)
  elif draw.chance(0.5):
    housing = (gap + 0.08, gap + 0.7 * height)
    panel += _frustum((x[0] / 2, x[1] / 2), housing, (thick - 0.01, thick + 0.04), 0.8)
    rear += 0.03
  return panel + _stand(draw, width, gap, height, thick, rear)


def _frustum(x: Span, y: Span, z: Span, small: Real) -> Manifold:
  """A box whose rear face is scaled about its middle by `small`."""
  a, b = (x[1] - x[0]) / 2, (y[1] - y[0]) / 2
  section = rectangle((-a, a), (-b, b))
  solid = section.extrude(z[1] - z[0], scale_top=(small, small))
  return solid.translate(((x[0] + x[1]) / 2, (y[0] + y[1]) / 2, z[0]))


def _curved_panel(draw: Draw, width: Real, y: Span, thick: Real) -> Manifold:
  """A panel bent about a vertical axis in front of it, with a sunken screen."""
  bend = draw.between(0.08, 0.14)
  flat = np.linspace(-width / 2, width / 2, 17)

  def arc(x: np.ndarray, offset: Real) -> list[Span]:
    z = offset - bend * (2 * x / width) ** 2
    return list(zip(x.tolist(), z.tolist(), strict=True))

  outer = polygon(arc(flat, 0) + arc(flat[::-1], thick))
  inner = flat * (1 - 0.06)
  glass = polygon(arc(inner, -0.2) + arc(inner[::-1], 0.012))
  screen = extrude(glass, (y[0] + 0.03, y[1] - 0.03))
  return extrude(outer, y) - screen


def _stand(
  draw: Draw, width: Real, gap: Real, height: Real, thick: Real, rear: Real
) -> Manifold:
  """A neck with a plate, hoop or star foot, or a pair of feet."""
  z = rear / 2
  depth = draw.between(0.2, 0.3) + 0.4 * (rear - thick)
  style = draw.one_of("plate", "disc", "feet", "hoop", "V")
  if style == "feet":
    x = draw.between(0.25, 0.4) * width
    foot = polygon(
      [(z - depth / 2, 0), (z + depth / 2, 0), (z + 0.02, 0.03), (z - 0.02, 0.03)]
    )
    post = rectangle((thick / 2 - 0.012, thick / 2 + 0.012), (0.01, gap + 0.03))
    return both_sides(extrude(foot + post, (x - 0.013, x + 0.013), "x"))
  if style == "hoop":
    a, r = draw.between(0.15, 0.28) * width, 0.014
    path = [(a, r, z - depth / 2), (a, r, z + depth / 2)]
    path += [(-x, y, c) for x, y, c in path[::-1]]
    corner = rounded_path([(0, r, z - depth / 2), *path, (0, r, z - depth / 2)], 0.05)
    ring = tube(corner[:-1], r, sides=8, loop=True)
    neck = both_sides(
      rod((0.4 * a, r, z + depth / 2), (0.4 * a, gap + 0.1, thick / 2), r)
    )
    return ring + neck
  wide = draw.between(0.03, 0.08)
  neck = box((-wide, wide), (0.005, gap + 0.1), (thick / 2, thick / 2 + 0.035))
  if style == "V":
    toe = draw.between(0.2, 0.35) * width
    leg = rod((0, 0.016, thick / 2 + 0.03), (toe, 0.016, z - depth / 2), 0.016, sides=8)
    return both_sides(leg) + neck
  if style == "disc":
    plate = ellipse(draw.between(0.3, 0.5) * width, depth).translate((0, z))
  else:
    a = draw.between(0.13, 0.28) * width
    plate = rectangle((-a, a), (z - depth / 2, z + depth / 2), rounding=0.03)
  return extrude(plate, (0, draw.between(0.02, 0.03))) + neck


def _laptop(draw: Draw, width: Real, height: Real) -> Manifold:
  """A lid opened to some angle on a base with a sunken keyboard."""
  x, depth, thin = (-width / 2, width / 2), height, 0.028
  base = extrude(rectangle(x, (-depth, 0), rounding=0.03), (0, 1.2 * thin))
  keys = box(
    (0.85 * x[0], 0.85 * x[1]), (0.7 * thin, 1), (-0.55 * depth, -0.12 * depth)
  )
  pad = box((-0.13, 0.13), (0.9 * thin, 1), (-0.92 * depth, -0.64 * depth))
  lid = extrude(rectangle(x, (0, height), rounding=0.03), (-thin, 0), "z")
  glass = box((x[0] + 0.03, x[1] - 0.03), (0.04, height - 0.03), (-1, -0.6 * thin))
  lid = (lid - glass).rotate((draw.between(5, 35), 0, 0)).translate((0, 0.02, 0))
  hinge = rod((0.4 * x[0], 0.02, 0), (0.4 * x[1], 0.02, 0), 0.022)
  return base - keys - pad + lid + hinge
