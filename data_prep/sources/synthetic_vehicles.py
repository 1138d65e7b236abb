"""Procedural vehicles: airplane, car and vessel (host).

Every function maps random choices to one connected solid; the frame and the units are
those of synthetic_parts.
"""

import numpy as np
from manifold3d import Manifold

from data_prep.sources.synthetic_parts import (
  Draw,
  both_sides,
  box,
  extrude,
  lathe,
  oval,
  polygon,
  rectangle,
  rod,
  rounded_path,
  skin,
  smooth,
  soften,
  spread,
  tube,
  union,
)

# Airplanes --------------------------------------------------------------------------


def airplane(draw: Draw) -> Manifold:
  """An airliner, jet, propeller plane or biplane; the nose points to -z."""
  kind = draw.one_of("airliner", "airliner", "fighter", "propeller", "biplane")
  length = draw.between(0.85, 1.05)
  girth = {
    "airliner": draw.between(0.09, 0.125),
    "fighter": draw.between(0.08, 0.11),
  }.get(kind, draw.between(0.1, 0.14))
  parts = [_fuselage(draw, length, girth, kind), _tail(draw, length, girth, kind)]
  makers = {
    "airliner": _airliner_wings,
    "fighter": _fighter_wings,
    "propeller": _straight_wings,
    "biplane": _straight_wings,
  }
  parts.append(makers[kind](draw, length, girth, kind))
  if kind in ("propeller", "biplane"):
    parts.append(_propeller(draw, -length / 2, girth))
    parts.append(_landing_gear(draw, length, girth))
  return union(parts)


def _fuselage(draw: Draw, length: float, girth: float, kind: str) -> Manifold:
  blunt = draw.between(0.08, 0.16) if kind != "fighter" else draw.between(0.25, 0.4)
  taper = draw.between(0.3, 0.42)
  rise = draw.between(0.15, 0.4) * girth
  end = draw.between(0.2, 0.32) if kind != "fighter" else draw.between(0.6, 0.8)
  tall = draw.between(1, 1.2)
  rings = []
  for t in np.concatenate(
    [np.linspace(0, 1, 9) ** 2 * blunt, np.linspace(blunt, 1, 12)[1:]]
  ):
    nose = np.sqrt(max(1 - (1 - min(t / blunt, 1)) ** 2, 0.01))
    tail = 1 - (1 - end) * max((t - 1 + taper) / taper, 0) ** 1.6
    size = girth * nose * tail
    lift = rise * max((t - 1 + taper) / taper, 0) ** 1.5
    rings.append(oval((0, lift, (t - 0.5) * length), size, tall * size))
  body = skin(rings)
  if kind == "airliner":
    return body
  long = draw.between(0.1, 0.16) * length
  at = (0, 0.42 * girth, draw.between(-0.26, -0.14) * length)
  canopy = Manifold.sphere(1, 20).scale((0.3 * girth, 0.4 * girth, long)).translate(at)
  return body + canopy


def _wing(
  root: tuple[float, float, float],
  tip: tuple[float, float, float],
  chords: tuple[float, float],
  thick: tuple[float, float],
) -> Manifold:
  """A lifting surface from leading edge points and chords along z; flat on no side."""
  profile = np.array(
    [(0, 0), (0.08, 0.36), (0.3, 0.5), (0.65, 0.34), (1, 0.1), (1, -0.1), (0.65, -0.34)]
    + [(0.3, -0.5), (0.08, -0.36)]
  )
  up = np.cross(np.subtract(tip, root), (0, 0, -1.0))
  up /= np.linalg.norm(up)
  rings = []
  for lead, chord, depth in zip((root, tip), chords, thick, strict=True):
    along, aside = profile[:, :1] * chord, profile[:, 1:] * depth
    rings.append(np.asarray(lead) + along * np.array([[0, 0, 1]]) + aside * up)
  return skin(rings)


