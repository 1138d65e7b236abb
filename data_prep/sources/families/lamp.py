"""Procedural lamps (host)."""

import numpy as np
from manifold3d import Manifold

from data_prep.sources.families.parts import (
  Coords,
  Draw,
  Point,
  Real,
  around,
  both_sides,
  ellipse,
  extrude,
  lathe,
  rod,
  rounded_path,
  shell,
  smooth,
  tube,
  union,
)


def lamp(draw: Draw) -> Manifold:
  """A table, floor, desk, arc, hanging or many-armed lamp."""
  kinds = (_shaded_lamp, _shaded_lamp, _desk_lamp, _arc_lamp, _pendant, _chandelier)
  return draw.one_of(*kinds)(draw)


def _shade(draw: Draw, radius: Real, height: Real, stem: Real) -> Manifold:
  """A hollow shade over y = 0 to `height`, held to the axis by a spider."""
  wall = 0.022
  upper = draw.one_of(1, draw.between(0.4, 0.85)) * radius
  sides = draw.one_of(40, 40, 6, 4)
  if draw.chance(0.3):
    profile = smooth([(radius, 0), (0.9 * radius, 0.5 * height), (upper, height)], 10)
  else:
    profile = [(radius, 0), (upper, height)]
  inner = [(r - wall, y) for r, y in profile]
  inner = [(inner[0][0], -0.1), *inner, (inner[-1][0], height + 0.1)]
  hollow = lathe(profile, sides=sides) - lathe(inner, sides=sides)
  ys, radii = [y for _, y in profile], [r for r, _ in profile]
  y = draw.between(0.6, 0.85) * height
  reach = float(np.interp(y, ys, radii)) - wall / 2
  count = {4: 4, 6: 3}.get(sides, draw.count(3, 4))  # rods must meet the corners
  spider = around(rod((0, y, 0), (reach, y, 0), 0.011, sides=8), count)
  return hollow + spider + rod((0, -stem, 0), (0, y + 0.02, 0), 0.014)


def _shaded_lamp(draw: Draw) -> Manifold:
  """A shade on a turned body, on a slim floor stem, or on three legs."""
  tall = draw.chance(0.45)
  radius = draw.between(0.15, 0.2) if tall else draw.between(0.2, 0.32)
  height = draw.between(0.18, 0.28) if tall else draw.between(0.22, 0.34)
  low = 0.98 - height if tall else draw.between(0.36, 0.5)
  foot = draw.between(0.7, 0.95) * radius
  shade = _shade(draw, radius, height, 0.05).translate((0, low, 0))
  if draw.chance(0.3):
    top = low - 0.03
    leg = rod((0.95 * radius, 0, 0), (0.02, top, 0), 0.013, 0.02, sides=10)
    return shade + around(leg, 3) + rod((0, top - 0.05, 0), (0, top + 0.1, 0), 0.035)
  if tall:
    stem = draw.between(0.014, 0.02)
    base = [(foot, 0), (foot, 0.022), (stem, 0.04), (stem, low + 0.03)]
    return shade + lathe(base)
  belly, waist = draw.between(0.08, 0.17), draw.between(0.025, 0.05)
  at = draw.between(0.4, 0.65) * low
  points = [(foot * 0.8, 0), (0.75 * foot, 0.02), (waist, 0.25 * at), (belly, at)]
  points += [(waist, at + 0.7 * (low - at)), (0.022, low + 0.03)]
  return shade + lathe(smooth(points, 30), sides=draw.one_of(32, 32, 6))


def _desk_lamp(draw: Draw) -> Manifold:
  """Two jointed arms from a heavy foot to a hollow conical head."""
  r = draw.between(0.013, 0.018)
  foot, elbow = draw.between(0.14, 0.19), draw.between(0.05, 0.16)
  knee = (0, draw.between(0.4, 0.5), elbow)
  head = (0, draw.between(0.62, 0.8), elbow - draw.between(0.28, 0.42))
  parts = [lathe([(foot, 0), (foot, 0.025), (0.3 * foot, 0.045)])]
  parts.append(rod((0, 0.03, 0), (0, 0.08, 0), 0.03))
  for start, end in (((0, 0.07, 0), knee), (knee, head)):
    if draw.chance(0.4):
      parts.append(
        both_sides(tube([_shifted(start, 0.021), _shifted(end, 0.021)], 0.7 * r))
      )
    else:
      parts.append(rod(start, end, r))
  for joint in ((0, 0.07, 0), knee, head):
    parts.append(rod(_shifted(joint, -0.038), _shifted(joint, 0.038), 0.024))
  mouth, deep = draw.between(0.1, 0.14), draw.between(0.15, 0.2)
  bell = smooth([(0.035, 0), (0.6 * mouth, 0.35 * deep), (mouth, deep)], 8)
  bell = shell(bell, 0.02, floor=0.03, sides=28).translate((0, -0.02, 0))
  bulb = lathe(smooth([(0.02, 0), (0.045, 0.08), (0.01, 0.125)], 8), sides=16)
  tilt = draw.between(-25, 35)
  parts.append((bell + bulb).rotate((180 + tilt, 0, 0)).translate(head))
  return union(parts)


