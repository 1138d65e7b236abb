"""Procedural boats and ships (host)."""

import numpy as np
from manifold3d import CrossSection, Manifold

from data_prep.sources.families.parts import (
  Draw,
  Real,
  both_sides,
  box,
  extrude,
  oval,
  polygon,
  rectangle,
  rod,
  rounded_path,
  skin,
  spread,
  tube,
  union,
)


def vessel(draw: Draw) -> Manifold:
  """One of seven kinds of boat, ship or submarine; the bow points to -z."""
  kinds = (_sailboat, _catamaran, _freighter, _yacht, _tug, _rowboat, _submarine)
  return draw.one_of(*kinds)(draw)


def _hull(
  beam: Real,
  depth: Real,
  *,
  sheer: Real,
  stern: Real,
  fine: Real = 1.6,
  rake: Real = 0.12,
  power: Real = 2.6,
  inset: Real = 1.0,
) -> Manifold:
  """A hull from z = -0.5 to 0.5 under a deck near y = 0.

  Each section is half a superellipse below the deck, with exponent `power`.

  Args:
    beam: the largest width.
    depth: of the keel amidships.
    sheer: how far the deck rises towards bow and stern.
    stern: width there, as a share of the beam.
    fine: the larger, the blunter is the bow.
    rake: how far the foot of the bow lies behind its head.
    power: 2 is round, more is boxier.
    inset: scales all sections, for the inside of an open boat.
  """
  angle = np.linspace(np.pi, 2 * np.pi, 15)
  across = np.sign(np.cos(angle)) * np.abs(np.cos(angle)) ** (2 / power)
  down = np.abs(np.sin(angle)) ** (2 / power)
  rings = []
  for t in np.linspace(0, 1, 17):
    fore, aft = min(t / 0.55, 1), max((t - 0.55) / 0.45, 0)
    half = beam / 2 * max(1 - (1 - fore) ** fine, 0.035) * (1 - (1 - stern) * aft**2)
    keel = depth * (0.45 + 0.55 * min(t / 0.4, 1) ** 0.7) * (1 - 0.25 * aft**2)
    deck = sheer * (2 * t - 1.1) ** 2
    x, y = across * half * inset, deck - down * (keel + deck) * inset
    z = t - 0.5 + rake * (1 - t) ** 3 * (deck - y) / (keel + deck)
    rings.append(np.stack([x, y, z], -1))
  return skin(rings)


def _sailboat(draw: Draw) -> Manifold:
  """A hull with keel, rudder, low cabin and one or two masts."""
  beam, depth = draw.between(0.2, 0.3), draw.between(0.09, 0.13)
  sheer, stern = draw.between(0.02, 0.06), draw.between(0.4, 0.75)
  deep = draw.between(-0.28, -0.18)
  fin = polygon([(-0.1, -0.05), (0.1, -0.05), (0.08, deep), (-0.02, deep)])
  rudder = polygon([(0.4, 0.0), (0.47, 0.0), (0.47, -0.17), (0.42, -0.17)])
  w = 0.25 * beam
  parts = [
    _hull(beam, depth, sheer=sheer, stern=stern),
    extrude(fin, (-0.014, 0.014), "x"),
    extrude(rudder, (-0.012, 0.012), "x"),
    box((-w, w), (-0.03, 0.05), (-0.14, draw.between(0.05, 0.2)), rounding=0.02),
  ]
  tall, jib = draw.between(0.7, 1.05), draw.chance(0.7)
  if draw.chance(0.65):
    parts.append(_rig(draw, -0.1, tall, 0.42, jib))
  else:
    parts.append(_rig(draw, -0.2, tall, 0.3, jib))
    parts.append(_rig(draw, 0.17, 0.7 * tall, 0.24, False))
  return union(parts)


def _rig(draw: Draw, at: Real, tall: Real, boom: Real, jib: bool) -> Manifold:
  """A mast at z = `at` with a sail behind it and perhaps one before it."""
  foot = 0.12
  sail = polygon([(at, foot), (at + 0.95 * boom, foot), (at, 0.95 * tall)])
  parts = [
    rod((0, -0.03, at), (0, tall, at), 0.014, 0.011, sides=10),
    rod((0, foot, at), (0, foot, at + boom), 0.011, sides=8),
    _bellied(draw, sail),
  ]
  if jib:
    head = draw.between(0.6, 0.9) * tall
    parts.append(_bellied(draw, polygon([(-0.47, 0.02), (at, 0.05), (at, head)])))
  return union(parts)