def _airliner_wings(draw: Draw, length: float, girth: float, kind: str) -> Manifold:
  span, sweep = draw.between(0.42, 0.55) * length, draw.between(0.12, 0.27) * length
  chord, tip_chord = draw.between(0.17, 0.22), draw.between(0.05, 0.08)
  y, dihedral = draw.one_of(-0.28, -0.28, 0.36) * girth, draw.between(0, 0.06)
  lead = draw.between(-0.16, -0.06) * length
  tip = (span, y + dihedral, lead + sweep)
  wing = _wing((0, y, lead), tip, (chord, tip_chord), (0.034, 0.02))
  if draw.chance(0.4):
    up = (span + 0.015, y + dihedral + 0.07, lead + sweep + 0.06)
    wing += _wing(
      (span - 0.012, y + dihedral, lead + sweep + 0.01), up, (0.055, 0.03), (0.02, 0.02)
    )
  places = draw.one_of((0.34,), (0.34,), (0.3, 0.58), ())
  r = draw.between(0.026, 0.034)
  for share in places:
    x, at = share * span, lead + share * sweep
    wing += _nacelle(r, 0.15, (x, y + share * dihedral - r - 0.018, at - 0.05))
    wing += box(
      (x - 0.011, x + 0.011),
      (y + share * dihedral - 0.03, y + share * dihedral),
      (at, at + 0.07),
    )
  if not places:
    x, at = 0.5 * girth + r + 0.004, 0.18 * length
    wing += _nacelle(r, 0.16, (x, 0.2 * girth, at))
    wing += box(
      (0, x - 0.6 * r),
      (0.2 * girth - 0.012, 0.2 * girth + 0.012),
      (at + 0.04, at + 0.12),
    )
  return both_sides(wing)


def _nacelle(r: float, length: float, front: tuple[float, float, float]) -> Manifold:
  """A jet engine: a barrel with a sunken intake and an exhaust cone."""
  profile = smooth([(0.9 * r, 0), (r, 0.2 * length), (0.7 * r, 0.85 * length)], 8)
  barrel = lathe([*profile, (0.4 * r, 0.87 * length), (0.2 * r, length)], sides=20)
  intake = lathe([(0.62 * r, -1), (0.62 * r, 0.25 * length)], sides=20)
  return (barrel - intake).rotate((90, 0, 0)).translate(front)


def _fighter_wings(draw: Draw, length: float, girth: float, kind: str) -> Manifold:
  style = draw.one_of("delta", "swept", "canard")
  span = draw.between(0.28, 0.38) * length
  chord = {"delta": 0.5, "swept": 0.3, "canard": 0.42}[style] * length
  lead = {"delta": -0.1, "swept": -0.05, "canard": -0.04}[style] * length
  sweep = chord * draw.between(0.55, 0.8)
  y = draw.between(-0.15, 0.15) * girth
  tip_chord = draw.between(0.06, 0.1)
  wing = _wing((0, y, lead), (span, y, lead + sweep), (chord, tip_chord), (0.036, 0.02))
  intake = box(
    (0.2 * girth, 0.72 * girth),
    (-0.35 * girth, 0.3 * girth),
    (-0.1 * length, 0.4 * length),
    rounding=0.012,
  )
  mouth = box(
    (0.46 * girth, 0.64 * girth),
    (-0.26 * girth, 0.21 * girth),
    (-length, -0.06 * length),
  )
  wing += intake - mouth
  if style == "canard":
    root, tip = (0, 0.2 * girth, -0.26 * length), (0.16, 0.2 * girth, -0.2 * length)
    wing += _wing(root, tip, (0.11, 0.05), (0.022, 0.02))
  if draw.chance(0.5):
    x, at = 0.7 * span, lead + 0.7 * sweep
    wing += box((x - 0.011, x + 0.011), (y - 0.04, y), (at + 0.01, at + 0.06))
    wing += rod((x, y - 0.045, at - 0.05), (x, y - 0.045, at + 0.12), 0.013)
  return both_sides(wing)


