"""Procedural bottles, jars and jugs (host)."""

import numpy as np
from manifold3d import Manifold

from data_prep.sources.families.parts import (
  Draw,
  Profile,
  Real,
  box,
  lathe,
  rod,
  rounded_path,
  shell,
  smooth,
  tube,
)

_WALL = 0.022


def bottle(draw: Draw) -> Manifold:
  """A bottle, jar, jug or flask: open and hollow, or closed by a cap or a pump."""
  if draw.chance(0.25):
    return _squared_bottle(draw)
  wide = draw.chance(0.25)
  r = draw.between(0.18, 0.26) if wide else draw.between(0.11, 0.18)
  shoulder = draw.between(0.55, 0.74) if wide else draw.between(0.42, 0.66)
  neck = max(
    draw.between(0.5, 0.85) * r if wide else draw.between(0.28, 0.5) * r, 0.044
  )
  neck_y = draw.between(0.76, 0.86)
  waist = draw.one_of(1, 1, draw.between(0.75, 0.92))
  body = [(0.93 * r, 0), (r, 0.025), (waist * r, 0.55 * shoulder), (r, shoulder)]
  profile = smooth([*body, (neck, neck_y), (neck, 0.97)], 36)
  lip = draw.between(0.006, 0.016)
  profile += [(neck + lip, 0.972), (neck + lip, 1.0)]
  hollow = draw.chance(0.55)
  solid = shell(profile, _WALL, floor=0.03) if hollow else lathe(profile)
  if draw.chance(0.3):
    solid += _jug_handle(draw, profile, shoulder, neck)
  squash = draw.one_of(1, 1, draw.between(0.55, 0.75))

  def flatten(p: np.ndarray) -> np.ndarray:  # the body only, so that the neck is round
    depth = np.interp(p[:, 1], [shoulder, neck_y], [squash, 1])
    return p * np.stack([np.ones_like(depth), np.ones_like(depth), depth], -1)

  solid = solid.warp_batch(flatten) if squash < 1 else solid
  return solid if hollow else solid + _closure(draw, neck)


def _jug_handle(draw: Draw, profile: Profile, shoulder: Real, neck: Real) -> Manifold:
  """A loop from the neck to below the shoulder, kept out of the inside."""
  low = draw.between(0.55, 0.85) * shoulder
  radius = max(r for r, _ in profile)
  reach = radius + draw.between(0.05, 0.1)
  corners = [(0.5 * neck, 0.9, 0), (reach, 0.9, 0), (reach, low, 0)]
  loop = tube(rounded_path([*corners, (0.6 * radius, low, 0)], 0.08), 0.022, sides=10)
  return loop - lathe([(r - _WALL / 2, y) for r, y in profile if y < 0.97])


def _squared_bottle(draw: Draw) -> Manifold:
  """A body with a square or flat section under a round neck."""
  r, shoulder = draw.between(0.12, 0.2), draw.between(0.58, 0.7)
  neck, soft = max(draw.between(0.3, 0.5) * r, 0.05), draw.between(0.02, 0.045)
  block = box((-r, r), (0, shoulder + 0.06), (-r, r), rounding=soft)
  rise = [(1.3 * r, 0), (1.3 * r, shoulder - 0.05)]
  rise += [(0.7 * neck + 0.3 * r, shoulder + 0.05), (neck, shoulder + 0.12), (neck, 1)]
  core = lathe([(neck, shoulder - 0.1), (neck, 1)])
  body = (block ^ lathe(rise)).scale((1, 1, draw.one_of(1, 0.6)))
  return body + core + _closure(draw, neck)


def _closure(draw: Draw, neck: Real) -> Manifold:
  """A screw cap, a stopper, a pump or a collar."""
  style = draw.one_of("cap", "stopper", "pump", "collar")
  r = neck + draw.between(0.014, 0.03)
  if style == "cap":
    return lathe([(r, 0.92), (r, 1.03), (0.85 * r, 1.045)])
  if style == "stopper":
    knob = [(0.7 * neck, 0.97), (0.7 * neck, 1.02), (r, 1.06), (0.6 * r, 1.1)]
    return lathe(smooth(knob))
  if style == "collar":
    return lathe([(r, 0.94), (r, 0.97), (0.8 * neck, 1.01)])
  collar = lathe([(r, 0.93), (r, 1.01), (0.5 * r, 1.03)])
  stem = rod((0, 1, 0), (0, 1.12, 0), 0.02)
  spout = [(0, 1.12, 0.03), (0, 1.13, -0.12), (0, 1.09, -0.17)]
  return collar + stem + tube(rounded_path(spout, 0.03), 0.024, sides=10)
