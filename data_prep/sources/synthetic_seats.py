"""Procedural benches and sofas (host).

Every function maps random choices to one connected solid; the frame and the units are
those of synthetic_parts.
"""

from manifold3d import Manifold

from data_prep.sources.synthetic_parts import (
  Draw,
  both_sides,
  box,
  extrude,
  four_corners,
  polygon,
  rectangle,
  rod,
  soften,
  spread,
  union,
)

# Benches ----------------------------------------------------------------------------


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
    planks = [
      box(x, (seat - 1.5 * thick, seat), (-z, z), rounding=draw.one_of(0, 0.02))
    ]
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
  draw: Draw, z: float, top: float, backed: bool, back: float, lean: float
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


# Sofas ------------------------------------------------------------------------------


def sofa(draw: Draw) -> Manifold:
  """An upholstered sofa of one to three seats; some have a chaise or a corner."""
  seats = draw.count(1, 4)
  arm = draw.between(0.06, 0.12)
  pitch = draw.between(0.24, 0.3)
  width, depth = seats * pitch + 2 * arm, draw.between(0.36, 0.46)
  foot, base = draw.between(0.03, 0.1), draw.between(0.1, 0.14)
  seat = foot + base + draw.between(0.07, 0.1)
  top = seat + draw.between(0.18, 0.3)
  back = draw.between(0.09, 0.13)
  front, rear = -depth / 2, depth / 2
  x = (-width / 2, width / 2)
  soft = draw.between(0.02, 0.035)
  deck = foot + base
  parts = [box(x, (foot, deck), (front + 0.015, rear), rounding=0.012)]
  frame_top = top - draw.between(0.02, 0.07)
  parts.append(
    box(x, (foot + 0.01, frame_top), (rear - 0.6 * back, rear), rounding=0.02)
  )
  inner = (x[0] + arm, x[1] - arm)
  chaise = draw.one_of(0, 0, 1) * draw.between(0.18, 0.3) if seats > 1 else 0
  for i, centre in enumerate(spread(*inner, seats)):
    reach = chaise if i == seats - 1 else 0
    cell = (centre - pitch / 2 + 0.004, centre + pitch / 2 - 0.004)
    parts.append(
      box(cell, (deck - 0.02, seat), (front - reach, rear - 0.5 * back), rounding=soft)
    )
    rest = box(cell, (seat - 0.03, top), (-back / 2, back / 2), rounding=1.2 * soft)
    parts.append(rest.rotate((8, 0, 0)).translate((0, 0, rear - back)))
    if reach:
      parts.append(
        box(cell, (foot, deck), (front - reach + 0.015, front + 0.05), rounding=0.012)
      )
  parts.append(_sofa_arms(draw, x, arm, (foot, deck, seat, top), (front, rear)))
  parts.append(_sofa_feet(draw, x, foot, (front, rear)))
  if chaise:
    leg = rod((0, 0, 0), (0, foot + 0.02, 0), 0.02, sides=12)
    for place in (inner[1] - 0.04, inner[1] - pitch + 0.04):
      parts.append(leg.translate((place, 0, front - chaise + 0.06)))
  return union(parts)


def _sofa_arms(
  draw: Draw,
  x: tuple[float, float],
  arm: float,
  heights: tuple[float, float, float, float],
  z: tuple[float, float],
) -> Manifold:
  """A pair of boxy, rolled, flared or low cushioned arms."""
  foot, deck, seat, top = heights
  height = seat + draw.between(0.35, 0.7) * (top - seat)
  style = draw.one_of("box", "roll", "flare", "frame")
  inside, outside = x[1] - arm, x[1]
  if style == "box":
    soft = draw.between(0.01, 0.04)
    return both_sides(box((inside, outside), (foot, height), z, rounding=soft))
  if style == "roll":
    r = draw.between(0.5, 0.62) * arm
    core = box((inside, outside - 0.02), (foot, height - r), z)
    y, centre = height - r, (inside + outside) / 2
    return both_sides(
      core + rod((centre, y, z[0] - 0.01), (centre, y, z[1]), r, sides=24)
    )
  if style == "flare":
    side = [(inside, foot), (outside - 0.02, foot), (outside + 0.05, height)]
    section = soften(polygon([*side, (inside + 0.04, height)]), 0.02)
    return both_sides(extrude(section, z, "z"))
  rim = 0.04
  loop = rectangle(z, (foot, height), rounding=0.02)
  loop -= rectangle((z[0] + rim, z[1] - 0.09), (deck + 0.02, height - rim))
  return both_sides(extrude(loop, (inside - 0.005, inside + 0.04), "x"))


def _sofa_feet(
  draw: Draw, x: tuple[float, float], foot: float, z: tuple[float, float]
) -> Manifold:
  """Round, square or sled feet, or a plinth."""
  style = draw.one_of("round", "square", "plinth", "sled")
  a, b = x[1] - 0.05, z[1] - 0.05
  upper = foot + 0.03
  if style == "plinth":
    return box((-a, a), (0, upper), (-b, b))
  if style == "sled":
    return both_sides(box((a - 0.03, a), (0, upper), (-b, b)))
  if style == "square":
    return four_corners(box((a - 0.02, a + 0.02), (0, upper), (b - 0.02, b + 0.02)))
  return four_corners(rod((a + 0.01, 0, b + 0.01), (a, upper, b), 0.015, 0.024))