def _straight_wings(draw: Draw, length: float, girth: float, kind: str) -> Manifold:
  """One or two straight wings; struts enclose holes."""
  span = draw.between(0.48, 0.6) * length
  chord, share = draw.between(0.14, 0.19), draw.between(0.55, 1)
  lead = draw.between(-0.26, -0.18) * length
  sweep = (1 - share) * chord * 0.4
  high = kind == "propeller" and draw.chance(0.5)
  low_y = 0.5 * girth if high else -0.42 * girth
  tip = (span, low_y + draw.between(0, 0.05), lead + sweep)
  wing = _wing((0, low_y, lead), tip, (chord, share * chord), (0.032, 0.022))
  if high and draw.chance(0.7):
    x = 0.5 * span
    wing += rod(
      (0.2 * girth, -0.4 * girth, lead + 0.3 * chord),
      (x, low_y + 0.01, lead + 0.4 * chord),
      0.011,
    )
  if kind == "biplane":
    y = low_y + draw.between(0.17, 0.22)
    stagger = draw.between(-0.04, 0)
    upper = (1.05 * span, y + 0.02, lead + sweep + stagger)
    wing += _wing((0, y, lead + stagger), upper, (chord, share * chord), (0.03, 0.022))
    for x in (0.3 * span, 0.75 * span)[draw.count(0, 1) :]:
      for along in (0.25, 0.65):
        foot = (x, low_y, lead + sweep * x / span + along * chord)
        head = (x, y + 0.02 * x / span, foot[2] + stagger)
        wing += rod(foot, head, 0.011, sides=8)
    for along in (0.3, 0.6):
      at = lead + along * chord
      wing += rod(
        (0.3 * girth, 0.1 * girth, at), (0.5 * girth, y, at + stagger), 0.011, sides=8
      )
  return both_sides(wing)


def _tail(draw: Draw, length: float, girth: float, kind: str) -> Manifold:
  """Fin and stabilisers: low, T-shaped, V-shaped or twin fins."""
  rear = 0.5 * length
  chord, tall = draw.between(0.11, 0.15), draw.between(0.12, 0.18)
  y, lead = 0.25 * girth, rear - chord - 0.01
  sweep = draw.between(0.03, 0.1) if kind in ("airliner", "fighter") else 0.03
  thick, half = (0.024, 0.02), draw.between(0.14, 0.2)
  style = draw.one_of("low", "low", "T", "V", "twin") if kind != "biplane" else "low"
  if style == "V":
    tip = (0.14, y + tall, lead + sweep)
    return both_sides(_wing((0, y - 0.02, lead), tip, (chord, 0.6 * chord), thick))
  flat = (half, y, lead + sweep)
  if style == "T":
    top = (0, y + tall, lead + sweep)
    fin = _wing((0, y - 0.02, lead), top, (chord, 0.75 * chord), thick)
    tip = (0.8 * half, y + tall, lead + 2 * sweep)
    root = (0, y + tall - 0.006, lead + sweep)
    return fin + both_sides(_wing(root, tip, (0.7 * chord, 0.4 * chord), (0.024, 0.02)))
  stabiliser = both_sides(_wing((0, y, lead), flat, (chord, 0.6 * chord), thick))
  if style == "twin":
    x = draw.between(0.4, 0.9) * half
    at = lead + sweep * x / half
    fin = _wing(
      (x, y - 0.015, at),
      (x + 0.02, y + 0.8 * tall, at + sweep),
      (0.7 * chord, 0.4 * chord),
      thick,
    )
    return stabiliser + both_sides(fin)
  top = (0, y + tall + 0.02, lead + sweep)
  return stabiliser + _wing((0, y - 0.02, lead), top, (chord, 0.55 * chord), thick)


def _propeller(draw: Draw, nose: float, girth: float) -> Manifold:
  reach = draw.between(0.85, 1.2) * girth
  blade = box((-0.011, 0.011), (0, reach), (-0.02, 0.02)).rotate((0, 35, 0))
  count = draw.count(2, 4)
  blades = union([blade.rotate((0, 0, 360 * i / count)) for i in range(count)])
  hub = Manifold.sphere(1, 16).scale((0.028, 0.028, 0.05))
  return (blades + hub).translate((0, 0, nose - 0.012))


