"""Procedural household things: bottle, display, lamp, loudspeaker and mug (host).

Every function maps random choices to one connected solid; the frame and the units are
those of synthetic_parts.
"""

import numpy as np
from manifold3d import Manifold

from data_prep.sources.synthetic_parts import (
  Draw,
  Point,
  around,
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
  shell,
  smooth,
  soften,
  tube,
  union,
)

# Bottles and mugs -------------------------------------------------------------------


def bottle(draw: Draw) -> Manifold:
  """A bottle, round or square, open and hollow or closed by a cap, pump or stopper."""
  r = draw.between(0.11, 0.19)
  shoulder = draw.between(0.4, 0.68)
  neck, neck_y = draw.between(0.26, 0.5) * r, draw.between(0.74, 0.84)
  neck = max(neck, 0.042)
  waist = draw.one_of(1, 1, draw.between(0.75, 0.92))
  body = [(0.93 * r, 0), (r, 0.025), (waist * r, 0.55 * shoulder), (r, shoulder)]
  profile = smooth([*body, (neck, neck_y), (neck, 0.97)], 36)
  lip = draw.between(0.006, 0.016)
  profile += [(neck + lip, 0.972), (neck + lip, 1.0)]
  squash = draw.one_of(1, 1, draw.between(0.5, 0.75))
  hollow = draw.chance(0.5)
  wall = draw.between(0.02, 0.024)
  solid = shell(profile, wall, floor=0.03) if hollow else lathe(profile)
  if draw.chance(0.25):
    solid = _squared_bottle(draw, r, shoulder, neck)
    hollow, squash = False, draw.one_of(1, 0.7)
  if draw.chance(0.25):
    x, y = 0.8 * r, draw.between(0.2, 0.3)
    path = [(x, y, 0), (1.75 * r, y + 0.02, 0), (1.6 * r, shoulder + 0.1, 0)]
    grip = tube(
      rounded_path([*path, (0.5 * neck, neck_y + 0.04, 0)], 0.09), 0.022, sides=10
    )
    inside = (
      lathe([(q - wall / 2, y) for q, y in profile if y < 0.97]) if hollow else None
    )
    solid += grip - inside if inside else grip
  solid = solid.scale((1, 1, squash))
  return solid if hollow else solid + _closure(draw, neck)


def _squared_bottle(draw: Draw, r: float, shoulder: float, neck: float) -> Manifold:
  """A body with a square section, tapering to a round neck."""
  block = box(
    (-r, r), (0, shoulder + 0.06), (-r, r), rounding=draw.between(0.02, 0.045)
  )
  slope = [
    (1.3 * r, 0),
    (1.3 * r, shoulder - 0.05),
    (0.7 * neck + 0.3 * r, shoulder + 0.05),
  ]
  taper = lathe([*slope, (neck, shoulder + 0.12), (neck, 1)])
  core = lathe([(neck, shoulder - 0.1), (neck, 1)])
  return (block ^ taper) + core


def _closure(draw: Draw, neck: float) -> Manifold:
  """A screw cap, a stopper, a pump or a trigger head."""
  style = draw.one_of("cap", "stopper", "pump", "none")
  if style == "none":
    return Manifold()
  r = neck + draw.between(0.014, 0.03)
  if style == "cap":
    return lathe([(r, 0.92), (r, 1.03), (0.85 * r, 1.045)])
  if style == "stopper":
    return lathe(
      smooth([(0.7 * neck, 0.97), (0.7 * neck, 1.02), (r, 1.06), (0.6 * r, 1.1)])
    )
  collar = lathe([(r, 0.93), (r, 1.01), (0.5 * r, 1.03)])
  stem = rod((0, 1, 0), (0, 1.12, 0), 0.02)
  spout = [(0, 1.12, 0.03), (0, 1.13, -0.12), (0, 1.09, -0.17)]
  return collar + stem + tube(rounded_path(spout, 0.03), 0.024, sides=10)


def mug(draw: Draw) -> Manifold:
  """A hollow mug with a handle, so of genus 1 or more; cups, steins and tankards."""
  height, r = draw.between(0.5, 0.85), draw.between(0.26, 0.36)
  wall = draw.between(0.026, 0.04)
  rim, belly = draw.between(0.85, 1.15) * r, draw.between(0.9, 1.15) * r
  foot = draw.between(0.65, 1) * r
  profile = smooth([(foot, 0), (belly, 0.5 * height), (rim, height)], 14)
  if draw.chance(0.3):
    profile = [(foot, 0), (rim, height)]
  sides = draw.one_of(48, 48, 48, 6, 8)
  body = shell(profile, wall, floor=draw.between(1, 1.6) * wall, sides=sides)
  ys = [y for _, y in profile]
  radii = [q for q, _ in profile]
  low, high = draw.between(0.12, 0.3) * height, draw.between(0.7, 0.9) * height
  inner = 0.93 if sides > 8 else 0.86

  def surface(y: float) -> float:
    return inner * float(np.interp(y, ys, radii))

  handle = _mug_handle(draw, (surface(low), low), (surface(high), high), r)
  inside = lathe([(max(q - 0.6 * wall, 0.01), y) for q, y in profile], sides=sides)
  inside += lathe([(radii[-1] - 0.6 * wall, height - 0.01), (radii[-1], height + 0.3)])
  handles = handle - inside
  if draw.chance(0.12):
    handles += handles.rotate((0, 180, 0))
  parts = [body, handles]
  if draw.chance(0.2):
    dish = smooth([(0.6 * r, -0.03), (1.2 * r, 0.005), (1.75 * r, 0.06)], 10)
    parts.append(shell(dish, 0.035, floor=0.004, sides=48))
  return union(parts)


