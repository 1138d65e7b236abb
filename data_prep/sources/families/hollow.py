"""Procedural hollow things with thin walls (host).

Scanned objects are often shells: cups, bowls, pots, boxes, pipes. What is inside such a
wall and what is inside the vessel is what clouds without normals leave open.
"""

from manifold3d import Manifold

from data_prep.sources.families.parts import (
  Draw,
  box,
  lathe,
  rod,
  rounded_path,
  shell,
  smooth,
  tube,
  union,
)


def hollow(draw: Draw) -> Manifold:
  """A bowl, cup, vase, goblet, open box, tray, pipe, dome or basket of thin walls."""
  kind = draw.one_of(_vessel, _vessel, _goblet, _open_box, _pipe, _dome)
  return kind(draw)


def _wall(draw: Draw) -> float:
  """A thickness relative to an extent of about 1; the cubes of scans are as large."""
  return draw.one_of(draw.between(0.012, 0.025), draw.between(0.02, 0.05))


def _vessel(draw: Draw) -> Manifold:
  """From flat plates to tall vases, at times with one or two handles."""
  wall, height = _wall(draw), draw.between(0.12, 1.0)
  rim = draw.between(0.25, 0.5)
  belly, foot = draw.between(0.7, 1.25) * rim, draw.between(0.35, 1.0) * rim
  corners = [(foot, 0), (belly, draw.between(0.3, 0.7) * height), (rim, height)]
  straight = draw.chance(0.3)
  profile = [corners[0], corners[-1]] if straight else smooth(corners, 14)
  sides = draw.one_of(48, 48, 48, 4, 6, 8)
  body = shell(profile, wall, floor=draw.between(1, 2) * wall, sides=sides)
  if height < 0.35 or sides < 8 or draw.chance(0.5):
    return body
  thick = draw.between(0.02, 0.04)
  low, high = draw.between(0.15, 0.4) * height, draw.between(0.6, 0.9) * height
  reach = max(belly, rim) + draw.between(0.08, 0.2)
  start = 0.7 * min(foot, belly, rim)
  corners = [(start, low, 0), (reach, low, 0), (reach, high, 0), (start, high, 0)]
  handle = tube(rounded_path(corners, 0.3 * (high - low), 6), thick, sides=12)
  handle += handle.rotate((0, 180, 0)) if draw.chance(0.3) else Manifold()
  inside = [(r - 0.5 * wall, y) for r, y in profile]
  return body + (handle - lathe(inside, sides=sides))


def _goblet(draw: Draw) -> Manifold:
  """A bowl on a stem with a foot."""
  wall, rim = _wall(draw), draw.between(0.2, 0.35)
  stem, height = draw.between(0.2, 0.5), 1.0
  bowl = [(0.3 * rim, stem), (draw.between(0.9, 1.3) * rim, 0.5 * (stem + height))]
  profile = [(r, y - stem) for r, y in smooth([*bowl, (rim, height)], 12)]
  cup = shell(profile, wall, floor=1.5 * wall).translate((0, stem, 0))
  foot = lathe(
    [(draw.between(0.6, 1.1) * rim, 0), (0.3 * rim, draw.between(0.03, 0.06))]
  )
  thick = draw.between(0.02, 0.05)
  return union([cup, foot, rod((0, 0.02, 0), (0, stem + wall, 0), thick)])


def _open_box(draw: Draw) -> Manifold:
  """A box, tray or drawer without its lid, at times with partitions."""
  wall = _wall(draw)
  x, z = draw.between(0.2, 0.5), draw.between(0.2, 0.5)
  height = draw.between(0.1, 0.9)
  body = box((-x, x), (0, height), (-z, z))
  body -= box((wall - x, x - wall), (wall, height + 1), (wall - z, z - wall))
  if draw.chance(0.3):
    at = draw.between(-0.5, 0.5) * x
    body += box((at - wall / 2, at + wall / 2), (wall / 2, 0.8 * height), (-z, z)) - (
      box((-x, x), (0, height), (-2, wall / 2 - z))
      + box((-x, x), (0, height), (z - wall / 2, 2))
    )
  return body


def _pipe(draw: Draw) -> Manifold:
  """A pipe open at both ends, straight or bent, round or with corners."""
  wall, radius = _wall(draw), draw.between(0.06, 0.3)
  sides = draw.one_of(32, 32, 4, 6)
  ends = [(0, -0.5, 0), (0, 0.5, 0)]
  if draw.chance(0.5) and radius < 0.15:
    ends.insert(1, (draw.between(0.2, 0.4), 0.0, 0))
  path = rounded_path(ends, 0.25, 8) if len(ends) > 2 else ends
  longer = [list(path[0]), *path[1:-1], list(path[-1])]
  longer[0] = [a + 0.2 * (a - b) for a, b in zip(path[0], path[1], strict=True)]
  longer[-1] = [a + 0.2 * (a - b) for a, b in zip(path[-1], path[-2], strict=True)]
  return tube(path, radius, sides=sides) - tube(longer, radius - wall, sides=sides)


def _dome(draw: Draw) -> Manifold:
  """A vessel upside down, whose floor may have a hole: a lampshade, a bell, a hat."""
  vessel = _vessel(draw).rotate((180, 0, 0))
  if draw.chance(0.5):
    hole = draw.between(0.05, 0.15)
    vessel -= rod((0, -2, 0), (0, 2, 0), hole, sides=24)
  return vessel