def _landing_gear(draw: Draw, length: float, girth: float) -> Manifold:
  """Two main wheels on legs and a small one at the tail."""
  x, y = draw.between(0.7, 1.1) * girth, -girth
  at = -draw.between(0.12, 0.18) * length
  r = draw.between(0.03, 0.04)
  wheel = rod((x - 0.014, y, at), (x + 0.014, y, at), r, sides=20)
  leg = rod((0.15 * girth, -0.3 * girth, at), (x, y, at), 0.012)
  z = 0.4 * length
  rear = rod((0, 0.2 * girth, z), (0, -0.35 * girth, z + 0.02), 0.011)
  small = rod((-0.012, -0.35 * girth, z + 0.02), (0.012, -0.35 * girth, z + 0.02), 0.02)
  return both_sides(leg + wheel) + rear + small


# Cars -------------------------------------------------------------------------------


def car(draw: Draw) -> Manifold:
  """A sedan, hatchback, van, pickup or open car; the bonnet points to -z."""
  kind = draw.one_of("sedan", "sedan", "hatchback", "van", "pickup", "open", "truck")
  length, width = 1.0, draw.between(0.38, 0.44)
  waist, floor = draw.between(0.19, 0.23), draw.between(0.055, 0.08)
  r = draw.between(0.072, 0.09)
  if kind in ("van", "truck"):
    waist += 0.03
  front, rear = draw.between(-0.35, -0.3), draw.between(0.28, 0.34)
  body = _car_body(draw, kind, length, width, waist, floor)
  axles = (
    (front, rear, rear - 0.2) if kind == "truck" and draw.chance(0.5) else (front, rear)
  )
  wells = [rod((0.28 * width, r, z), (width, r, z), 1.18 * r, sides=28) for z in axles]
  body -= both_sides(union(wells))
  wheels = [_wheel(draw, r, width).translate((0, r, z)) for z in axles]
  return union([body, _cabin(draw, kind, width, waist), *wheels])


def _car_body(
  draw: Draw, kind: str, length: float, width: float, waist: float, floor: float
) -> Manifold:
  """Side view, plan and front view, each extruded; the body is what they share."""
  a = length / 2
  bonnet = waist - draw.between(0.01, 0.04)
  nose, boot = draw.between(0.6, 0.85) * waist, waist - draw.between(0, 0.025)
  if kind in ("van", "hatchback", "pickup", "truck"):
    boot = waist
  side = [(-a, floor + 0.01), (-a, nose), (-0.9 * a, bonnet), (-0.4 * a, waist)]
  side += [
    (0.4 * a, waist),
    (0.95 * a, boot),
    (a, 0.7 * waist),
    (0.98 * a, floor + 0.01),
  ]
  side += [(0.9 * a, floor), (-0.9 * a, floor)]
  round_nose = draw.between(0.05, 0.16)
  plan = rectangle((-width / 2, width / 2), (-a, a), rounding=round_nose)
  w, tuck = width / 2, draw.between(0.01, 0.035)
  view = [(-w + tuck, 0), (-w, 0.55 * waist), (-w + tuck, waist + 0.02)]
  view = polygon(view + [(-u, v) for u, v in view[::-1]])
  body = extrude(soften(polygon(side), 0.02), (-1, 1), "x") ^ extrude(plan, (-1, 1))
  body ^= extrude(view, (-1, 1), "z")
  if kind == "pickup":
    body -= box((0.03 - w, w - 0.03), (floor + 0.07, 1), (0.14, a - 0.03))
  if kind == "open":
    body -= box((0.05 - w, w - 0.05), (floor + 0.045, 1), (-0.12, 0.25), rounding=0.02)
  if draw.chance(0.5):
    body += box(
      (-0.4 * width, 0.4 * width), (floor + 0.01, floor + 0.045), (-a - 0.015, a)
    )
  lamp = draw.between(0.018, 0.026)
  y = 0.72 * nose
  light = rod(
    (0.32 * width, y, -a - 0.004), (0.32 * width, y, -0.9 * a), lamp, sides=14
  )
  return body + both_sides(light)


