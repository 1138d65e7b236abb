"""Procedural cars, vans, trucks and buses (host)."""

from typing import NamedTuple

from manifold3d import CrossSection, Manifold

from data_prep.sources.families.parts import (
  Draw,
  Real,
  Span,
  both_sides,
  box,
  extrude,
  oval,
  polygon,
  rectangle,
  rod,
  skin,
  soften,
  spread,
  union,
)


class _Kind(NamedTuple):
  """The cabin: z of windscreen foot and head, of rear head and foot; rise; windows."""

  ends: tuple[float, float, float, float]
  rise: Span
  windows: int
  raised: Real = 0.0


_KINDS = {
  "sedan": _Kind((-0.2, -0.07, 0.2, 0.35), (0.12, 0.15), 2),
  "coupe": _Kind((-0.16, 0.0, 0.12, 0.4), (0.1, 0.125), 1),
  "hatchback": _Kind((-0.2, -0.08, 0.36, 0.47), (0.13, 0.16), 2),
  "estate": _Kind((-0.22, -0.09, 0.4, 0.47), (0.13, 0.16), 3),
  "jeep": _Kind((-0.17, -0.13, 0.46, 0.47), (0.16, 0.2), 2, 0.025),
  "van": _Kind((-0.4, -0.3, 0.46, 0.485), (0.18, 0.27), 3, 0.03),
  "bus": _Kind((-0.485, -0.47, 0.475, 0.485), (0.15, 0.21), 6, 0.02),
  "pickup": _Kind((-0.2, -0.09, 0.09, 0.13), (0.13, 0.17), 1, 0.015),
  "truck": _Kind((-0.45, -0.4, -0.17, -0.16), (0.18, 0.22), 1, 0.03),
  "open": _Kind((-0.2, -0.1, 0.2, 0.3), (0.1, 0.12), 0),
}


def car(draw: Draw) -> Manifold:
  """A car of ten kinds on two or three axles; the bonnet points to -z."""
  name = draw.one_of(*_KINDS)
  kind = _KINDS[name]
  width, floor = draw.between(0.37, 0.44), draw.between(0.05, 0.075) + kind.raised
  r = draw.between(0.066, 0.082) + 0.3 * kind.raised
  waist = max(draw.between(0.19, 0.22), 2.18 * r + 0.03) + kind.raised
  axles = [draw.between(-0.34, -0.29), draw.between(0.28, 0.33)]
  if name == "truck" and draw.chance(0.5):
    axles.append(axles[1] - 0.21)
  body = _body(draw, width, waist, floor, 2.18 * r + 0.02)
  well = both_sides(rod((0.27 * width, r, 0), (width, r, 0), 1.18 * r, sides=24))
  arch = both_sides(rod((0.2 * width, r, 0), (width, r, 0), 1.18 * r + 0.02))
  w = width / 2
  cavity = {
    "pickup": box((0.03 - w, w - 0.03), (floor + 0.06, 1), (0.15, 0.47)),
    "open": box((0.05 - w, w - 0.05), (floor + 0.04, 1), (-0.13, 0.25), rounding=0.02),
  }.get(name, Manifold())
  body -= cavity - union([arch.translate((0, 0, z)) for z in axles])
  body -= union([well.translate((0, 0, z)) for z in axles])
  wheels = _wheels(draw, r, width)
  parts = [body, *(wheels.translate((0, r, z)) for z in axles)]
  if name == "open":
    parts.append(_seats_and_screen(width, waist))
  else:
    parts.append(_cabin(draw, kind, width, waist))
    parts.append(_extras(draw, name, width, waist))
  if name == "truck":
    parts.append(_cargo(draw, width, waist))
  return union(parts)


def _body(draw: Draw, width: Real, waist: Real, floor: Real, low: Real) -> Manifold:
  """Side view, plan and front view, each extruded; the body is what they share.

  The bonnet stays above `low`, so that the wheel wells do not break through it.
  """
  a, w = 0.5, width / 2
  bonnet = max(waist - draw.between(0, 0.04), low)
  nose, boot = draw.between(0.7, 0.95) * bonnet, waist - draw.between(0, 0.02)
  side = [(-a, floor + 0.01), (-a, nose), (-0.92 * a, bonnet), (-0.4 * a, waist)]
  side += [(0.4 * a, waist), (0.95 * a, boot), (a, 0.75 * waist)]
  side += [(0.98 * a, floor + 0.01), (0.9 * a, floor), (-0.9 * a, floor)]
  plan = rectangle((-w, w), (-a, a), rounding=draw.between(0.04, 0.13))
  tuck = draw.between(0.01, 0.035)
  view = [(tuck - w, 0), (-w, 0.55 * waist), (tuck - w, waist + 0.02)]
  view += [(-u, v) for u, v in view[::-1]]
  body = extrude(soften(polygon(side), 0.02), (-1, 1), "x") ^ extrude(plan, (-1, 1))
  body ^= extrude(polygon(view), (-1, 1), "z")
  # Lamps, grille and bumpers are bands of the body itself, moved or swollen a little.
  forward = body.translate((0, 0, -0.01))
  inner, y = draw.between(0.5, 0.65) * w, draw.between(0.6, 0.68) * nose
  lamps = both_sides(box((inner, w), (y, 0.92 * nose), (-1, -0.4)))
  if draw.chance(0.5):
    lamps += box((0.03 - inner, inner - 0.03), (y, 0.88 * nose), (-1, -0.4))
  band = box((-1, 1), (floor + 0.018, floor + 0.055), (-1, -0.42))
  band += band.mirror((0, 0, 1))
  swollen = body.scale((1.03, 1, draw.one_of(1.015, 1.03)))
  return body + (forward ^ lamps) + (swollen ^ band)