def _mug_handle(
  draw: Draw, lower: tuple[float, float], upper: tuple[float, float], r: float
) -> Manifold:
  """A round, angular, ear-shaped or ribbon handle in the plane z = 0."""
  (a, low), (b, high) = lower, upper
  reach = max(a, b) + draw.between(0.5, 0.75) * r
  thick = draw.between(0.028, 0.042)
  style = draw.one_of("C", "D", "ear", "ribbon")
  corners = {
    "C": [(a, low), (reach, low), (reach, high), (b, high)],
    "D": [(a, low), (reach, 0.5 * (low + high)), (reach, high), (b, high)],
    "ear": [(a, low), (0.6 * reach + 0.4 * a, low - 0.04), (reach, high), (b, high)],
    "ribbon": [(a, low), (reach, low), (reach, high), (b, high)],
  }[style]
  bend = 0.04 if style == "D" else 0.4 * (high - low)
  path = rounded_path([(x, y, 0.0) for x, y in corners], bend, 6)
  solid = tube(path, thick, sides=12)
  return solid.scale((1, 1, 1.7)) if style == "ribbon" else solid


# Displays ---------------------------------------------------------------------------


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
    panel += _frustum(
      (0.5 * x[0], 0.5 * x[1]),
      (gap + 0.08, gap + 0.7 * height),
      (thick - 0.01, thick + 0.04),
      0.8,
    )
    rear += 0.03
  return panel + _stand(draw, width, gap, height, thick, rear)


def _frustum(
  x: tuple[float, float], y: tuple[float, float], z: tuple[float, float], small: float
) -> Manifold:
  """A box whose rear face is scaled about its middle by `small`."""
  a, b = (x[1] - x[0]) / 2, (y[1] - y[0]) / 2
  section = rectangle((-a, a), (-b, b))
  solid = section.extrude(z[1] - z[0], scale_top=(small, small))
  return solid.translate(((x[0] + x[1]) / 2, (y[0] + y[1]) / 2, z[0]))


def _curved_panel(
  draw: Draw, width: float, y: tuple[float, float], thick: float
) -> Manifold:
  """A panel bent about a vertical axis in front of it, with a sunken screen."""
  bend = draw.between(0.08, 0.14)
  flat = np.linspace(-width / 2, width / 2, 17)

  def arc(x: np.ndarray, offset: float) -> list[tuple[float, float]]:
    z = offset - bend * (2 * x / width) ** 2
    return list(zip(x.tolist(), z.tolist(), strict=True))

  outer = polygon(arc(flat, 0) + arc(flat[::-1], thick))
  inner = flat * (1 - 0.06)
  glass = polygon(arc(inner, -0.2) + arc(inner[::-1], 0.012))
  screen = extrude(glass, (y[0] + 0.03, y[1] - 0.03))
  return extrude(outer, y) - screen


