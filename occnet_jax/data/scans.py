"""Clouds as scanners make them, drawn at random for training (host, numpy).

A scan of a shape is turned at random, sampled unevenly, noisy, at times cut off or seen
from a few sides only, and holds some points that belong to nothing. It is placed in the
cube as a user's cloud is, by the box of the points themselves, and the shape follows.

Shape letters: m stored surface points, n points of the scan, k cameras.
"""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from occnet_jax.config import ScanSettings
from occnet_jax.geometry import frames

PIXELS = 40  # side of a camera's picture, in which points hide one another
FOCAL_DISTANCE = 2.5  # of a camera from the middle of the shape, in cube units
HALF_SIDE = 0.55  # of the padded cube
# A point this far behind the nearest one of its pixel is hidden; on a slope, which has
# several depths in a pixel, by as much again as the slope, to the steepest that counts.
HIDDEN = 0.05
STEEPEST = 6.0


class Scan(NamedTuple):
  """A drawn scan, and how its shape goes to the scan's frame.

  Attributes:
    cloud: (n, 3) in the cube's frame.
    normals: (n, 3) outward unit normals of the points before noise; 0 of outliers.
    matrix, offset: a point p of the shape is at matrix @ p + offset.
  """

  cloud: Float[np.ndarray, "n 3"]
  normals: Float[np.ndarray, "n 3"]
  matrix: Float[np.ndarray, "3 3"]
  offset: Float[np.ndarray, "3"]

  def move(self, points: Float[np.ndarray, "N 3"]) -> Float[np.ndarray, "N 3"]:
    """Points of the shape in the scan's frame."""
    return points @ self.matrix.T + self.offset


def check(settings: ScanSettings) -> None:
  """Raises ValueError for settings that are out of range."""
  points, kept, extent = settings.points, settings.kept, settings.extent
  if len(points) != 2 or not 0 < points[0] <= points[1]:
    raise ValueError(
      f"config.data.scan.points is {tuple(points)}; want the fewest and the most "
      "points of a scan, such as (300, 10000), or () for plain clouds"
    )
  if not (0 < kept <= 1 and settings.cut + settings.viewed <= 1 and 0 < extent <= 1):
    raise ValueError(
      f"config.data.scan has kept={kept}, cut={settings.cut}, "
      f"viewed={settings.viewed}, extent={extent}; want kept and extent above 0 and up "
      "to 1, and at most 1 as the sum of cut and viewed"
    )


def as_draws(scan: Scan, rows: int) -> dict[str, np.ndarray]:
  """A scan as draws of an example; rows of NaN pad the cloud, of zeros its normals."""
  missing = ((0, rows - len(scan.cloud)), (0, 0))
  return {
    "scan/cloud": np.pad(scan.cloud, missing, constant_values=np.nan),
    "scan/normals": np.pad(scan.normals, missing),
    "scan/matrix": scan.matrix,
    "scan/offset": scan.offset,
  }


def draw(
  surface: Float[np.ndarray, "m 3"],
  normals: Float[np.ndarray, "m 3"],
  rng: np.random.Generator,
  settings: ScanSettings,
) -> Scan:
  """A random scan of a shape.

  Args:
    surface: points on it, uniform by area.
    normals: its outward normals there.
    rng: generator of everything.
    settings: what the scan has.
  """
  turn = draw_turn(rng, anyhow=rng.random() < settings.turned)
  kept = np.arange(len(surface))
  kind = rng.random()
  if kind < settings.cut:
    kept = cut_off(surface, rng, settings.kept)
  elif kind < settings.cut + settings.viewed:
    count = int(rng.integers(1, 4))
    kept = np.flatnonzero(visible(surface, normals, draw_directions(rng, count)))
    if len(kept) < 100:  # a shape that hides itself
      kept = np.arange(len(surface))
  count = _draw_count(rng, settings.points)
  rows = kept[_draw_unevenly(surface[kept], rng, count, settings.unevenness)]
  sigma = settings.sigma * rng.random() ** 2  # most scans are cleaner than the worst
  points = surface[rows] + sigma * rng.standard_normal((count, 3), np.float32)
  directions = normals[rows].copy()
  if settings.outliers and rng.random() < 0.5:
    stray = rng.random(count) < settings.outliers * rng.random()
    lower, upper = points.min(0), points.max(0)
    reach = 0.05 * (upper - lower).max()
    where = rng.uniform(lower - reach, upper + reach, (int(stray.sum()), 3))
    points[stray], directions[stray] = where, 0.0
  points = points @ turn.T
  loc, scale = frames.robust_frame(points.astype(np.float64))
  scale /= settings.extent
  matrix = (turn / scale).astype(np.float32)
  return Scan(
    ((points - loc) / scale).astype(np.float32),
    (directions @ turn.T).astype(np.float32),
    matrix,
    (-loc / scale).astype(np.float32),
  )


