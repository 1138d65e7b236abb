"""Procedural loudspeakers (host)."""

import numpy as np
from manifold3d import Manifold

from data_prep.sources.families.parts import (
  Draw,
  Real,
  around,
  box,
  ellipse,
  extrude,
  four_corners,
  lathe,
  polygon,
  rod,
  smooth,
  soften,
  spread,
  tube,
)


def loudspeaker(draw: Draw) -> Manifold:
  """A cabinet with sunken cones and ports on some stand, or a round desk speaker."""
  if draw.chance(0.12):
    return _desk_speaker(draw)
  slim = draw.chance(0.35)
  width = draw.between(0.22, 0.3) if slim else draw.between(0.4, 0.62)
  height = draw.between(0.85, 1) if slim else draw.between(0.65, 1)
  depth = draw.between(0.28, 0.42)
  front, w = -depth / 2, width / 2
  style = draw.one_of("square", "round", "wedge", "barrel")
  if style in ("square", "round"):
    soft = draw.between(0.02, 0.05) if style == "round" else 0
    body = box((-w, w), (0, height), (front, -front), rounding=soft)
  else:
    rear = draw.between(0.5, 0.75) * w
    plan = polygon([(-w, front), (w, front), (rear, -front), (-rear, -front)])
    plan = plan if style == "wedge" else soften(plan, 0.05)
    body = extrude(plan, (0, height))
  # From the top down: a tweeter or a port, then the woofers.
  count = draw.count(1, 3) if slim else draw.count(1, 2)
  r = min(draw.between(0.36, 0.42) * width, 0.43 * height / (count + 0.6))
  small = draw.between(0.4, 0.6) * r
  gap = min(draw.between(0.04, 0.08), (height - 2 * (small + count * r)) / (count + 2))
  y = height - gap - small
  if draw.chance(0.3):
    body -= rod((0, y, front - 0.1), (0, y, front + 0.1), small, sides=24)
  else:
    body = _with_driver(draw, body, small, y, front)
  y -= small + gap + r
  for _ in range(count):
    body = _with_driver(draw, body, r, y, front)
    y -= 2 * r + gap
  return body + _stand(draw, width, depth)


def _desk_speaker(draw: Draw) -> Manifold:
  """A round speaker: a turned body with grooves."""
  r, tall = draw.between(0.24, 0.42), draw.between(0.6, 0.95)
  foot, head = draw.between(0.7, 1) * r, draw.between(0.55, 1) * r
  profile = smooth([(foot, 0), (r, 0.5 * tall), (head, 0.96 * tall)], 16)
  body = lathe([*profile, (head - 0.04, tall)], sides=40)
  core = lathe([(q - 0.03, y) for q, y in profile], sides=40)
  for y in spread(0.15 * tall, 0.75 * tall, draw.count(2, 6)):
    body -= lathe([(1, y - 0.014), (1, y + 0.014)], sides=40) - core
  dish = lathe([(0.5 * head, tall - 0.02), (0.6 * head, tall + 0.1)], sides=32)
  return body - dish


def _with_driver(draw: Draw, body: Manifold, r: Real, y: Real, front: Real) -> Manifold:
  """Sinks a cone of radius r into the front, with a dust cap and a raised surround."""
  deep = draw.between(0.35, 0.6) * r
  profile = [(0.3 * r, -deep), (0.88 * r, 0), (0.88 * r, 0.1)]
  cone = lathe(profile, sides=28).rotate((-90, 0, 0)).translate((0, y, front))
  cap = Manifold.sphere(0.3 * r, 20).translate((0, y, front + deep))
  t = 2 * np.pi * np.arange(28) / 28
  circle = np.stack([0.93 * r * np.cos(t), y + 0.93 * r * np.sin(t), 0 * t + front], -1)
  surround = tube(circle, max(0.07 * r, 0.009), sides=8, loop=True)
  return body - cone + cap + surround


def _stand(draw: Draw, width: Real, depth: Real) -> Manifold:
  """Nothing, feet, a plinth, or a pole on a plate or a tripod."""
  style = draw.one_of("none", "feet", "plinth", "pole", "tripod")
  a, b = 0.36 * width, 0.36 * depth
  if style == "none":
    return Manifold()
  if style == "feet":
    foot = 0.2 * width
    return four_corners(rod((foot, -0.05, b), (foot, 0.03, b), 0.016, 0.026))
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
