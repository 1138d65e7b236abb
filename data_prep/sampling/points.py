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

  Points are rounded to `dtype` first and labelled after that: the labels are those of
  the points as stored, which the reference's are not.

  Args:
    contains: which points are inside, of a solid in the unit-cube frame.
    rng: draws the points.
    count: n.
    padding: the cube is [-0.5 - padding / 2, 0.5 + padding / 2]^3.
    dtype: "float16" as in the reference, or "float32".

  Returns:
    points (n, 3) and occupancies (ceil(n / 8),), eight to a byte, first in the highest
    bit; `np.unpackbits(occupancies)[:n]` reads them.
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
    contains: which points are inside, of a solid in the unit-cube frame.
    surface: points on it, which are taken at random and moved by Gaussian noise.
    rng: draws the points.
    count: n.
    sigmas: deviations of the noise in cube units, for equal shares of the points.
    padding: of the cube that points are kept in.
    dtype: "float16" or "float32".
  """
  chosen = surface[rng.integers(len(surface), size=count)].astype(np.float64)
  sigma = np.resize(np.asarray(sigmas, np.float64), count)[:, None]
  points = chosen + sigma * rng.standard_normal((count, 3))
  half = 0.5 * (1 + padding)
  return _label(contains, points.clip(-half, half), dtype)


def _label(
  contains: Contains, points: Float[np.ndarray, "n 3"], dtype: str
) -> tuple[Float[np.ndarray, "n 3"], UInt8[np.ndarray, "bytes"]]:
  """Rounds the points to the type they are stored in, then labels them."""
  points = points.astype(dtype)
  inside = contains(points.astype(np.float64))
  return points, np.packbits(inside)
