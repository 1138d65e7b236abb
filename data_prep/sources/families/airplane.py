"""Procedural airplanes (host)."""

import numpy as np
from manifold3d import Manifold

from data_prep.sources.families.parts import (
  Coords,
  Draw,
  Real,
  Span,
  both_sides,
  box,
  lathe,
  oval,
  rod,
  skin,
  smooth,
  union,
)


def airplane(draw: Draw) -> Manifold:
  """An airliner, jet, propeller plane or biplane; the nose points to -z."""
  kind = draw.one_of("airliner", "airliner", "fighter", "propeller", "biplane")
  length = draw.between(0.85, 1.05)
  slim = {"airliner": (0.09, 0.125), "fighter": (0.08, 0.11)}
  girth = draw.between(*slim.get(kind, (0.1, 0.14)))
  parts = [_fuselage(draw, length, girth, kind), _tail(draw, length, girth, kind)]
  if kind == "airliner":
    parts.append(_airliner_wings(draw, length, girth))
  elif kind == "fighter":
    parts.append(_fighter_wings(draw, length, girth))
  else:
    parts.append(_straight_wings(draw, length, girth, kind))
    parts.append(_propeller(draw, -length / 2, girth))
    parts.append(_landing_gear(draw, length, girth))
  return union(parts)


def _fuselage(draw: Draw, length: Real, girth: Real, kind: str) -> Manifold:
  """A body of oval sections with a round nose and a rising tail; maybe a canopy."""
  fighter = kind == "fighter"
  blunt = draw.between(0.25, 0.4) if fighter else draw.between(0.08, 0.16)
  end = draw.between(0.6, 0.8) if fighter else draw.between(0.2, 0.32)
  taper, rise = draw.between(0.3, 0.42), draw.between(0.15, 0.4) * girth
  tall = draw.between(1, 1.2)
  rings = []
  for t in [*blunt * np.linspace(0, 1, 9) ** 2, *np.linspace(blunt, 1, 12)[1:]]:
    aft = max((t - 1 + taper) / taper, 0)
    nose = np.sqrt(max(1 - (1 - min(t / blunt, 1)) ** 2, 0.01))
    size = girth * nose * (1 - (1 - end) * aft**1.6)
    rings.append(oval((0, rise * aft**1.5, (t - 0.5) * length), size, tall * size))
  body = skin(rings)
  if kind == "airliner":
    return body
  long = draw.between(0.1, 0.16) * length
  at = (0, 0.42 * girth, draw.between(-0.26, -0.14) * length)
  canopy = Manifold.sphere(1, 20).scale((0.3 * girth, 0.4 * girth, long)).translate(at)
  return body + canopy


def _wing(root: Coords, tip: Coords, chords: Span, thick: Span) -> Manifold:
  """A lifting surface from its leading edge, chords along z and thicknesses."""
  upper = np.array([(0.08, 0.36), (0.3, 0.5), (0.65, 0.34), (1, 0.1)])
  profile = np.concatenate([[[0, 0]], upper, upper[::-1] * (1, -1)])
  up = np.cross(np.subtract(tip, root), (0, 0, -1.0))
  up /= np.linalg.norm(up)
  rings = []
  for lead, chord, depth in zip((root, tip), chords, thick, strict=True):
    along, aside = profile[:, :1] * chord, profile[:, 1:] * depth
    rings.append(np.asarray(lead) + along * np.array([[0, 0, 1]]) + aside * up)
  return skin(rings)


def _airliner_wings(draw: Draw, length: Real, girth: Real) -> Manifold:
  """Swept wings, perhaps with winglets; engines below them or at the tail."""
  span, sweep = draw.between(0.42, 0.55) * length, draw.between(0.12, 0.27) * length
  chord, tip_chord = draw.between(0.17, 0.22), draw.between(0.05, 0.08)
  y, dihedral = draw.one_of(-0.28, -0.28, 0.36) * girth, draw.between(0, 0.06)
  lead = draw.between(-0.16, -0.06) * length
  tip = (span, y + dihedral, lead + sweep)
  wing = _wing((0, y, lead), tip, (chord, tip_chord), (0.034, 0.02))
  if draw.chance(0.4):
    foot = (span - 0.012, tip[1], tip[2] + 0.01)
    head = (span + 0.015, tip[1] + 0.07, tip[2] + 0.06)
    wing += _wing(foot, head, (0.055, 0.03), (0.02, 0.02))
  places = draw.one_of((0.34,), (0.34,), (0.3, 0.58), ())
  r = draw.between(0.026, 0.034)
  for share in places:
    x, top, at = share * span, y + share * dihedral, lead + share * sweep
    wing += _nacelle(r, 0.15, (x, top - r - 0.018, at - 0.05))
    wing += box((x - 0.011, x + 0.011), (top - 0.03, top), (at, at + 0.07))
  if not places:
    x, y, at = 0.5 * girth + r + 0.004, 0.2 * girth, 0.18 * length
    wing += _nacelle(r, 0.16, (x, y, at))
    wing += box((0, x - 0.6 * r), (y - 0.012, y + 0.012), (at + 0.04, at + 0.12))
  return both_sides(wing)