def _wheel(draw: Draw, r: float, width: float) -> Manifold:
  """Two wheels with sunken discs on one axle."""
  outer, wide = width / 2 - 0.004, draw.between(0.05, 0.065)
  tyre = rod((outer - wide, 0, 0), (outer, 0, 0), r, sides=28)
  rim = rod((outer - 0.018, 0, 0), (outer + 1, 0, 0), 0.62 * r, sides=20)
  hub = rod((0, 0, 0), (outer - 0.006, 0, 0), 0.26 * r, sides=12)
  return both_sides(tyre - rim + hub)


def _cabin(draw: Draw, kind: str, width: float, waist: float) -> Manifold:
  """The part above the waist, with sunken panes; seats and a screen in an open car."""
  w = width / 2 - 0.012
  low = waist - 0.02
  if kind == "open":
    frame = extrude(
      rectangle((-w, w), (0, 0.12)) - rectangle((0.025 - w, w - 0.025), (-1, 0.095)),
      (0, 0.02),
      "z",
    )
    screen = frame.rotate((25, 0, 0)).translate((0, low, -0.13))
    seat = box((0.02, w - 0.06), (0.08, 0.15), (0, 0.14), rounding=0.02)
    seat += box((0.02, w - 0.06), (0.08, waist + 0.07), (0.13, 0.19), rounding=0.02)
    return screen + both_sides(seat)
  tall = {"van": draw.between(0.17, 0.26), "truck": 0.2}.get(
    kind, draw.between(0.12, 0.16)
  )
  front, rear = {
    "sedan": ((-0.2, -0.08), (0.36, 0.22)),
    "hatchback": ((-0.2, -0.08), (0.47, 0.4)),
    "van": ((-0.36, -0.28), (0.48, 0.46)),
    "pickup": ((-0.2, -0.09), (0.13, 0.1)),
    "truck": ((-0.44, -0.4), (-0.16, -0.17)),
  }[kind]
  shift = draw.between(-0.02, 0.02)
  lean = draw.between(0.03, 0.06)
  ends = [front[0] + shift, front[1] + shift, rear[1], rear[0]]
  top = low + tall
  corners = [(x, low, z) for x in (-w, w) for z in (ends[0], ends[3])]
  corners += [(x, top, z) for x in (lean - w, w - lean) for z in (ends[1], ends[2])]
  hull = Manifold.hull_points(np.array(corners))
  glass = hull.translate((0, -low, 0)).scale((0.93, 0.97, 0.95)).translate((0, low, 0))
  panes = []
  bottom, upper = waist + 0.022, top - 0.03
  count = {"van": 3, "pickup": 1, "truck": 1}.get(kind, 2)
  long = (
    (ends[0] + 0.09, ends[3] - 0.07)
    if kind != "truck"
    else (ends[0] + 0.04, ends[3] - 0.04)
  )
  for z in spread(*long, count):
    half = (long[1] - long[0]) / count / 2 - 0.012
    section = rectangle((z - half, z + half), (bottom, upper), rounding=0.015)
    panes.append(extrude(section, (-1, 1), "x"))
  pane = rectangle((0.04 + lean - w, w - lean - 0.04), (bottom, upper), rounding=0.015)
  panes.append(extrude(pane, (-1, 1), "z"))
  cabin = (hull - union(panes)) + (glass ^ hull)
  if kind == "truck":
    cabin += _cargo(draw, width, waist)
  elif draw.chance(0.25):
    rail = both_sides(
      box(
        (0.6 * w, 0.6 * w + 0.025),
        (top - 0.01, top + 0.025),
        (ends[1] + 0.03, ends[2] - 0.02),
      )
    )
    cabin += rail
  return cabin


