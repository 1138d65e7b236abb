"""Procedural chairs (host)."""

import numpy as np
from manifold3d import CrossSection, Manifold

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
  spread,
  tube,
  union,
)


def chair(draw: Draw) -> Manifold:
  """A chair: a seat on legs, with a back of many kinds and perhaps arms."""
  width, depth = draw.between(0.42, 0.54), draw.between(0.4, 0.52)
  seat, thick = draw.between(0.38, 0.48), draw.between(0.03, 0.07)
  under = seat - thick / 2
  section, inset = _seat_section(draw, width, depth)
  kinds = (_four_legs, _four_legs, _four_legs, _pedestal, _sled, _panels, _cantilever)
  legs = draw.one_of(*kinds)(draw, inset * width, inset * depth, under)
  parts = [extrude(section, (seat - thick, seat)), legs]
  top = seat + draw.between(0.32, 0.56)
  lean = draw.between(0.02, 0.12)
  parts.append(_back(draw, width, depth, seat - thick / 2, top, lean))
  if draw.chance(0.4):
    height = seat + draw.between(0.17, 0.24)
    parts.append(_arms(draw, width, depth, seat - thick / 2, height, lean, top))
  return union(parts)


def _seat_section(draw: Draw, width: Real, depth: Real) -> tuple[CrossSection, float]:
  """The outline, and the share of its box whose corners lie within it."""
  style = draw.one_of("square", "rounded", "tapered", "round")
  x, z = (-width / 2, width / 2), (-depth / 2, depth / 2)
  if style == "square":
    return rectangle(x, z), 1.0
  if style == "rounded":
    return rectangle(x, z, rounding=draw.between(0.04, 0.14)), 0.96
  if style == "round":
    rear = rectangle((-0.46 * width, 0.46 * width), (0, depth / 2), rounding=0.04)
    return ellipse(width, depth) + rear, 0.76
  rear = draw.between(0.4, 0.46) * width
  section = polygon([(x[0], z[0]), (x[1], z[0]), (rear, z[1]), (-rear, z[1])])
  return section, 2 * rear / width


def _four_legs(draw: Draw, width: Real, depth: Real, top: Real) -> Manifold:
  """Four straight, splayed or tapered legs, square or round, maybe with stretchers."""
  radius = draw.between(0.016, 0.024)
  splay = draw.one_of(0, 0, draw.between(0.02, 0.07))
  x, z = width / 2 - 1.6 * radius, depth / 2 - 1.6 * radius
  if draw.chance(0.5):
    taper = draw.one_of(1, draw.between(0.6, 0.9))
    leg = rod((x + splay, 0, z + splay), (x, top, z), taper * radius, radius)
  else:
    leg = bar((x + splay, 0, z + splay), (x, top, z), 2 * radius)
  parts = [four_corners(leg)]
  if draw.chance(0.45):
    y = draw.between(0.25, 0.6) * top
    outward = splay * (1 - y / top)
    a, b, thin = x + outward, z + outward, 0.7 * radius
    parts.append(both_sides(rod((a, y, -b), (a, y, b), thin)))
    if draw.chance(0.5):
      parts.append(rod((-a, y, 0), (a, y, 0), thin))
    else:
      low = 0.75 * y
      c, d = (s + splay * (1 - low / top) for s in (x, z))
      parts.append(rod((-c, low, -d), (c, low, -d), thin))
      parts.append(rod((-c, low, d), (c, low, d), thin))
  return union(parts)


def _pedestal(draw: Draw, width: Real, depth: Real, top: Real) -> Manifold:
  """A column on a star foot with casters, or on a disc."""
  reach = draw.between(0.48, 0.58) * width
  radius = draw.between(0.02, 0.03)
  if draw.chance(0.65):
    wheel, count = draw.between(0.022, 0.03), draw.count(4, 6)
    hub, y = 1.5 * radius, 2 * wheel + 0.02
    spoke = tube([(0, y + 0.03, 0), (reach, y, 0)], np.array([0.022, 0.015]), sides=8)
    caster = Manifold.sphere(wheel, 12).translate((reach - 0.01, wheel, 0))
    stem = rod((reach - 0.01, wheel, 0), (reach - 0.01, y, 0), 0.012, sides=8)
    star = around(spoke + caster + stem, count)
    column = lathe([(hub, y - 0.01), (hub, y + 0.09), (radius, y + 0.1), (radius, top)])
    return star + column
  foot = smooth([(reach, 0), (0.98 * reach, 0.02), (radius, 0.06), (radius, top)])
  return lathe(foot) + lathe([(2.5 * radius, top - 0.03), (4 * radius, top)])


def _sled(draw: Draw, width: Real, depth: Real, top: Real) -> Manifold:
  """Two closed bent-tube frames, joined by a cross bar."""
  radius = draw.between(0.014, 0.02)
  x, z = width / 2 - 1.5 * radius, depth / 2 - 1.5 * radius
  corners = [(0, top), (-z, top), (-z, radius), (z, radius), (z, top), (0, top)]
  path = rounded_path([(x, y, z) for z, y in corners], draw.between(0.03, 0.08))[:-1]
  bridge = rod((-x, radius, -0.5 * z), (x, radius, -0.5 * z), 0.9 * radius)
  return both_sides(tube(path, radius, sides=10, loop=True)) + bridge