def _bellied(draw: Draw, sail: CrossSection) -> Manifold:
  """A sail in the plane x = 0, blown sideways."""
  belly = draw.between(-0.25, 0.25)
  (_, low, _, high), first = sail.bounds(), sail.bounds()[0]

  def blow(p: np.ndarray) -> np.ndarray:
    rise = np.sin(np.pi * (p[:, 1] - low) / (high - low))
    shift = belly * rise * (p[:, 2] - first)
    return p + shift[:, None] * np.array([[1, 0, 0]])

  flat = extrude(sail, (-0.01, 0.01), "x")
  return flat.refine_to_length(0.07).warp_batch(blow)


def _catamaran(draw: Draw) -> Manifold:
  """Two slim hulls tied by beams and a deck, with a sail or a cabin."""
  apart, beam = draw.between(0.16, 0.26), draw.between(0.07, 0.1)
  hull = _hull(beam, 0.08, sheer=0.03, stern=0.6, fine=1.5).translate((apart, 0, 0))
  parts = [both_sides(hull)]
  for z in spread(-0.3, 0.45, draw.count(2, 3)):
    parts.append(rod((-apart, -0.005, z), (apart, -0.005, z), 0.016, sides=10))
  deck = (draw.between(-0.15, -0.05), draw.between(0.15, 0.35))
  parts.append(box((-apart, apart), (-0.02, 0.005), deck))
  parts.append(rod((-apart, -0.005, -0.1), (apart, -0.005, -0.1), 0.016, sides=10))
  if draw.chance(0.5):
    parts.append(_rig(draw, -0.1, draw.between(0.7, 1), 0.42, False))
  else:
    w, tall = 0.75 * apart, draw.between(0.08, 0.14)
    house = box((-w, w), (-0.01, tall), (deck[0] + 0.01, deck[1] - 0.03), rounding=0.03)
    roof = box((-apart, apart), (tall - 0.02, tall + 0.01), (deck[0] - 0.02, deck[1]))
    parts += [house, roof]
  return union(parts)


def _freighter(draw: Draw) -> Manifold:
  """A long hull with a bridge aft and containers, hatches or cranes before it."""
  beam, depth = draw.between(0.14, 0.2), draw.between(0.07, 0.11)
  sheer = draw.between(0, 0.02)
  hull = _hull(beam, depth, sheer=sheer, stern=0.85, fine=3, rake=0.06, power=5)
  w, aft = 0.42 * beam, draw.between(0.25, 0.34)
  tall, long = draw.between(0.1, 0.17), draw.between(0.07, 0.1)
  wings = (tall - 0.035, tall - 0.005)
  funnel = (0, tall + draw.between(0.03, 0.08), aft + long - 0.015)
  parts = [
    hull,
    box((-w, w), (-0.02, tall), (aft, aft + long)),
    box((-beam / 2, beam / 2), wings, (aft - 0.015, aft + 0.04)),
    rod((0, 0, aft + long - 0.02), funnel, 0.022, sides=14),
    rod((0, 0, -0.42), (0, 0.09, -0.42), 0.011, sides=8),
  ]
  style = draw.one_of("containers", "hatches", "cranes")
  bays = draw.count(3, 7)
  for z in spread(-0.36, aft - 0.03, bays):
    half = draw.between(0.36, 0.43) * (aft + 0.33) / bays
    if style == "containers":
      high = 0.035 * draw.count(1, 4)
      parts.append(box((-w, w), (-0.02, high), (z - half, z + half)))
    else:
      parts.append(box((-0.6 * w, 0.6 * w), (-0.02, 0.02), (z - half, z + half)))
  if style == "cranes":
    for z in spread(-0.38, aft, draw.count(2, 4)):
      parts.append(rod((0, -0.02, z), (0, 0.17, z), 0.012, sides=8))
      parts.append(rod((0, 0.06, z), (0, 0.16, z - 0.12), 0.011, sides=8))
  return union(parts)


