"""From a stored example to the arrays of a batch, after the reference (host, numpy).

Everything that is drawn comes from the generator passed in. As in the reference points
are drawn with replacement, and noise is added to the input cloud at test time too.
"""

from typing import Any

import numpy as np
from jaxtyping import Float, Shaped

Example = dict  # nested dicts of arrays as stored
LABELLED = {"points": True, "occupancies": True}


def fields(near_fraction: float = 0.0) -> dict[str, Any]:
  """What `pointcloud_example` reads, for `data.source.open_split`."""
  near = {"points_surface": LABELLED} if near_fraction else {}
  return {"points": LABELLED, "pointcloud": {"points": True}, **near}


def subsample_points(
  labelled: Example,
  rng: np.random.Generator,
  *,
  count: int,
  float16_noise: float,
) -> dict[str, Float[np.ndarray, "..."]]:
  """`count` query points with their occupancies.

  Args:
    labelled: holds points (N, 3) and occupancies, packed bits.
    rng: draws the points and their noise.
    count: t; 0 for all N in their order.
    float16_noise: standard deviation added where points are stored as float16. The
      reference has 1e-4; labels made for the stored points need none.

  Returns:
    points (t, 3) and occupancies (t,), float32.
  """
  stored = labelled["points"]
  chosen = rng.integers(len(stored), size=count) if count else np.arange(len(stored))
  points = stored[chosen].astype(np.float32)
  if float16_noise and stored.dtype == np.float16:
    points += float16_noise * rng.standard_normal(points.shape, np.float32)
  packed = labelled["occupancies"]
  bits = (packed[chosen >> 3] >> (7 - (chosen & 7)).astype(np.uint8)) & 1
  return {"points": points, "occupancies": bits.astype(np.float32)}


def stretch_factors(
  surface: Shaped[np.ndarray, "m 3"], rng: np.random.Generator, amount: float
) -> Float[np.ndarray, "3"]:
  """Random factors along the axes that keep a shape in the unit cube's frame.

  The longest axis keeps its extent of 1; the others change by up to 1 + amount either
  way, but never beyond it. A shape of other proportions costs no preparation.
  """
  extents = np.ptp(surface[::8].astype(np.float32), axis=0)
  factors = (1 + amount) ** rng.uniform(-1, 1, 3)
  factors[extents.argmax()] = 1
  return np.minimum(factors, extents.max() / extents.clip(1e-6)).astype(np.float32)


def noisy_cloud(
  surface: Shaped[np.ndarray, "m 3"],
  rng: np.random.Generator,
  *,
  count: int,
  sigma: float,
  factors: Float[np.ndarray, "3"] | float = 1.0,
) -> Float[np.ndarray, "n 3"]:
  """`count` surface points, stretched, with Gaussian noise of deviation `sigma`."""
  cloud = surface[rng.integers(len(surface), size=count)].astype(np.float32) * factors
  return cloud + sigma * rng.standard_normal(cloud.shape, np.float32)


def pointcloud_example(
  example: Example,
  rng: np.random.Generator,
  *,
  points: int,
  near_fraction: float = 0.0,
  stretch: float = 0.0,
  cloud_points: int,
  sigma: float,
  float16_noise: float,
) -> dict[str, Float[np.ndarray, "..."]]:
  """One shape as the point-cloud task sees it.

  Args:
    example: an example with the fields of `fields`.
    rng: of this example at this step.
    points: t, query points; 0 for all uniform ones.
    near_fraction: of them drawn near the surface instead of uniformly.
    stretch: amount of `stretch_factors` on the whole shape; 0 for none.
    cloud_points: n, input points.
    sigma: of the input's noise, in cube units.
    float16_noise: as of `subsample_points`.

  Returns:
    points (t, 3), occupancies (t,) and inputs (n, 3).
  """
  near = round(near_fraction * points)
  sampled = subsample_points(
    example["points"], rng, count=points - near, float16_noise=float16_noise
  )
  if near:
    close = subsample_points(
      example["points_surface"], rng, count=near, float16_noise=float16_noise
    )
    sampled = {name: np.concatenate([sampled[name], close[name]]) for name in close}
  surface, factors = example["pointcloud"]["points"], np.ones(3, np.float32)
  if stretch:
    factors = stretch_factors(surface, rng, stretch)
    sampled["points"] *= factors
  inputs = noisy_cloud(surface, rng, count=cloud_points, sigma=sigma, factors=factors)
  return {**sampled, "inputs": inputs}
