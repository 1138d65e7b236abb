"""From a stored example to the arrays of a batch, after the reference (host, numpy).

Everything that is drawn comes from the generator passed in. As in the reference points
are drawn with replacement.
"""

from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float, Shaped

from occnet_jax.data.observations import Deform, Example, Observation

LABELLED = {"points": True, "occupancies": True}
Sampling = Literal["uniform", "equal"]


def fields(
  observation: Observation, *, near_fraction: float = 0.0, stretch: float = 0.0
) -> dict[str, Any]:
  """What `make_example` reads, for `data.source.open_split`."""
  near = {"points_surface": LABELLED} if near_fraction else {}
  surface = {"pointcloud": {"points": True}} if stretch else {}
  return {"points": LABELLED, **near, **surface, **observation.fields}


def unpack(packed: Shaped[np.ndarray, "bytes"], count: int) -> Bool[np.ndarray, "n"]:
  """The first `count` of packed occupancies."""
  return np.unpackbits(packed, count=count).astype(bool)


def subsample_points(
  labelled: Example,
  rng: np.random.Generator,
  *,
  count: int,
  float16_noise: float,
  sampling: Sampling = "uniform",
) -> dict[str, Float[np.ndarray, "..."]]:
  """`count` query points with their occupancies.

  Args:
    labelled: holds points (N, 3) and occupancies, packed bits.
    rng: draws the points and their noise.
    count: t; 0 for all N in their order.
    float16_noise: standard deviation added where points are stored as float16. The
      reference has 1e-4; labels made for the stored points need none.
    sampling: "uniform", or "equal": first outside, then as many inside (paper,
      section 4.6); of a shape that lacks either all are drawn from the other.

  Returns:
    points (t, 3) and occupancies (t,), float32.
  """
  stored, packed = labelled["points"], labelled["occupancies"]
  if not count:
    chosen = np.arange(len(stored))
  elif sampling == "equal":
    inside = unpack(packed, len(stored))
    sides = [np.flatnonzero(side) for side in (~inside, inside)]
    sides = [side if len(side) else np.arange(len(stored)) for side in sides]
    counts = (count - count // 2, count // 2)
    chosen = np.concatenate(
      [
        side[rng.integers(len(side), size=size)]
        for side, size in zip(sides, counts, strict=True)
      ]
    )
  else:
    chosen = rng.integers(len(stored), size=count)
  points = stored[chosen].astype(np.float32)
  if float16_noise and stored.dtype == np.float16:
    points += float16_noise * rng.standard_normal(points.shape, np.float32)
  bits = (packed[chosen >> 3] >> (7 - (chosen & 7)).astype(np.uint8)) & 1
  return {"points": points, "occupancies": bits.astype(np.float32)}


def random_stretch(
  surface: Shaped[np.ndarray, "m 3"], rng: np.random.Generator, amount: float
) -> Deform:
  """A random change of proportions that keeps a shape in the unit cube's frame.

  The longest axis keeps its extent of 1; the others change by up to 1 + amount either
  way, but never beyond it. A shape of other proportions costs no preparation.
  """
  rows = surface[::8].T.astype(np.float32, order="C")  # NumPy reduces rows 10 x faster
  extents = np.ptp(rows, axis=1)
  factors = (1 + amount) ** rng.uniform(-1, 1, 3)
  factors[extents.argmax()] = 1
  factors = np.minimum(factors, extents.max() / extents.clip(1e-6)).astype(np.float32)
  return lambda points: points * factors


def make_example(
  example: Example,
  rng: np.random.Generator,
  *,
  observation: Observation,
  points: int,
  train: bool = False,
  near_fraction: float = 0.0,
  sampling: Sampling = "uniform",
  stretch: float = 0.0,
  float16_noise: float = 0.0,
) -> dict[str, Shaped[np.ndarray, "..."]]:
  """One shape as a task sees it.

  Args:
    example: an example with the fields of `fields`.
    rng: of this example at this step.
    observation: what the network sees of it.
    points: t, query points; 0 for all uniform ones.
    train: whether the observation may be drawn at random (a view, a crop).
    near_fraction: of the points drawn near the surface instead of in the cube.
    sampling: how the others are drawn, as of `subsample_points`.
    stretch: amount of `random_stretch` of the whole shape; 0 for none.
    float16_noise: as of `subsample_points`.

  Returns:
    points (t, 3), occupancies (t,) and inputs.
  """
  near = round(near_fraction * points)
  parts = []
  if not points or near < points:
    parts.append(
      subsample_points(
        example["points"],
        rng,
        count=points - near,
        float16_noise=float16_noise,
        sampling=sampling,
      )
    )
  if near:
    parts.append(
      subsample_points(
        example["points_surface"], rng, count=near, float16_noise=float16_noise
      )
    )
  sampled = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
  deform = _unchanged
  if stretch:
    deform = random_stretch(example["pointcloud"]["points"], rng, stretch)
  sampled["points"] = deform(sampled["points"])
  return {**sampled, "inputs": observation.observe(example, rng, deform, train)}


def _unchanged(points: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 3"]:
  return points