def _yacht(draw: Draw) -> Manifold:
  """A sharp hull with stepped decks, each with a band of sunken windows."""
  beam, depth = draw.between(0.22, 0.3), draw.between(0.1, 0.15)
  sheer, rake = draw.between(0.02, 0.06), draw.between(0.1, 0.2)
  parts = [_hull(beam, depth, sheer=sheer, stern=0.85, fine=1.9, rake=rake)]
  y, w = -0.02, draw.between(0.32, 0.38) * beam
  front, rear = draw.between(-0.24, -0.1), draw.between(0.25, 0.42)
  for _ in range(draw.count(1, 3)):
    tall, lean = draw.between(0.07, 0.095), draw.between(0.04, 0.12)
    top, head = y + tall, front + lean
    side = polygon([(front, y), (rear, y), (rear - 0.02, top), (head, top)])
    band = rectangle((head + 0.02, rear - 0.05), (y + 0.4 * tall, y + 0.75 * tall))
    panes = extrude(band, (-1, 1), "x") - extrude(band, (0.014 - w, w - 0.014), "x")
    parts.append(extrude(side, (-w, w), "x") - panes)
    roof = (head - 0.01, rear + draw.between(0, 0.06))
    parts.append(box((-1.1 * w, 1.1 * w), (top - 0.012, top + 0.012), roof))
    y, w = top, 0.85 * w
    front, rear = head + 0.05, max(rear - draw.between(0.06, 0.14), head + 0.2)
  z = rear - 0.06
  if draw.chance(0.5):
    arch = [(-0.7 * w, y - 0.02, z), (-0.6 * w, y + 0.08, z + 0.04)]
    arch += [(-px, py, pz) for px, py, pz in arch[::-1]]
    parts.append(tube(rounded_path(arch, 0.03), 0.012, sides=8))
  else:
    parts.append(rod((0, y, z), (0, y + 0.15, z + 0.03), 0.012, sides=8))
  return union(parts)


def _tug(draw: Draw) -> Manifold:
  """A short, deep hull with wheelhouse, funnel, mast and fenders."""
  beam, depth = draw.between(0.28, 0.38), draw.between(0.14, 0.2)
  sheer, stern = draw.between(0.05, 0.12), draw.between(0.65, 0.9)
  parts = [_hull(beam, depth, sheer=sheer, stern=stern, fine=draw.between(1.8, 2.6))]
  w, tall = draw.between(0.26, 0.32) * beam, draw.between(0.15, 0.23)
  front, rear = draw.between(-0.24, -0.12), draw.between(0.06, 0.24)
  parts.append(box((-w, w), (-0.03, 0.5 * tall), (front - 0.03, rear)))
  v = 0.85 * w
  house = box((-v, v), (0, tall), (front, front + 0.18))
  panes = rectangle((0.02 - v, v - 0.02), (0.6 * tall, 0.88 * tall))
  side = rectangle((front + 0.02, front + 0.16), (0.6 * tall, 0.88 * tall))
  openings = extrude(panes, (-1, 1), "z") + extrude(side, (-1, 1), "x")
  if draw.chance(0.5):  # glazed, else one looks through
    core = (front + 0.015, front + 0.165)
    openings -= box((0.015 - v, v - 0.015), (0, tall), core)
  parts.append(house - openings)
  parts.append(box((-w, w), (tall - 0.012, tall + 0.014), (front - 0.03, front + 0.2)))
  top = tall + draw.between(0.02, 0.12)
  parts.append(rod((0, 0, rear - 0.06), (0, top, rear - 0.04), 0.04, 0.034))
  z, mast = front + 0.1, tall + draw.between(0.12, 0.3)
  parts.append(rod((0, tall, z), (0, mast, z), 0.013))
  if draw.chance(0.5):
    parts.append(rod((-0.06, mast - 0.05, z), (0.06, mast - 0.05, z), 0.011, sides=8))
  if draw.chance(0.5):
    for z in spread(-0.05, 0.35, 4):
      parts.append(both_sides(rod((0, -0.05, z), (0.52 * beam, -0.05, z), 0.03)))
  return union(parts)


