"""From a stored example to the arrays of a batch, after the reference.

First all that is random is drawn, from the generator passed in (host); then arrays are
made of the example and the draws, where the example lies (host, or device under
jax.vmap). As in the reference points are drawn with replacement.
"""

from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float, Shaped

from occnet_jax.data.inputs import HOST, Access, Drawn, Example, Observation
from occnet_jax.types import Batch

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


def draw_points(
  labelled: Example,
  rng: np.random.Generator,
  *,
  count: int,
  float16_noise: float,
  sampling: Sampling = "uniform",
) -> Drawn:
  """Which of the labelled points to take.

  Args:
    labelled: holds points (N, 3), of which shape and type are asked, and occupancies,
      packed bits, which "equal" alone reads.
    rng: draws the points and their noise.
    count: t; 0 for all N in their order.
    float16_noise: standard deviation added where points are stored as float16. The
      reference has 1e-4; labels made for the stored points need none.
    sampling: "uniform", or "equal": first outside, then as many inside (paper,
      section 4.6); of a shape that lacks either all are drawn from the other.

  Returns:
    rows (t,) int32 and, where there is noise, noise (t, 3).
  """
  stored = labelled["points"]
  total = stored.shape[0]
  if not count:
    rows = np.arange(total)
  elif sampling == "equal":
    inside = unpack(labelled["occupancies"], total)
    sides = [np.flatnonzero(side) for side in (~inside, inside)]
    sides = [side if len(side) else np.arange(total) for side in sides]
    counts = (count - count // 2, count // 2)
    rows = np.concatenate(
      [
        side[rng.integers(len(side), size=size)]
        for side, size in zip(sides, counts, strict=True)
      ]
    )
  else:
    rows = rng.integers(total, size=count)
  drawn = {"rows": rows.astype(np.int32)}
  if float16_noise and stored.dtype == np.float16:
    drawn["noise"] = float16_noise * rng.standard_normal((len(rows), 3), np.float32)
  return drawn


def take_points(
  labelled: Example, drawn: Drawn, access: Access = HOST
) -> dict[str, Float[Any, "..."]]:
  """The points (t, 3) and occupancies (t,), float32, that were drawn."""
  rows = drawn["rows"]
  points = access.take(labelled["points"], rows).astype(np.float32)
  if "noise" in drawn:
    points = points + drawn["noise"]
  packed = access.take(labelled["occupancies"], rows >> 3)
  bits = (packed >> (7 - (rows & 7)).astype(np.uint8)) & 1
  return {"points": points, "occupancies": bits.astype(np.float32)}


def extents(surface: Shaped[np.ndarray, "m 3"]) -> Float[np.ndarray, "3"]:
  """Sides of the box around an eighth of the surface points."""
  rows = surface[::8].T.astype(np.float32, order="C")  # NumPy reduces rows 10 x faster
  return np.ptp(rows, axis=1)


def draw_stretch(
  extents: Float[np.ndarray, "3"], rng: np.random.Generator, amount: float
) -> Float[np.ndarray, "3"]:
  """A random change of proportions that keeps a shape in the unit cube's frame.

  The longest axis keeps its extent of 1; the others change by up to 1 + amount either
  way, but never beyond it. A shape of other proportions costs no preparation.
  """
  factors = (1 + amount) ** rng.uniform(-1, 1, 3)
  factors[extents.argmax()] = 1
  return np.minimum(factors, extents.max() / extents.clip(1e-6)).astype(np.float32)


def draw_example(
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
) -> Drawn:
  """All that is drawn for one shape, for `take_example`.

  Args:
    example: an example with the fields of `fields`, or with forms in place of arrays
      and its "extents" besides.
    rng: of this example at this step.
    observation: what the network sees of it.
    points: t, query points; 0 for all uniform ones.
    train: whether the observation may be drawn at random (a view, a crop).
    near_fraction: of the points drawn near the surface instead of in the cube.
    sampling: how the others are drawn, as of `draw_points`.
    stretch: amount of `draw_stretch` of the whole shape; 0 for none.
    float16_noise: as of `draw_points`.
  """
  near = round(near_fraction * points)
  counts = {"points": points - near, "points_surface": near}
  drawn: Drawn = {}
  for name, count in counts.items():
    if count or (not points and name == "points"):
      found = draw_points(
        example[name],
        rng,
        count=count,
        float16_noise=float16_noise,
        sampling=sampling if name == "points" else "uniform",
      )
      drawn |= {f"{name}/{key}": array for key, array in found.items()}
  if stretch:
    sides = example.get("extents")
    if sides is None:
      sides = extents(example["pointcloud"]["points"])
    drawn["stretch"] = draw_stretch(sides, rng, stretch)[None]
  return drawn | observation.draw(example, rng, train)


def apply_draws(
  example: Example, drawn: Drawn, observation: Observation, access: Access = HOST
) -> Batch:
  """What was drawn of one shape: points (t, 3), occupancies (t,) and inputs."""
  parts = []
  for name in ("points", "points_surface"):
    if f"{name}/rows" in drawn:
      keys = {key: f"{name}/{key}" for key in ("rows", "noise")}
      own = {key: drawn[full] for key, full in keys.items() if full in drawn}
      parts.append(take_points(example[name], own, access))
  taken = {
    name: access.xp.concatenate([part[name] for part in parts]) for name in parts[0]
  }

  def deform(points):
    return points * drawn["stretch"] if "stretch" in drawn else points

  inputs = observation.observe(example, drawn, deform, access)
  return {**taken, "points": deform(taken["points"]), "inputs": inputs}


def make_example(
  example: Example, rng: np.random.Generator, *, observation: Observation, **settings
) -> Batch:
  """One shape as a task sees it: `draw_example`, then `take_example`."""
  drawn = draw_example(example, rng, observation=observation, **settings)
  return apply_draws(example, drawn, observation)