def _stand(
  draw: Draw, width: float, gap: float, height: float, thick: float, rear: float
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


def _laptop(draw: Draw, width: float, height: float) -> Manifold:
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


# Lamps ------------------------------------------------------------------------------


def lamp(draw: Draw) -> Manifold:
  """A table, floor, desk, arc, hanging or many-armed lamp."""
  kinds = (_shaded_lamp, _shaded_lamp, _desk_lamp, _arc_lamp, _pendant, _chandelier)
  return draw.one_of(*kinds)(draw)


def _shade(draw: Draw, radius: float, height: float, stem: float) -> Manifold:
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
  count = draw.count(3, 4)
  if sides == 4:
    count, reach = 4, reach * 0.995
  spider = around(rod((0, y, 0), (reach, y, 0), 0.011, sides=8), count)
  return hollow + spider + rod((0, -stem, 0), (0, y + 0.02, 0), 0.014)


def _shaded_lamp(draw: Draw) -> Manifold:
  """A shade on a turned body, on a slim floor stem, or on three legs."""
  tall = draw.chance(0.45)
  radius = draw.between(0.15, 0.2) if tall else draw.between(0.2, 0.32)
  height = draw.between(0.18, 0.28) if tall else draw.between(0.22, 0.34)
  low = 0.98 - height if tall else draw.between(0.36, 0.5)
  foot = draw.between(0.7, 0.95) * radius
  shade = _shade(draw, radius, height, 0.08).translate((0, low, 0))
  if draw.chance(0.3):
    top = low - 0.03
    leg = rod((0.95 * radius, 0, 0), (0.02, top, 0), 0.013, 0.02, sides=10)
    return shade + around(leg, 3) + rod((0, top - 0.05, 0), (0, top + 0.1, 0), 0.035)
  if tall:
    stem = draw.between(0.014, 0.02)
    base = [(foot, 0), (foot, 0.022), (stem, 0.04), (stem, low + 0.03)]
    return shade + lathe(base)
  belly, waist = draw.between(0.08, 0.17), draw.between(0.025, 0.05)
  at = draw.between(0.25, 0.6) * low
  points = [(foot * 0.8, 0), (0.75 * foot, 0.03), (waist, 0.2 * at), (belly, at)]
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


def _shifted(point: Point, x: float) -> tuple[float, float, float]:
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
    return rose + cord + Manifold.sphere(0.85 * r, 32).translate((0, low - 0.8 * r, 0))
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


# Loudspeakers -----------------------------------------------------------------------


def loudspeaker(draw: Draw) -> Manifold:
  """A box with sunken cones and ports, on feet, spikes, a tripod or a plinth."""
  kind = draw.one_of("tower", "shelf", "shelf", "monitor")
  width = {"tower": draw.between(0.22, 0.3), "shelf": draw.between(0.4, 0.6)}.get(
    kind, draw.between(0.5, 0.62)
  )
  height = draw.between(0.85, 1) if kind != "monitor" else draw.between(0.7, 0.85)
  depth = draw.between(0.28, 0.42)
  front = -depth / 2
  x, z = (-width / 2, width / 2), (front, depth / 2)
  style = draw.one_of("square", "round", "wedge", "barrel")
  if style == "square":
    body = box(x, (0, height), z)
  elif style == "round":
    body = box(x, (0, height), z, rounding=draw.between(0.02, 0.05))
  else:
    rear = draw.between(0.5, 0.75) * width / 2
    plan = polygon([(x[0], z[0]), (x[1], z[0]), (rear, z[1]), (-rear, z[1])])
    plan = plan if style == "wedge" else soften(plan, 0.05)
    body = extrude(plan, (0, height))
  count = draw.count(2, 4) if kind == "tower" else draw.count(1, 2)
  y = 0.06 * height
  for i in range(count):
    share = (1, 1, 0.8, 0.7)[i] if count > 1 else 1
    r = min(0.41 * width * share, 0.42 * height / count)
    body = _with_driver(draw, body, r, y + r, front)
    y += 2 * r + 0.035
  small = min(0.2 * width, (height - y - 0.03) / 2, 0.09)
  if small > 0.03:
    port = Manifold.cylinder(0.2, small, small, 24).translate(
      (0, y + small, front - 0.1)
    )
    body = (
      body - port
      if draw.chance(0.4)
      else _with_driver(draw, body, small, y + small, front)
    )
  return body + _speaker_stand(draw, width, depth)


def _with_driver(
  draw: Draw, body: Manifold, r: float, y: float, front: float
) -> Manifold:
  """Sinks a cone of radius r into the front, with a dust cap and a raised surround."""
  deep = draw.between(0.35, 0.6) * r
  profile = [(0.3 * r, -deep), (0.88 * r, 0), (0.88 * r, 0.1)]
  cone = lathe(profile, sides=28).rotate((-90, 0, 0)).translate((0, y, front))
  cap = Manifold.sphere(0.3 * r, 20).translate((0, y, front + deep))
  t = 2 * np.pi * np.arange(28) / 28
  circle = np.stack([0.93 * r * np.cos(t), y + 0.93 * r * np.sin(t), 0 * t + front], -1)
  surround = tube(circle, max(0.07 * r, 0.009), sides=8, loop=True)
  return body - cone + cap + surround


def _speaker_stand(draw: Draw, width: float, depth: float) -> Manifold:
  """Nothing, feet, a plinth, or a pole on a plate or a tripod."""
  style = draw.one_of("none", "feet", "plinth", "pole", "tripod")
  a, b = 0.36 * width, 0.36 * depth
  if style == "none":
    return Manifold()
  if style == "feet":
    return four_corners(rod((a, -0.04, b), (a, 0.03, b), 0.014, 0.024))
  if style == "plinth":
    wide = 1.25 * a / 0.72
    return box((-wide, wide), (-0.035, 0.01), (-0.55 * depth, 0.55 * depth))
  drop = draw.between(0.4, 0.8)
  pole = rod((0, -drop, 0), (0, 0.03, 0), 0.024)
  plate = box((-a, a), (-0.025, 0.01), (-b, b))
  if style == "tripod":
    leg = rod((0.3, -drop, 0), (0, 0.45 - drop if drop > 0.6 else -0.2, 0), 0.014)
    return pole + plate + around(leg, 3)
  reach = 0.45 * width + 0.04
  return pole + plate + extrude(ellipse(2 * reach, 2 * reach), (-drop, 0.03 - drop))
