"""The vocabulary of the procedural shapes: solids, curves and dice (host, numpy).

Frame: x to the right, y up, objects face -z; lengths in the unit of the object, whose
extent is about 1. A span is (low, high) along one axis. Everything is a manifold3d
solid, so parts join by `+`, are cut by `-` and intersected by `^`. Parts that are to
join must overlap: a contact along an edge or in a point is not a manifold.

Letters: n points of a path, k points of a ring.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from manifold3d import CrossSection, Manifold, Mesh64, OpType
from scipy.interpolate import PchipInterpolator

Real = float | int
Span = tuple[Real, Real]
Coords = tuple[Real, Real, Real]
Point = Sequence[Real] | Float[np.ndarray, "3"]
Profile = Sequence[tuple[Real, Real]]
Ring = Float[np.ndarray, "k 3"]

# Rows give x, y, z from the axes (u, v) of a section and w of its extrusion.
_ALONG = {
  "x": np.array([[0, 0, 1, 0], [0, 1, 0, 0], [1, 0, 0, 0]], float),
  "y": np.array([[1, 0, 0, 0], [0, 0, 1, 0], [0, 1, 0, 0]], float),
  "z": np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]], float),
}


class Draw:
  """Random choices that read as sentences."""

  def __init__(self, rng: np.random.Generator):
    self._rng = rng

  def between(self, low: Real, high: Real) -> float:
    return float(self._rng.uniform(low, high))

  def count(self, low: int, high: int) -> int:
    """An integer from low to high, both included."""
    return int(self._rng.integers(low, high + 1))

  def chance(self, probability: Real) -> bool:
    return bool(self._rng.random() < probability)

  def one_of(self, *options):
    """One of the options, all equally likely."""
    return options[int(self._rng.integers(len(options)))]


def union(parts: Sequence[Manifold]) -> Manifold:
  """The union of any number of parts; of none, the empty solid."""
  return Manifold.batch_boolean(list(parts), OpType.Add)


def both_sides(part: Manifold) -> Manifold:
  """The part and its mirror image in the plane x = 0."""
  return part + part.mirror((1, 0, 0))


def four_corners(part: Manifold) -> Manifold:
  """The part and its mirror images in x = 0 and z = 0."""
  half = both_sides(part)
  return half + half.mirror((0, 0, 1))


def around(part: Manifold, count: int) -> Manifold:
  """`count` copies, turned evenly about the y axis."""
  return union([part.rotate((0, 360 * i / count, 0)) for i in range(count)])


def spread(low: Real, high: Real, count: int) -> list[float]:
  """The middles of `count` equal cells of the span."""
  return [float(low + (high - low) * (i + 0.5) / count) for i in range(count)]


# Solids -----------------------------------------------------------------------------


def box(x: Span, y: Span, z: Span, *, rounding: Real = 0) -> Manifold:
  """A box from its three spans; `rounding` is the radius of edges and corners."""
  low, high = np.array([x, y, z], float).T
  if not rounding:
    return Manifold.cube(tuple(high - low)).translate(tuple(low))
  radius = min(rounding, 0.499 * (high - low).min())
  ball = Manifold.sphere(radius, 12)
  inner = np.stack([low + radius, high - radius])
  corners = [[inner[i, 0], inner[j, 1], inner[k, 2]] for i, j, k in np.ndindex(2, 2, 2)]
  return Manifold.batch_hull([ball.translate(tuple(c)) for c in corners])


def extrude(section: CrossSection, span: Span, along: str = "y") -> Manifold:
  """A section swept straight; its axes become (x, z), (x, y) or (z, y)."""
  solid = section.extrude(span[1] - span[0]).translate((0, 0, span[0]))
  return solid.transform(_ALONG[along])


def rod(
  start: Point,
  end: Point,
  radius: Real,
  end_radius: Real | None = None,
  sides: int = 16,
) -> Manifold:
  """A round bar between two points, tapered if `end_radius` is given."""
  end_radius = radius if end_radius is None else end_radius
  return tube([start, end], np.array([radius, end_radius], float), sides=sides)


def bar(start: Point, end: Point, width: Real) -> Manifold:
  """A square bar between two points."""
  return tube([start, end], width / np.sqrt(2), sides=4)


def tube(
  path: Sequence[Point] | Float[np.ndarray, "n 3"],
  radius: Real | Float[np.ndarray, "n"],
  *,
  sides: int = 12,
  loop: bool = False,
) -> Manifold:
  """A round tube along a path; with `loop`, the last point joins the first.

  The rings are carried along the path without twist (double reflection would be
  smoother; paths here are nearly planar, where projection is exact).
  """
  path = np.asarray(path, float)
  if loop:
    tangents = np.roll(path, -1, 0) - np.roll(path, 1, 0)
  else:
    steps = _unit(np.diff(path, axis=0))
    tangents = np.concatenate([steps[:1], steps[:-1] + steps[1:], steps[-1:]])
  tangents = _unit(tangents)
  across = np.eye(3)[np.abs(tangents[0]).argmin()]
  angle = 2 * np.pi * (np.arange(sides) + 0.5) / sides
  rings = []
  radii = np.broadcast_to(np.asarray(radius, float), len(path))
  for point, tangent, size in zip(path, tangents, radii, strict=True):
    across = _unit(across - across @ tangent * tangent)
    aside = np.cross(tangent, across)
    circle = np.outer(np.cos(angle), across) + np.outer(np.sin(angle), aside)
    rings.append(point + size * circle)
  return skin(rings, loop=loop)


def skin(rings: Sequence[Ring], *, loop: bool = False) -> Manifold:
  """The solid whose surface joins rings of k points each, in order.

  The first and last ring are closed by fans about their means, so they must be
  star-shaped; with `loop` they are joined instead.
  """
  points = np.asarray(rings, float)
  n, k, _ = points.shape
  corner = np.arange(n * k).reshape(n, k)
  a = corner if loop else corner[:-1]
  d = np.roll(corner, -1, 0) if loop else corner[1:]
  b, c = np.roll(a, -1, 1), np.roll(d, -1, 1)
  faces = [
    np.stack([a, b, c], -1).reshape(-1, 3),
    np.stack([a, c, d], -1).reshape(-1, 3),
  ]
  vertices = points.reshape(-1, 3)
  if not loop:
    ends = np.full(k, n * k)
    faces.append(np.stack([np.roll(corner[0], -1), corner[0], ends], -1))
    faces.append(np.stack([corner[-1], np.roll(corner[-1], -1), ends + 1], -1))
    vertices = np.concatenate([vertices, points[[0, -1]].mean(1)])
  faces = np.concatenate(faces)
  if np.linalg.det(vertices[faces] - vertices.mean(0)).sum() < 0:
    faces = faces[:, ::-1]
  return Manifold(Mesh64(vertices, np.ascontiguousarray(faces, np.uint64)))


def lathe(profile: Profile, *, sides: int = 32) -> Manifold:
  """The solid of revolution about y below the profile of (radius, y) pairs."""
  ys = [y for _, y in profile]
  outline = [(0, ys[0]), *profile, (0, ys[-1])]
  return _section(outline).revolve(sides).transform(_ALONG["y"])


def shell(profile: Profile, wall: Real, *, floor: Real, sides: int = 32) -> Manifold:
  """A vessel open at its top: the lathed profile less its inside above `floor`."""
  ys = np.array([y for _, y in profile], float)
  radii = np.array([r for r, _ in profile], float)
  inside = [(float(np.interp(floor, ys, radii)) - wall, floor)]
  inside += [(r - wall, y) for r, y in profile if y > floor]
  inside += [(inside[-1][0], float(ys[-1]) + wall)]
  return lathe(profile, sides=sides) - lathe(inside, sides=sides)


# Sections and curves ----------------------------------------------------------------


def _section(points) -> CrossSection:
  return CrossSection([np.asarray(points, float)])


def polygon(points: Profile) -> CrossSection:
  """A polygon in either winding."""
  u, v = np.array(points, float).T
  area = u @ np.roll(v, -1) - v @ np.roll(u, -1)
  return _section(points if area > 0 else points[::-1])


def rectangle(u: Span, v: Span, *, rounding: Real = 0) -> CrossSection:
  """A rectangle from its spans, with its corners rounded."""
  radius = min(rounding, 0.499 * min(u[1] - u[0], v[1] - v[0]))
  points = [(u[i], v[j]) for i, j in ((0, 0), (1, 0), (1, 1), (0, 1))]
  return soften(polygon(points), radius) if radius else polygon(points)


def soften(section: CrossSection, radius: Real) -> CrossSection:
  """Rounds the outer corners of a section."""
  return section.offset(-radius).offset(radius, circular_segments=24)


def ellipse(width: Real, depth: Real, *, sides: int = 40) -> CrossSection:
  """An ellipse by its two full axes."""
  return CrossSection.circle(0.5, sides).scale((width, depth))


def oval(
  centre: Point, width: Real, height: Real, *, power: Real = 2, sides: int = 24
) -> Ring:
  """A ring in the plane z = const: a superellipse, rounder corners for power 2."""
  angle = 2 * np.pi * np.arange(sides) / sides
  cos, sin = np.cos(angle), np.sin(angle)
  x = np.sign(cos) * np.abs(cos) ** (2 / power) * width / 2
  y = np.sign(sin) * np.abs(sin) ** (2 / power) * height / 2
  return np.stack([x, y, np.zeros_like(x)], -1) + np.asarray(centre, float)


def smooth(points: Profile, count: int = 24) -> list[tuple[float, float]]:
  """A profile of (radius, y) pairs with rising y, without overshoot (PCHIP)."""
  radii, ys = np.array(points, float).T
  dense = np.linspace(ys[0], ys[-1], count)
  values = PchipInterpolator(ys, radii)(dense)
  return list(zip(values.tolist(), dense.tolist(), strict=True))


def rounded_path(points: Sequence[Point], radius: Real, steps: int = 4) -> np.ndarray:
  """A polyline whose inner corners are replaced by quadratic Bezier arcs."""
  points = np.asarray(points, float)
  path = [points[:1]]
  for before, corner, after in zip(points[:-2], points[1:-1], points[2:], strict=True):
    start = corner + _shortened(before - corner, radius)
    end = corner + _shortened(after - corner, radius)
    t = np.linspace(0, 1, steps + 1)[:, None]
    path.append((1 - t) ** 2 * start + 2 * t * (1 - t) * corner + t**2 * end)
  return np.concatenate([*path, points[-1:]])


def _shortened(step: Float[np.ndarray, "3"], length: Real) -> Float[np.ndarray, "3"]:
  distance = np.linalg.norm(step)
  return step * min(float(length), 0.45 * distance) / distance


def _unit(vectors: np.ndarray) -> np.ndarray:
  return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