def _nacelle(r: Real, length: Real, front: Coords) -> Manifold:
  """A jet engine: a barrel with a sunken intake and an exhaust cone."""
  profile = smooth([(0.9 * r, 0), (r, 0.2 * length), (0.7 * r, 0.85 * length)], 8)
  barrel = lathe([*profile, (0.4 * r, 0.87 * length), (0.2 * r, length)], sides=20)
  intake = lathe([(0.62 * r, -1), (0.62 * r, 0.25 * length)], sides=20)
  return (barrel - intake).rotate((90, 0, 0)).translate(front)


def _fighter_wings(draw: Draw, length: Real, girth: Real) -> Manifold:
  """Delta or swept wings on open air intakes, with canards and missiles or not."""
  style = draw.one_of("delta", "swept", "canard")
  span = draw.between(0.28, 0.38) * length
  chord = {"delta": 0.5, "swept": 0.3, "canard": 0.42}[style] * length
  lead = {"delta": -0.1, "swept": -0.05, "canard": -0.04}[style] * length
  sweep = chord * draw.between(0.55, 0.8)
  y = draw.between(-0.15, 0.15) * girth
  chords = (chord, draw.between(0.06, 0.1))
  wing = _wing((0, y, lead), (span, y, lead + sweep), chords, (0.036, 0.02))
  g = girth
  duct = (-0.1 * length, 0.4 * length)
  wing += box((0.2 * g, 0.72 * g), (-0.35 * g, 0.3 * g), duct, rounding=0.012)
  mouth = (-length, -0.06 * length)
  wing -= box((0.46 * g, 0.64 * g), (-0.26 * g, 0.21 * g), mouth)
  if style == "canard":
    root, tip = (0, 0.2 * girth, -0.26 * length), (0.16, 0.2 * girth, -0.2 * length)
    wing += _wing(root, tip, (0.11, 0.05), (0.022, 0.02))
  if draw.chance(0.5):
    x, at = 0.7 * span, lead + 0.7 * sweep
    wing += box((x - 0.011, x + 0.011), (y - 0.04, y), (at + 0.01, at + 0.06))
    wing += rod((x, y - 0.045, at - 0.05), (x, y - 0.045, at + 0.12), 0.013)
  return both_sides(wing)


def _straight_wings(draw: Draw, length: Real, girth: Real, kind: str) -> Manifold:
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
    foot = (0.2 * girth, -0.4 * girth, lead + 0.3 * chord)
    wing += rod(foot, (0.5 * span, low_y + 0.01, lead + 0.4 * chord), 0.011)
  if kind == "biplane":
    y, stagger = low_y + draw.between(0.17, 0.22), draw.between(-0.04, 0)
    upper = (1.05 * span, y + 0.02, lead + sweep + stagger)
    wing += _wing((0, y, lead + stagger), upper, (chord, share * chord), (0.03, 0.022))
    for x in (0.3 * span, 0.75 * span)[draw.count(0, 1) :]:
      for along in (0.25, 0.65):
        foot = (x, low_y, lead + sweep * x / span + along * chord)
        head = (x, y + 0.02 * x / span, foot[2] + stagger)
        wing += rod(foot, head, 0.011, sides=8)
    for along in (0.3, 0.6):
      foot = (0.3 * girth, 0.1 * girth, lead + along * chord)
      wing += rod(foot, (0.5 * girth, y, foot[2] + stagger), 0.011, sides=8)
  return both_sides(wing)


def _tail(draw: Draw, length: Real, girth: Real, kind: str) -> Manifold:
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
    foot, head = (x, y - 0.015, at), (x + 0.02, y + 0.8 * tall, at + sweep)
    fin = _wing(foot, head, (0.7 * chord, 0.4 * chord), thick)
    return stabiliser + both_sides(fin)
  top = (0, y + tall + 0.02, lead + sweep)
  return stabiliser + _wing((0, y - 0.02, lead), top, (chord, 0.55 * chord), thick)


def _propeller(draw: Draw, nose: Real, girth: Real) -> Manifold:
  """Two to four pitched blades on a hub at z = `nose`."""
  reach = draw.between(0.85, 1.2) * girth
  blade = box((-0.011, 0.011), (0, reach), (-0.02, 0.02)).rotate((0, 35, 0))
  count = draw.count(2, 4)
  blades = union([blade.rotate((0, 0, 360 * i / count)) for i in range(count)])
  hub = Manifold.sphere(1, 16).scale((0.028, 0.028, 0.05))
  return (blades + hub).translate((0, 0, nose - 0.012))


def _landing_gear(draw: Draw, length: Real, girth: Real) -> Manifold:
  """Two main wheels on legs and a small one at the tail."""
  x, y = draw.between(0.7, 1.1) * girth, -girth
  at = -draw.between(0.12, 0.18) * length
  r = draw.between(0.03, 0.04)
  wheel = rod((x - 0.014, y, at), (x + 0.014, y, at), r, sides=20)
  leg = rod((0.15 * girth, -0.3 * girth, at), (x, y, at), 0.012)
  z = 0.4 * length
  rear = rod((0, 0.2 * girth, z), (0, -0.35 * girth, z + 0.02), 0.011)
  y, z = -0.35 * girth, z + 0.02
  small = rod((-0.012, y, z), (0.012, y, z), 0.02)
  return both_sides(leg + wheel) + rear + small