def _wheels(draw: Draw, r: Real, width: Real) -> Manifold:
  """Two wheels with sunken discs on one axle, about the origin."""
  outer, wide = width / 2 - 0.004, draw.between(0.05, 0.065)
  tyre = rod((outer - wide, 0, 0), (outer, 0, 0), r, sides=24)
  rim = rod((outer - 0.018, 0, 0), (outer + 1, 0, 0), 0.62 * r, sides=20)
  axle = rod((0, 0, 0), (outer - 0.006, 0, 0), 0.26 * r, sides=12)
  return both_sides(tyre - rim + axle)


def _cabin(draw: Draw, kind: _Kind, width: Real, waist: Real) -> Manifold:
  """The part above the waist: a shell with window openings on a smaller core."""
  w, low = width / 2 - 0.01, waist - 0.02
  top = low + 0.02 + draw.between(*kind.rise)
  lean, shift = draw.between(0.02, 0.05), draw.between(-0.015, 0.015)
  foot, head, rear_head, rear_foot = (z + shift for z in kind.ends)
  side = polygon([(foot, low), (head, top), (rear_head, top), (rear_foot, low)])
  view = polygon([(-w, low), (w, low), (w - lean, top), (lean - w, top)])
  shell = extrude(_soft_above(side, waist), (-1, 1), "x")
  shell ^= extrude(_soft_above(view, waist), (-1, 1), "z")
  middle = (0, low, (foot + rear_foot) / 2)
  core = shell.translate(tuple(-m for m in middle))
  core = core.scale((0.93, 0.97, 1 - 0.03 / (rear_foot - foot))).translate(middle)
  sill, lintel = waist + 0.022, top - 0.03
  first, last = max(foot + 0.045, head - 0.02), min(rear_foot - 0.045, rear_head + 0.02)
  panes = []
  for z in spread(first, last, kind.windows):
    half = (last - first) / kind.windows / 2 - 0.012
    pane = rectangle((z - half, z + half), (sill, lintel), rounding=0.015)
    panes.append(extrude(pane, (-1, 1), "x"))
  half = w - lean - 0.04
  screen = rectangle((-half, half), (sill, lintel), rounding=0.015)
  return (shell - union(panes) - extrude(screen, (-1, 1), "z")) + core


def _soft_above(section: CrossSection, waist: Real) -> CrossSection:
  """Rounds the corners of a section, but not where it stands on the body."""
  return soften(section, 0.025) + (section ^ rectangle((-1, 1), (0, waist + 0.02)))


def _extras(draw: Draw, name: str, width: Real, waist: Real) -> Manifold:
  """Mirrors, and of spoiler and spare wheel what suits the kind."""
  w = width / 2
  parts = [Manifold()]
  if draw.chance(0.6):
    z = _KINDS[name].ends[0] + 0.08
    arm = box((w - 0.06, w + 0.025), (waist + 0.012, waist + 0.035), (z, z + 0.025))
    parts.append(both_sides(arm))
  if name in ("coupe", "sedan") and draw.chance(0.4):
    high = waist + draw.between(0.03, 0.06)
    post = box((0.55 * w, 0.55 * w + 0.025), (waist - 0.05, high), (0.44, 0.47))
    parts.append(both_sides(post))
    parts.append(box((0.03 - w, w - 0.03), (high - 0.005, high + 0.02), (0.42, 0.49)))
  if name == "jeep" and draw.chance(0.6):
    spare = rod((0, waist, 0.45), (0, waist, 0.53), 0.075, sides=24)
    parts.append(spare - rod((0, waist, 0.515), (0, waist, 1), 0.045, sides=24))
  return union(parts)


def _seats_and_screen(width: Real, waist: Real) -> Manifold:
  """The top of an open car: a windscreen frame and two seats."""
  w = width / 2 - 0.012
  frame = rectangle((-w, w), (0, 0.12))
  frame -= rectangle((0.025 - w, w - 0.025), (-1, 0.095))
  screen = extrude(frame, (0, 0.022), "z").rotate((25, 0, 0))
  seat = box((0.02, w - 0.06), (0.08, 0.15), (0, 0.14), rounding=0.02)
  seat += box((0.02, w - 0.06), (0.08, waist + 0.07), (0.13, 0.19), rounding=0.02)
  return screen.translate((0, waist - 0.02, -0.14)) + both_sides(seat)


def _cargo(draw: Draw, width: Real, waist: Real) -> Manifold:
  """The load of a truck: a container, a tank or an open bed with stakes."""
  w, low, rear = width / 2, waist - 0.02, 0.5
  style = draw.one_of("container", "tank", "stakes")
  if style == "container":
    return box((-w, w), (low, low + draw.between(0.22, 0.32)), (-0.12, rear))
  if style == "tank":
    r = draw.between(0.14, 0.17)
    ends = ((-0.12, 0.85), (-0.09, 1), (0.46, 1), (0.5, 0.85))
    tank = skin(
      [oval((0, low + r - 0.02, z), 2.2 * r * s, 2 * r * s, power=2.4) for z, s in ends]
    )
    top = low + 2 * r
    return tank + rod((0, top - 0.05, 0.18), (0, top + 0.01, 0.18), 0.05)
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
