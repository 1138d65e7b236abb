"""Labelled points in the padded cube and near the surface (host, numpy).

The solid is in the unit-cube frame. Shape letter: n points.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, UInt8

from data_prep.sampling.inside_test import Contains


def uniform_points(
  contains: Contains,
  rng: np.random.Generator,
  *,
  count: int = 100_000,
  padding: float = 0.1,
  dtype: str = "float16",
) -> tuple[Float[np.ndarray, "n 3"], UInt8[np.ndarray, "bytes"]]:
  """Points uniform in the padded cube and their occupancies.

  Points are rounded to `dtype` before they are labelled, so that labels belong to the
  points as stored. The reference labels first.

  Args:
    contains: inside test of a solid in the unit-cube frame.
    rng: generator of the points.
    count: n.
    padding: excess of the cube's side: it is [-0.5 - padding / 2, 0.5 + padding / 2]^3.
    dtype: type of the points, "float16" as in the reference, or "float32".

  Returns:
    points (n, 3) and occupancies (ceil(n / 8),), eight to a byte, the first in the
    highest bit; `np.unpackbits(occupancies)[:n]` reads them.
  """
  points = (rng.random((count, 3)) - 0.5) * (1 + padding)
  return _label(contains, points, dtype)


def near_points(
  contains: Contains,
  surface: Float[np.ndarray, "m 3"],
  rng: np.random.Generator,
  *,
  count: int,
  sigmas: Sequence[float] = (0.01, 0.03),
  padding: float = 0.1,
  dtype: str = "float16",
) -> tuple[Float[np.ndarray, "n 3"], UInt8[np.ndarray, "bytes"]]:
  """Points near the surface and their occupancies, stored as by `uniform_points`.

  Args:
    contains: inside test of a solid in the unit-cube frame.
    surface: points on its surface, which are chosen at random and moved by Gaussian
      noise.
    rng: generator of the points.
    count: n.
    sigmas: standard deviations of the noise in cube units, each for an equal share of
      the points.
    padding: excess of the side of the cube to which points are clipped.
    dtype: type of the points, "float16" or "float32".
  """
  chosen = surface[rng.integers(len(surface), size=count)].astype(np.float64)
  sigma = np.resize(np.asarray(sigmas, np.float64), count)[:, None]
  points = chosen + sigma * rng.standard_normal((count, 3))
  half = 0.5 * (1 + padding)
  return _label(contains, points.clip(-half, half), dtype)


def _label(
  contains: Contains, points: Float[np.ndarray, "n 3"], dtype: str
) -> tuple[Float[np.ndarray, "n 3"], UInt8[np.ndarray, "bytes"]]:
  """Rounds points to the type in which they are stored, then labels them."""
  points = points.astype(dtype)
  inside = contains(points.astype(np.float64))
  return points, np.packbits(inside)