def _cargo(draw: Draw, width: float, waist: float) -> Manifold:
  """What a truck carries: a container, a tank or an open body with stakes."""
  w, low, rear = width / 2, waist - 0.02, 0.5
  style = draw.one_of("container", "tank", "stakes")
  if style == "container":
    return box((-w, w), (low, low + draw.between(0.22, 0.32)), (-0.12, rear))
  if style == "tank":
    r = draw.between(0.14, 0.17)
    tank = [
      oval((0, low + r - 0.02, z), 2.2 * r * s, 2 * r * s, power=2.4)
      for z, s in ((-0.12, 0.85), (-0.09, 1), (0.46, 1), (0.5, 0.85))
    ]
    dome = rod((0, low + 2 * r - 0.05, 0.18), (0, low + 2 * r + 0.01, 0.18), 0.05)
    return skin(tank) + dome
  posts = [
    box((w - 0.025, w), (low, low + 0.16), (z - 0.014, z + 0.014))
    for z in spread(-0.14, 0.52, 5)
  ]
  rails = [
    box((w - 0.022, w - 0.002), (low + y, low + y + 0.03), (-0.1, rear))
    for y in (0.06, 0.13)
  ]
  bed = box((-w, w), (low - 0.01, low + 0.03), (-0.12, rear))
  return bed + both_sides(union(posts + rails))


# Vessels ----------------------------------------------------------------------------


def vessel(draw: Draw) -> Manifold:
  """A sailing boat, freighter, motor yacht, tug or rowing boat; the bow points to -z."""
  kinds = (_sailboat, _freighter, _yacht, _tug, _rowboat)
  return draw.one_of(*kinds)(draw)


def _hull(
  draw: Draw,
  beam: float,
  depth: float,
  *,
  sheer: float,
  stern: float,
  fine: float = 1.6,
  slope: float = 0.12,
  scale: float = 1.0,
  power: float = 2.6,
) -> Manifold:
  """A hull from z = -0.5 to 0.5, its deck near y = 0; `scale` shrinks its sections.

  Rings are half superellipses closed by the deck; beam falls to nothing at the bow
  with exponent `fine` and to `stern` of itself aft.
  """
  angle = np.linspace(np.pi, 2 * np.pi, 15)
  rings = []
  for t in np.linspace(0, 1, 17):
    forward = 1 - (1 - min(t / 0.55, 1)) ** fine
    half = (
      0.5
      * beam
      * max(forward, 0.035)
      * (1 - (1 - stern) * max((t - 0.55) / 0.45, 0) ** 2)
    )
    keel = (
      depth
      * (0.45 + 0.55 * min(t / 0.4, 1) ** 0.7)
      * (1 - 0.25 * max((t - 0.7) / 0.3, 0))
    )
    deck = sheer * (2 * t - 1.1) ** 2
    x = np.sign(np.cos(angle)) * np.abs(np.cos(angle)) ** (2 / power) * half * scale
    y = deck - np.abs(np.sin(angle)) ** (2 / power) * (keel + deck) * scale
    rake = slope * (1 - t) ** 3 * (deck - y) / (keel + deck)
    rings.append(np.stack([x, y, t - 0.5 + rake], -1))
  return skin(rings)


def _sailboat(draw: Draw) -> Manifold:
  """A hull with keel, rudder, one or two masts and thin bellied sails."""
  beam, depth = draw.between(0.2, 0.3), draw.between(0.09, 0.13)
  hull = _hull(
    draw, beam, depth, sheer=draw.between(0.02, 0.06), stern=draw.between(0.4, 0.75)
  )
  parts = [hull]
  fin = polygon([(-0.1, -0.05), (0.1, -0.05), (0.08, -0.24), (-0.02, -0.24)])
  parts.append(extrude(fin, (-0.012, 0.012), "x"))
  rudder = polygon([(0.4, 0.0), (0.47, 0.0), (0.47, -0.17), (0.42, -0.17)])
  parts.append(extrude(rudder, (-0.011, 0.011), "x"))
  cabin = box((-0.25 * beam, 0.25 * beam), (-0.03, 0.05), (-0.14, 0.15), rounding=0.02)
  parts.append(cabin)
  masts = draw.one_of((-0.1,), (-0.1,), (-0.18, 0.2))
  for i, at in enumerate(masts):
    top = draw.between(0.75, 1) * (1 if i == 0 else 0.75)
    parts.append(rod((0, -0.03, at), (0, top, at), 0.014, 0.011, sides=10))
    boom, y = (0.4 if len(masts) == 1 else 0.26), 0.12
    parts.append(rod((0, y, at), (0, y, at + boom), 0.011, sides=8))
    sail = polygon([(at, y), (at + 0.95 * boom, y), (at, 0.95 * top)])
    parts.append(_bellied(draw, sail))
  if draw.chance(0.7):
    top, at = 0.6, masts[0]
    jib = polygon([(-0.47, 0.03), (at, 0.05), (at, top)])
    parts.append(_bellied(draw, jib))
  return union(parts)


