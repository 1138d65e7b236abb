"""Procedural mugs (host)."""

import numpy as np
from manifold3d import Manifold

from data_prep.sources.families.parts import (
  Draw,
  Real,
  Span,
  lathe,
  rounded_path,
  shell,
  smooth,
  tube,
  union,
)


def mug(draw: Draw) -> Manifold:
  """A hollow mug with a handle, so of genus 1 or more; cups, steins and tankards."""
  height, r = draw.between(0.5, 0.85), draw.between(0.26, 0.36)
  wall = draw.between(0.026, 0.04)
  rim, belly = draw.between(0.85, 1.15) * r, draw.between(0.9, 1.15) * r
  foot = draw.between(0.65, 1) * r
  profile = smooth([(foot, 0), (belly, 0.5 * height), (rim, height)], 14)
  if draw.chance(0.3):
    profile = [(foot, 0), (rim, height)]
  sides = draw.one_of(48, 48, 48, 6, 8)
  body = shell(profile, wall, floor=draw.between(1, 1.6) * wall, sides=sides)
  ys = [y for _, y in profile]
  radii = [q for q, _ in profile]
  low, high = draw.between(0.12, 0.3) * height, draw.between(0.7, 0.9) * height
  inner = 0.93 if sides > 8 else 0.86

  def surface(y: Real) -> float:
    return inner * float(np.interp(y, ys, radii))

  handle = _mug_handle(draw, (surface(low), low), (surface(high), high), r)
  inside = lathe([(max(q - 0.6 * wall, 0.01), y) for q, y in profile], sides=sides)
  inside += lathe([(radii[-1] - 0.6 * wall, height - 0.01), (radii[-1], height + 0.3)])
  handles = handle - inside
  if draw.chance(0.12):
    handles += handles.rotate((0, 180, 0))
  parts = [body, handles]
  if draw.chance(0.2):
    dish = smooth([(0.6 * r, -0.03), (1.2 * r, 0.005), (1.75 * r, 0.06)], 10)
    parts.append(shell(dish, 0.035, floor=0.004, sides=48))
  return union(parts)


def _mug_handle(draw: Draw, lower: Span, upper: Span, r: Real) -> Manifold:
  """A round, angular, ear-shaped or ribbon handle in the plane z = 0."""
  (a, low), (b, high) = lower, upper
  reach = max(a, b) + draw.between(0.5, 0.75) * r
  thick = draw.between(0.028, 0.042)
  style = draw.one_of("C", "D", "ear", "ribbon")
  corners = {
    "C": [(a, low), (reach, low), (reach, high), (b, high)],
    "D": [(a, low), (reach, 0.5 * (low + high)), (reach, high), (b, high)],
    "ear": [(a, low), (0.6 * reach + 0.4 * a, low - 0.04), (reach, high), (b, high)],
    "ribbon": [(a, low), (reach, low), (reach, high), (b, high)],
  }[style]
  bend = 0.04 if style == "D" else 0.4 * (high - low)
  path = rounded_path([(x, y, 0.0) for x, y in corners], bend, 6)
  solid = tube(path, thick, sides=12)
  return solid.scale((1, 1, 1.7)) if style == "ribbon" else solid
