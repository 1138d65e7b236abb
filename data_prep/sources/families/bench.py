"""Procedural benches (host)."""

from manifold3d import Manifold

from data_prep.sources.families.parts import (
  Draw,
  Real,
  box,
  extrude,
  polygon,
  rectangle,
  spread,
  union,
)


def bench(draw: Draw) -> Manifold:
  """A bench: slats or a plank on two or three supports; some with back and arms."""
  width, depth = draw.between(0.9, 1.2), draw.between(0.28, 0.42)
  seat, thick = draw.between(0.32, 0.42), draw.between(0.026, 0.04)
  x = (-width / 2, width / 2)
  under, z = seat - thick / 2, depth / 2
  if draw.chance(0.7):
    count = draw.count(3, 5)
    pitch = depth / count
    wide = draw.between(0.56, 0.68) * pitch
    planks = [
      box(x, (seat - thick, seat), (c - wide / 2, c + wide / 2))
      for c in spread(-z, z, count)
    ]
  else:
    soft = draw.one_of(0, 0.02)
    planks = [box(x, (seat - 1.5 * thick, seat), (-z, z), rounding=soft)]
  parts = planks
  backed = draw.chance(0.55)
  top, lean = seat + draw.between(0.28, 0.42), draw.between(0.05, 0.13)
  inset = draw.between(0.05, 0.16)
  supports = [width / 2 - inset, inset - width / 2]
  if draw.chance(0.25):
    supports.append(0.0)
  frame = _bench_end(draw, z, under - 0.02, backed, top, lean)
  parts += [frame.translate((s, 0, 0)) for s in supports]
  if backed:
    boards = draw.count(1, 4)
    cells = spread(seat + 0.09, top, boards)
    wide = 0.3 * (top - seat - 0.09) / boards
    for y in cells:
      c = z + lean * (y - seat) / (top - seat)
      parts.append(box(x, (y - wide, y + wide), (c - 0.028, c + 0.004)))
  if draw.chance(0.4):
    y = draw.between(0.25, 0.45) * seat
    parts.append(box((supports[1], supports[0]), (y - 0.018, y + 0.018), (-0.02, 0.02)))
  return union(parts)


def _bench_end(
  draw: Draw, z: Real, top: Real, backed: bool, back: Real, lean: Real
) -> Manifold:
  """One support in the plane x = 0: a side view, extruded; with post and maybe arm."""
  half = draw.between(0.016, 0.026)
  rim = draw.between(0.04, 0.055)
  style = draw.one_of("slab", "legs", "A", "X", "T")
  rail = rectangle((-z, z), (top - 0.03, top + 0.02))
  if style == "slab":
    taper = draw.between(0.7, 1)
    side = rail + polygon([(-taper * z, 0), (taper * z, 0), (z, top), (-z, top)])
  elif style == "legs":
    side = rail + rectangle((-z, rim - z), (0, top)) + rectangle((z - rim, z), (0, top))
    y = draw.between(0.2, 0.45) * top
    side += rectangle((-z, z), (y - 0.018, y + 0.018))
  elif style == "A":
    foot = 1.15 * z
    side = rail
    for s in (-1, 1):
      leg = [(s * foot, 0), (s * (foot - rim), 0), (s * (0.5 * z - rim), top)]
      side += polygon([*leg, (s * 0.5 * z, top)])
  elif style == "X":
    side = rail
    for s in (-1, 1):
      leg = [(s * z, 0), (s * (z - rim), 0), (-s * z, top), (s * (rim - z), top)]
      side += polygon(leg)
  else:
    side = rail + rectangle((-0.05, 0.05), (0, top)) + rectangle((-z, z), (0, 0.04))
  if backed:
    post = [(z - rim, top - 0.03), (z + 0.01, top - 0.03)]
    side += polygon([*post, (z + lean + 0.012, back), (z + lean + 0.012 - rim, back)])
    if draw.chance(0.5):
      y = top + draw.between(0.15, 0.2)
      side += rectangle((-z, z + 0.02), (y - 0.016, y + 0.016))
      side += rectangle((-z, 0.035 - z), (top, y))
  return extrude(side, (-half, half), "x")