def _panels(draw: Draw, width: Real, depth: Real, top: Real) -> Manifold:
  """Two solid sides, perhaps with a window each."""
  thick, z = draw.between(0.028, 0.05), depth / 2 - 0.01
  panel = rectangle((-z, z), (0, top), rounding=0.02)
  if draw.chance(0.5):
    rim = draw.between(0.05, 0.09)
    panel -= rectangle((rim - z, z - rim), (rim, top - rim), rounding=0.05)
  edge = width / 2 - draw.between(0, 0.03)
  return both_sides(extrude(panel, (edge - thick, edge), "x"))


def _cantilever(draw: Draw, width: Real, depth: Real, top: Real) -> Manifold:
  """One bent tube: under the seat, down in front, back along the floor."""
  radius = draw.between(0.015, 0.021)
  x, z = width / 2 - 1.5 * radius, depth / 2 - 1.5 * radius
  half = [(x, top, z), (x, top, -z), (x, radius, -z), (x, radius, z)]
  path = half + [(-px, py, pz) for px, py, pz in half[::-1]]
  return tube(rounded_path(path, 0.07), radius, sides=10)


def _back(
  draw: Draw, width: Real, depth: Real, low: Real, top: Real, lean: Real
) -> Manifold:
  """A backrest that leans back by `lean`: solid, framed, slatted, laddered or bars."""
  thick = draw.between(0.028, 0.045)
  z, half = depth / 2 - thick, draw.between(0.42, 0.49) * width
  style = draw.one_of("panel", "window", "slats", "ladder", "spindles", "splat")
  if style == "spindles":
    return _spindle_back(draw, half, low, top, lean, z)
  rim = draw.between(0.04, 0.06)
  soft = draw.between(0.01, 0.12)
  outline = rectangle((-half, half), (low - 0.2, top), rounding=soft)
  outline ^= rectangle((-half, half), (low, top))
  inner = (rim - half, half - rim)
  section = outline
  if style == "window":
    gap = draw.between(0.3, 0.75) * (top - low)
    section -= rectangle(inner, (low + 0.04, low + gap), rounding=0.02)
  elif style != "panel":
    section -= rectangle(inner, (low + 0.06, top - rim), rounding=0.02)
  bars = []
  if style == "slats":
    wide = draw.between(0.011, 0.016)
    bars = [(x, wide) for x in spread(*inner, draw.count(2, 5))]
  if style == "splat":
    bars = [(0.0, draw.between(0.04, 0.08))]
  for x, wide in bars:
    section += rectangle((x - wide, x + wide), (low, top - rim / 2))
  if style == "ladder":
    for y in spread(low + 0.08, top - rim, draw.count(2, 4)):
      section += rectangle((inner[0] - 0.01, inner[1] + 0.01), (y - 0.02, y + 0.02))
  flat = extrude(section, (z, z + thick), "z")
  return flat.warp_batch(lambda p: _lean_back(p, low, top, lean))


def _spindle_back(
  draw: Draw, half: Real, low: Real, top: Real, lean: Real, z: Real
) -> Manifold:
  """A bent hoop filled with thin round bars, as of a Windsor chair."""
  radius, count = draw.between(0.014, 0.019), draw.count(3, 6)
  flare = draw.between(-0.03, 0.04)

  def at(x: Real, y: Real) -> tuple[Real, Real, Real]:
    return x, y, z + radius + lean * (y - low) / (top - low)

  corners = [(-half, low), (-half - flare, top), (half + flare, top), (half, low)]
  hoop = tube(rounded_path([at(*c) for c in corners], 0.16, 6), radius, sides=10)
  inner = half - 0.14 if count > 3 else half - 0.18
  feet = spread(radius - half, half - radius, count)
  heads = spread(-inner, inner, count)
  bars = [
    rod(at(a, low), at(b, top), 0.75 * radius, sides=8)
    for a, b in zip(feet, heads, strict=True)
  ]
  return union([hoop, *bars])


def _lean_back(points: np.ndarray, low: Real, top: Real, lean: Real) -> np.ndarray:
  shift = lean * np.clip((points[:, 1] - low) / (top - low), 0, None)
  return points + shift[:, None] * np.array([[0, 0, 1]])


def _arms(
  draw: Draw,
  width: Real,
  depth: Real,
  low: Real,
  height: Real,
  lean: Real,
  top: Real,
) -> Manifold:
  """Arms from the back to the front of the seat: pads on posts, or bent tubes."""
  radius = draw.between(0.015, 0.02)
  x, front = width / 2 - radius, -depth / 2 + draw.between(0.04, 0.12)
  rear = depth / 2 - 0.02 + lean * (height - low) / (top - low)
  reach = draw.between(0, 0.03)
  inner, outer = 0.4 * width, x + reach
  if draw.chance(0.5):
    path = [(x - radius, low, front), (outer, height, front), (outer, height, rear)]
    loop = tube(rounded_path([*path, (inner, height, rear)], 0.06), radius, sides=10)
    return both_sides(loop)
  post = bar((x - radius, low, front), (outer, height, front), 1.9 * radius)
  pad = box(
    (outer - 0.03, outer + 0.025), (height - 0.015, height + 0.02), (front - 0.04, rear)
  )
  tie = box((inner, outer), (height - 0.015, height + 0.02), (rear - 0.035, rear))
  return both_sides(post + pad + tie)