def _rowboat(draw: Draw) -> Manifold:
  """An open boat: a hollow hull with thwarts, perhaps oars or an outboard engine."""
  beam, depth = draw.between(0.26, 0.42), draw.between(0.12, 0.18)
  sheer, stern = draw.between(0.02, 0.08), draw.between(0.25, 0.85)
  shape = {"sheer": sheer, "stern": stern, "rake": draw.between(0.05, 0.15)}
  outer = _hull(beam, depth, **shape)
  inner = _hull(beam, depth, **shape, inset=0.86).scale((1, 1, 0.93))
  # The inside reaches above the deck, also where the sheer lifts it.
  parts = [outer - union([inner.translate((0, lift, 0)) for lift in (0.01, 0.04)])]
  for z in spread(-0.3, 0.42, draw.count(2, 4)):
    plank = box((-beam, beam), (-0.045, -0.015), (z - 0.03, z + 0.03))
    parts.append(plank ^ outer)
  extra = draw.one_of("oars", "engine", "none")
  if extra == "oars":
    reach = 0.52 * beam + draw.between(0.2, 0.32)
    oar = rod((0.1, 0.0, -0.05), (reach, -0.02, 0.2), 0.012, sides=8)
    blade = box((-0.03, 0.07), (-0.011, 0.011), (-0.025, 0.025)).rotate((0, -38, 0))
    parts.append(both_sides(oar + blade.translate((reach - 0.01, -0.02, 0.2))))
  if extra == "engine":
    parts.append(box((-0.035, 0.035), (0.0, 0.1), (0.46, 0.55), rounding=0.015))
    parts.append(box((-0.014, 0.014), (-depth - 0.03, 0.05), (0.505, 0.535)))
    parts.append(box((-0.02, 0.02), (-0.04, 0.03), (0.47, 0.53)))
  return union(parts)


def _submarine(draw: Draw) -> Manifold:
  """A cigar with a sail, planes, a cross of fins and a propeller."""
  girth, blunt = draw.between(0.11, 0.17), draw.between(0.12, 0.2)
  taper = draw.between(0.25, 0.45)
  rings = []
  for t in np.concatenate([blunt * np.linspace(0, 1, 8) ** 2, np.linspace(0.3, 1, 10)]):
    nose = np.sqrt(max(1 - (1 - min(t / blunt, 1)) ** 2, 0.01))
    tail = 1 - 0.8 * max((t - 1 + taper) / taper, 0) ** 1.7
    rings.append(oval((0, 0, t - 0.5), girth * nose * tail, girth * nose * tail))
  at, tall = draw.between(-0.22, -0.05), draw.between(0.08, 0.14)
  foot, long = 0.4 * girth, draw.between(0.12, 0.2)
  tower = [(at, foot), (at + long, foot), (at + 0.9 * long, foot + tall)]
  side = polygon([*tower, (at + 0.05, foot + tall)])
  parts = [skin(rings), extrude(side, (-0.02, 0.02), "x")]
  reach = draw.between(0.45, 0.6) * girth + 0.02
  fin = box((0, reach), (-0.011, 0.011), (0.34, 0.42))
  parts += [fin.rotate((0, 0, angle)) for angle in (0, 90, 180, 270)]
  y = foot + 0.6 * tall
  parts.append(box((-0.09, 0.09), (y - 0.011, y + 0.011), (at + 0.05, at + 0.1)))
  for z in spread(at + 0.05, at + 0.9 * long, draw.count(1, 3)):
    top = foot + tall + draw.between(0.03, 0.1)
    parts.append(rod((0, foot, z), (0, top, z), 0.011, sides=8))
  parts.append(rod((0, 0, 0.45), (0, 0, 0.53), 0.016))
  blade = box((-0.012, 0.012), (0, 0.42 * girth), (-0.012, 0.012)).rotate((0, 35, 0))
  blade, count = blade.translate((0, 0, 0.51)), draw.count(3, 5)
  parts += [blade.rotate((0, 0, 360 * i / count)) for i in range(count)]
  return union(parts)