def _shifted(point: Point, x: Real) -> Coords:
  return x, point[1], point[2]


def _arc_lamp(draw: Draw) -> Manifold:
  """A bow that rises from a slab and hangs a hollow dome in front of it."""
  rise, reach = draw.between(0.75, 0.95), draw.between(0.45, 0.65)
  t = np.linspace(0, np.pi * draw.between(0.72, 0.9), 24)
  z = reach / 2 * np.cos(t)
  path = np.stack([0 * z, rise * np.sin(t) ** 0.7, z], -1)
  path[0, 1] = 0.01
  base = extrude(ellipse(0.26, 0.26).translate((0, reach / 2)), (0, 0.03))
  r = draw.between(0.11, 0.16)
  dome = smooth([(0.03, 0), (0.75 * r, 0.3 * r), (r, draw.between(0.7, 1) * r)], 8)
  dome = shell(dome, 0.022, floor=0.022, sides=32).rotate((180, 0, 0))
  bulb = Manifold.sphere(0.04, 16).translate((0, -0.035, 0))
  tip = path[-1]
  cap = (dome + bulb).translate((0, float(tip[1]) + 0.01, float(tip[2])))
  return tube(path, 0.014, sides=10) + base + cap


def _pendant(draw: Draw) -> Manifold:
  """A shade, cage or globe that hangs on a cord from a ceiling rose."""
  drop = draw.between(0.35, 0.6)
  rose = lathe([(0.09, 0.97), (0.09, 0.995), (0.03, 1)])
  r = draw.between(0.16, 0.27)
  style = draw.one_of("shade", "globe", "cage", "dome")
  low = 1 - drop
  cord = rod((0, low - 0.02, 0), (0, 0.98, 0), 0.013)
  if style == "shade":
    height = draw.between(0.2, 0.3)
    return (
      rose + cord + _shade(draw, r, height, 0).translate((0, low - 0.6 * height, 0))
    )
  if style == "globe":
    tall = draw.between(0.5, 1.1) * r
    globe = Manifold.sphere(1, 32).scale((0.85 * r, tall, 0.85 * r))
    return rose + cord + globe.translate((0, low - 0.95 * tall, 0))
  if style == "dome":
    bell = smooth([(0.035, 0), (0.7 * r, 0.25 * r), (r, 0.9 * r)], 10)
    bell = shell(bell, 0.022, floor=0.025, sides=36).rotate((180, 0, 0))
    bulb = Manifold.sphere(0.05, 16).translate((0, -0.05, 0))
    return rose + cord + (bell + bulb).translate((0, low, 0))
  tall = draw.between(0.8, 1.3) * r
  rib = [(0, low, 0), (0.8 * r, low - 0.15 * tall, 0), (r, low - tall, 0)]
  rib += [(0, low - 1.5 * tall, 0)]
  cage = around(tube(rounded_path(rib, 0.12, 6), 0.011, sides=8), draw.count(4, 7))
  bulb = lathe(
    smooth([(0.02, low - 0.5 * tall), (0.06, low - 0.25 * tall), (0.02, low)], 9)
  )
  return rose + cord + cage + bulb


def _chandelier(draw: Draw) -> Manifold:
  """Curved arms around a turned column, each with a small cup or cone."""
  count, reach = draw.count(3, 7), draw.between(0.32, 0.46)
  y = draw.between(0.3, 0.42)
  path = [
    (0, y, 0),
    (0.5 * reach, y - 0.13, 0),
    (reach, y - 0.1, 0),
    (reach, y + 0.05, 0),
  ]
  arm = tube(rounded_path(path, 0.12, 6), 0.014, sides=8)
  up = draw.chance(0.6)
  cup = smooth([(0.03, 0), (0.05, 0.04), (draw.between(0.06, 0.085), 0.11)], 6)
  cup = shell(cup, 0.018, floor=0.02, sides=20)
  cup = cup.rotate((0 if up else 180, 0, 0)).translate((reach, y + 0.04, 0))
  candle = rod((reach, y + 0.03, 0), (reach, y + (0.15 if up else 0.05), 0), 0.016)
  column = [(0.01, y - 0.16), (0.05, y - 0.08), (0.025, y), (0.055, y + 0.1)]
  column += [(0.016, y + 0.2), (0.016, 0.98)]
  rose = lathe([(0.08, 0.97), (0.08, 1)])
  return lathe(smooth(column, 26), sides=20) + rose + around(arm + cup + candle, count)