def _bellied(draw: Draw, sail) -> Manifold:
  belly = draw.between(-0.1, 0.1)
  flat = extrude(sail, (-0.009, 0.009), "x").refine_to_length(0.08)

  def blow(p: np.ndarray) -> np.ndarray:
    return p + np.array([[1, 0, 0]]) * (belly * np.sin(3 * p[:, 1:2]) * p[:, 2:3])

  return flat.warp_batch(blow)


def _freighter(draw: Draw) -> Manifold:
  """A long hull with a bridge and funnel aft and stacked containers, hatches or cranes."""
  beam, depth = draw.between(0.15, 0.2), draw.between(0.08, 0.11)
  hull = _hull(
    draw,
    beam,
    depth,
    sheer=draw.between(0, 0.02),
    stern=0.85,
    fine=3,
    slope=0.06,
    power=5,
  )
  w = 0.42 * beam
  parts = [hull]
  aft = draw.between(0.28, 0.34)
  tall = draw.between(0.1, 0.17)
  parts.append(box((-w, w), (-0.02, tall), (aft, aft + 0.09)))
  parts.append(
    box(
      (-0.5 * beam, 0.5 * beam), (tall - 0.035, tall - 0.005), (aft - 0.015, aft + 0.04)
    )
  )
  parts.append(rod((0, 0, aft + 0.07), (0, tall + 0.06, aft + 0.075), 0.022, sides=14))
  style = draw.one_of("containers", "hatches", "cranes")
  bays = draw.count(4, 7)
  for z in spread(-0.34, aft - 0.03, bays):
    half = 0.42 * (aft + 0.31) / bays
    if style == "containers":
      y = 0.035 * draw.count(1, 4)
      parts.append(box((-w, w), (-0.02, y), (z - half, z + half)))
    else:
      parts.append(
        box((-0.6 * w, 0.6 * w), (-0.02, 0.02), (z - 0.8 * half, z + 0.8 * half))
      )
  if style == "cranes":
    for z in spread(-0.36, aft, 3):
      parts.append(rod((0, -0.02, z), (0, 0.17, z), 0.012, sides=8))
      parts.append(rod((0, 0.06, z), (0, 0.16, z - 0.12), 0.011, sides=8))
  parts.append(rod((0, 0, -0.4), (0, 0.09, -0.4), 0.011, sides=8))
  return union(parts)


def _yacht(draw: Draw) -> Manifold:
  """A sharp hull with stepped decks, each with a band of sunken windows."""
  beam, depth = draw.between(0.22, 0.3), draw.between(0.11, 0.15)
  hull = _hull(
    draw, beam, depth, sheer=draw.between(0.03, 0.06), stern=0.85, fine=1.9, slope=0.2
  )
  parts = [hull]
  y, front, rear, w = (
    -0.02,
    draw.between(-0.24, -0.14),
    draw.between(0.3, 0.4),
    0.36 * beam,
  )
  for _ in range(draw.count(1, 3)):
    tall = draw.between(0.07, 0.09)
    lean = draw.between(0.05, 0.12)
    side = polygon(
      [(front, y), (rear, y), (rear - 0.02, y + tall), (front + lean, y + tall)]
    )
    house = extrude(side, (-w, w), "x")
    band = rectangle(
      (front + lean + 0.02, rear - 0.05), (y + 0.4 * tall, y + 0.75 * tall)
    )
    panes = extrude(band, (-1, 1), "x") - extrude(band, (0.014 - w, w - 0.014), "x")
    parts.append(house - panes)
    roof = box(
      (-1.1 * w, 1.1 * w),
      (y + tall - 0.012, y + tall + 0.012),
      (front + lean - 0.01, rear + 0.03),
    )
    parts.append(roof)
    y, front, rear, w = (
      y + tall,
      front + lean + 0.05,
      rear - draw.between(0.06, 0.14),
      0.85 * w,
    )
  if draw.chance(0.7):
    z = rear - 0.06
    arch = [(-0.7 * w, y - 0.02, z), (-0.6 * w, y + 0.08, z + 0.04)]
    arch += [(-px, py, pz) for px, py, pz in arch[::-1]]
    parts.append(tube(rounded_path(arch, 0.03), 0.012, sides=8))
  return union(parts)


