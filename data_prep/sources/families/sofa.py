"""Procedural sofas and armchairs (host)."""

from manifold3d import Manifold

from data_prep.sources.families.parts import (
  Draw,
  Real,
  Span,
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


def sofa(draw: Draw) -> Manifold:
  """An upholstered seat for one to four; some have a chaise on one side."""
  seats = draw.count(1, 4)
  arm = draw.between(0.06, 0.12)
  half = seats * draw.between(0.24, 0.3) / 2
  depth = draw.between(0.36, 0.46)
  foot = draw.between(0.03, 0.1)
  deck = foot + draw.between(0.1, 0.14)
  seat = deck + draw.between(0.07, 0.1)
  top = seat + draw.between(0.18, 0.3)
  back, soft = draw.between(0.09, 0.13), draw.between(0.02, 0.035)
  front, rear = -depth / 2, depth / 2
  outer = (-half - 0.03, half + 0.03)
  frame_top = top - draw.between(0.02, 0.07)
  parts = [
    box(outer, (foot, deck), (front + 0.015, rear), rounding=0.012),
    box(outer, (foot + 0.01, frame_top), (rear - 0.6 * back, rear), rounding=0.02),
    _arms(draw, (half, half + arm), (foot, deck, seat, top), (front, rear)),
    _feet(draw, half, foot, (front, rear)),
  ]
  cushions = draw.one_of(seats, seats, 1)
  for x in _cells(half, cushions):
    span = (front, rear - 0.5 * back)
    parts.append(box(x, (deck - 0.02, seat), span, rounding=soft))
  for x in _cells(half, draw.one_of(seats, seats, cushions)):
    thick = (-back / 2, back / 2)
    rest = box(x, (0, top - seat + 0.03), thick, rounding=1.2 * soft)
    parts.append(rest.rotate((8, 0, 0)).translate((0, seat - 0.03, rear - 1.1 * back)))
  if seats > 1 and draw.chance(0.35):
    reach = front - draw.between(0.18, 0.3)
    x = _cells(half, seats)[-1]
    parts.append(box(x, (deck - 0.02, seat), (reach, front + 0.1), rounding=soft))
    parts.append(box(x, (foot, deck), (reach + 0.015, front + 0.05), rounding=0.012))
    for place in (x[0] + 0.04, x[1] - 0.04):
      leg = rod((place, 0, reach + 0.06), (place, foot + 0.02, reach + 0.06), 0.02)
      parts.append(leg)
  solid = union(parts)
  return solid.mirror((1, 0, 0)) if draw.chance(0.5) else solid


def _cells(half: Real, count: int) -> list[Span]:
  """The spans of cushions side by side, with seams between them."""
  pitch = 2 * half / count
  return [
    (x - pitch / 2 + 0.004, x + pitch / 2 - 0.004) for x in spread(-half, half, count)
  ]


def _arms(
  draw: Draw, x: Span, heights: tuple[float, float, float, float], z: Span
) -> Manifold:
  """A pair of boxy, rolled, flared or open arms, or low bolsters.

  Args:
    x: span from the seat outwards.
    heights: heights of foot, deck, seat and top.
    z: span from front to rear.
  """
  foot, deck, seat, top = heights
  height = seat + draw.between(0.35, 0.7) * (top - seat)
  style = draw.one_of("box", "roll", "flare", "frame", "bolster")
  inside, outside = x
  if style == "box":
    soft = draw.between(0.01, 0.04)
    return both_sides(box((inside, outside), (foot, height), z, rounding=soft))
  if style == "roll":
    r = draw.between(0.5, 0.62) * (outside - inside)
    core = box((inside, outside - 0.02), (foot, height - r), z)
    y, middle = height - r, (inside + outside) / 2
    roll = rod((middle, y, z[0] - 0.01), (middle, y, z[1]), r, sides=24)
    return both_sides(core + roll)
  if style == "flare":
    side = [(inside, foot), (outside - 0.02, foot), (outside + 0.05, height)]
    section = soften(polygon([*side, (inside, height)]), 0.02)
    return both_sides(extrude(section, z, "z"))
  if style == "bolster":
    r = draw.between(0.04, 0.055)
    y = seat + 0.7 * r
    bolster = rod((inside - r, y, z[0] + 0.03), (inside - r, y, z[1] - 0.03), r)
    return both_sides(bolster)
  rim = 0.04
  loop = rectangle(z, (foot, height), rounding=0.02)
  loop -= rectangle((z[0] + rim, z[1] - 0.09), (deck + 0.02, height - rim))
  return both_sides(extrude(loop, (inside - 0.005, inside + 0.04), "x"))


def _feet(draw: Draw, half: Real, foot: Real, z: Span) -> Manifold:
  """Round, square or sled feet, or a plinth."""
  style = draw.one_of("round", "square", "plinth", "sled")
  a, b = half - 0.005, z[1] - 0.05
  upper = foot + 0.03
  if style == "plinth":
    return box((-a, a), (0, upper), (-b, b))
  if style == "sled":
    return both_sides(box((a - 0.03, a), (0, upper), (-b, b)))
  if style == "square":
    return four_corners(box((a - 0.02, a + 0.02), (0, upper), (b - 0.02, b + 0.02)))
  return four_corners(rod((a + 0.01, 0, b + 0.01), (a, upper, b), 0.015, 0.024))