def draw_turn(rng: np.random.Generator, *, anyhow: bool) -> Float[np.ndarray, "3 3"]:
  """A rotation, uniform among all of them or among those about the vertical axis y."""
  if not anyhow:
    angle = rng.uniform(0, 2 * math.pi)
    c, s = math.cos(angle), math.sin(angle)
    return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]], np.float32)
  w, x, y, z = _unit(rng.standard_normal(4))
  return np.array(
    [
      [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
      [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
      [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ],
    np.float32,
  )


def draw_directions(rng: np.random.Generator, count: int) -> Float[np.ndarray, "k 3"]:
  """Directions from the shape to cameras, within a right angle of the first."""
  first = _unit(rng.standard_normal(3))
  directions = [first]
  while len(directions) < count:
    other = _unit(rng.standard_normal(3))
    directions.append(other if other @ first > 0 else -other)
  return np.stack(directions).astype(np.float32)


def cut_off(
  surface: Float[np.ndarray, "m 3"], rng: np.random.Generator, smallest: float
) -> Int[np.ndarray, " _"]:
  """Rows of the points on one side of a random plane.

  Args:
    surface: the points.
    rng: generator of the plane.
    smallest: smallest share of the points that stay; the share is uniform up to 1.
  """
  heights = surface @ _unit(rng.standard_normal(3)).astype(np.float32)
  share = rng.uniform(smallest, 1)
  count = max(1, round(share * len(surface)))
  return np.argpartition(heights, count - 1)[:count]


def visible(
  surface: Float[np.ndarray, "m 3"],
  normals: Float[np.ndarray, "m 3"],
  directions: Float[np.ndarray, "k 3"],
) -> Bool[np.ndarray, " m"]:
  """Whether one of the cameras sees each point.

  A point is hidden if it faces away from the camera, or lies behind another one of its
  pixel that does not.

  Args:
    surface: points, dense enough for several in a pixel of 1/20 cube units.
    normals: outward normals there.
    directions: from the middle of the shape to each camera.
  """
  middle = (surface.min(0) + surface.max(0)) / 2
  seen = np.zeros(len(surface), bool)
  for direction in directions:
    camera = middle + FOCAL_DISTANCE * direction
    rays = camera - surface
    facing = np.flatnonzero((rays * normals).sum(1) > 0)
    right = _unit(np.cross(direction, np.eye(3)[np.abs(direction).argmin()]))
    up = np.cross(direction, right)
    depth = rays[facing] @ direction
    # Pixels of the plane through the middle, which is FOCAL_DISTANCE away.
    flat = -rays[facing] @ np.stack([right, up], 1) * (FOCAL_DISTANCE / depth[:, None])
    pixel = np.clip((flat / 2 + 0.5) * PIXELS, 0, PIXELS - 1).astype(np.int64)
    pixel = pixel[:, 0] * PIXELS + pixel[:, 1]
    nearest = np.full(PIXELS**2, np.inf)
    np.minimum.at(nearest, pixel, depth)
    lengths = np.sqrt((rays[facing] ** 2).sum(1))
    cosines = (rays[facing] * normals[facing]).sum(1) / lengths
    slopes = np.sqrt(1 / cosines.clip(1e-3, 1) ** 2 - 1).clip(0, STEEPEST)
    seen[facing[depth <= nearest[pixel] + HIDDEN * (1 + slopes)]] = True
  return seen


def _draw_count(rng: np.random.Generator, limits: tuple[int, int]) -> int:
  low, high = (math.log(limit) for limit in limits)
  return round(math.exp(rng.uniform(low, high)))


def _draw_unevenly(
  points: Float[np.ndarray, "m 3"],
  rng: np.random.Generator,
  count: int,
  unevenness: float,
) -> Int[np.ndarray, " n"]:
  """Rows of the points, more of them towards one side, with replacement."""
  strength = unevenness * rng.random() if rng.random() < 0.5 else 0.0
  if not strength:
    return rng.integers(len(points), size=count)
  heights = points @ _unit(rng.standard_normal(3)).astype(np.float32)
  heights = (heights - heights.min()) / max(np.ptp(heights), 1e-6)
  total = np.cumsum(np.exp(strength * heights, dtype=np.float64))
  rows = np.searchsorted(total, rng.random(count) * total[-1], side="right")
  return np.minimum(rows, len(points) - 1)


def _unit(vector: Float[np.ndarray, " d"]) -> Float[np.ndarray, " d"]:
  return vector / np.sqrt((vector**2).sum())