def _tug(draw: Draw) -> Manifold:
  """A short, deep hull with a wheelhouse, a funnel, a mast and a railed bow."""
  beam, depth = draw.between(0.3, 0.38), draw.between(0.15, 0.2)
  parts = [
    _hull(draw, beam, depth, sheer=draw.between(0.07, 0.12), stern=0.8, fine=2.4)
  ]
  w, tall = 0.3 * beam, draw.between(0.16, 0.22)
  front, rear = draw.between(-0.22, -0.15), draw.between(0.08, 0.22)
  parts.append(box((-w, w), (-0.03, 0.5 * tall), (front - 0.03, rear)))
  house = box((-0.85 * w, 0.85 * w), (0, tall), (front, 0.0))
  pane = rectangle((0.02 - 0.85 * w, 0.85 * w - 0.02), (0.6 * tall, 0.88 * tall))
  side = rectangle((front + 0.02, -0.02), (0.6 * tall, 0.88 * tall))
  openings = extrude(pane, (-1, 1), "z") + extrude(side, (-1, 1), "x")
  core = box(
    (0.015 - 0.85 * w, 0.85 * w - 0.015), (0.1, tall - 0.01), (front + 0.015, -0.015)
  )
  parts.append(house - (openings - core) if draw.chance(0.5) else house - openings)
  parts.append(box((-w, w), (tall - 0.012, tall + 0.014), (front - 0.03, 0.02)))
  parts.append(rod((0, 0, rear - 0.06), (0, tall + 0.1, rear - 0.04), 0.04, 0.034))
  parts.append(
    rod((0, tall, front + 0.1), (0, tall + draw.between(0.15, 0.3), front + 0.1), 0.013)
  )
  t = np.linspace(-np.pi, 0, 9)
  fender = np.stack(
    [0.46 * beam * np.cos(t), 0.02 + 0.02 * np.sin(t) ** 2, 0.45 + 0 * t], -1
  )
  del fender
  return union(parts)


def _rowboat(draw: Draw) -> Manifold:
  """An open boat: a hollow hull with thwarts, perhaps oars or an outboard engine."""
  beam, depth = draw.between(0.28, 0.4), draw.between(0.13, 0.18)
  sheer, stern = draw.between(0.03, 0.08), draw.between(0.3, 0.8)
  shape = {"sheer": sheer, "stern": stern, "slope": 0.1}
  outer = _hull(draw, beam, depth, **shape)
  inner = _hull(draw, beam, depth, **shape, scale=0.86).scale((1, 1, 0.93))
  lid = inner.translate((0, 0.01, 0)) + inner.translate((0, 0.04, 0))
  parts = [outer - lid]
  for z in spread(-0.3, 0.42, draw.count(2, 4)):
    plank = box((-beam, beam), (-0.045, -0.015), (z - 0.03, z + 0.03))
    parts.append(plank ^ outer)
  if draw.chance(0.5):
    oar = rod((0.1, 0.0, -0.05), (0.52 * beam + 0.28, -0.02, 0.2), 0.012, sides=8)
    parts.append(both_sides(oar))
  return union(parts)
