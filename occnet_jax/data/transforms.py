"""From a stored example to the arrays of a batch, as in the reference.

First everything random is drawn from the generator passed in (host); then the arrays
are computed from the example and the draws, either on the host with NumPy or on the
device under jax.vmap. Points are drawn with replacement, as in the reference.

Shape letters: N stored points, t query points, m stored surface points.
"""

from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from occnet_jax.config import ScanSettings
from occnet_jax.data import crops, scans
from occnet_jax.data.inputs import (
  HOST,
  Access,
  Drawn,
  Example,
  Observation,
  unpack_voxels,
)
from occnet_jax.types import Batch

LABELLED = {"points": True, "occupancies": True}
Sampling = Literal["uniform", "equal"]
SAMPLINGS = get_args(Sampling)


class Draws(NamedTuple):
  """Settings of the random draws for one shape.

  Attributes:
    points: t, the number of query points; 0 for all uniform ones in stored order.
    train: whether the observation may be random (a view, a crop).
    float16_noise: standard deviation of the noise added to points stored as float16.
      The reference has 1e-4; labels computed for the stored points need none.
    near_fraction: share of the query points drawn near the surface instead of
      uniformly in the cube.
    sampling: draw of the uniform points: "uniform", or "equal" for as many
      inside as outside (paper, section 4.6).
    stretch: largest relative change of an axis by `draw_stretch`; 0 for none.
    window: windows of the shape in place of all of it; None for all.
    scans: whether the observation's scans are drawn, where it has any.
  """

  points: int
  train: bool = False
  float16_noise: float = 0.0
  near_fraction: float = 0.0
  sampling: Sampling = "uniform"
  stretch: float = 0.0
  window: crops.Window | None = None
  scans: bool = False


def fields(
  observation: Observation, *, near_fraction: float = 0.0, stretch: float = 0.0
) -> dict[str, Any]:
  """Stored fields that `make_example` reads, for `data.source.open_split`."""
  labelled = {
    **LABELLED,
    **({"distances": True} if observation.target_distances else {}),
  }
  near = {"points_surface": labelled} if near_fraction else {}
  surface = {"pointcloud": {"points": True}} if stretch else {}
  voxels = {"voxels": True} if observation.target_voxels else {}
  read = {"points": labelled, **near, **surface, **voxels, **observation.fields}
  if observation.target_surface:
    read["pointcloud"] = {"points": True, "normals": True}
  return read


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
  """Draws rows of the labelled points, and their noise.

  Args:
    labelled: points (N, 3), used for their shape and type only, and occupancies as
      packed bits, which only "equal" reads.
    rng: generator of the rows and of the noise.
    count: t; 0 for all N in stored order.
    float16_noise: as in `Draws`.
    sampling: "uniform", or "equal": points outside first, then as many inside; a shape
      that has points on one side only gives all of them from there.

  Returns:
    rows (t,) int32 and, where there is noise, noise (t, 3) float32.
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
  """The drawn points (t, 3), occupancies (t,) and stored distances (t,), float32."""
  rows = drawn["rows"]
  points = access.take(labelled["points"], rows).astype(np.float32)
  if "noise" in drawn:
    points = points + drawn["noise"]
  # np.packbits stores point i in bit 7 - i % 8 of byte i // 8.
  packed = access.take(labelled["occupancies"], rows >> 3)
  bits = (packed >> (7 - (rows & 7)).astype(np.uint8)) & 1
  taken = {"points": points, "occupancies": bits.astype(np.float32)}
  if "distances" in labelled:
    taken["distances"] = access.take(labelled["distances"], rows).astype(np.float32)
  return taken


def extents(surface: Shaped[np.ndarray, "m 3"]) -> Float[np.ndarray, "3"]:
  """Side lengths of the box around every eighth surface point."""
  rows = surface[::8].T.astype(np.float32, order="C")  # NumPy reduces rows 10 x faster
  return np.ptp(rows, axis=1)


def draw_stretch(
  extents: Float[np.ndarray, "3"], rng: np.random.Generator, amount: float
) -> Float[np.ndarray, "3"]:
  """Random factors per axis that keep the shape within the unit cube.

  The longest axis keeps its extent of 1; the others are scaled by a factor between
  1 / (1 + amount) and 1 + amount, log-uniform, but not beyond the longest.
  """
  factors = (1 + amount) ** rng.uniform(-1, 1, 3)
  factors[extents.argmax()] = 1
  return np.minimum(factors, extents.max() / extents.clip(1e-6)).astype(np.float32)


def draw_example(
  example: Example,
  rng: np.random.Generator,
  *,
  observation: Observation,
  draws: Draws,
) -> Drawn:
  """Draws all random numbers of one shape, for `apply_draws`.

  Args:
    example: an example with the fields of `fields`, or with shapes and types in place
      of arrays and its "extents" besides.
    rng: generator of this example at this step.
    observation: the input that the network observes.
    draws: settings of the draws; for windows, the example has its arrays.
  """
  stretch = np.ones(3, np.float32)
  if draws.stretch:
    sides = example.get("extents")
    if sides is None:
      sides = extents(example["pointcloud"]["points"])
    stretch = draw_stretch(sides, rng, draws.stretch)
  scan = None
  if draws.scans and observation.scan:
    stored = example["pointcloud"]
    scan = _draw_scan(stored, stretch, rng, observation.scan)
  near = round(draws.near_fraction * draws.points)
  counts = {"points": draws.points - near, "points_surface": near}
  drawn: Drawn = {}
  for name, count in counts.items():
    if count or (not draws.points and name == "points"):
      own = draw_points(
        example[name],
        rng,
        count=count,
        float16_noise=draws.float16_noise,
        sampling=draws.sampling if name == "points" else "uniform",
      )
      if draws.window:
        stored, surface = example[name]["points"], example["pointcloud"]["points"]
        drawn["centre"], rows = crops.draw(stored, surface, rng, draws.window, count)
        own["rows"] = rows.astype(np.int32)
      if scan and count:
        moved = scan.move(example[name]["points"] * stretch)
        own["rows"] = _rows_in_cube(moved, rng, count)
      drawn |= {f"{name}/{key}": array for key, array in own.items()}
  if draws.stretch:
    drawn["stretch"] = stretch[None]
  if scan:
    return drawn | scans.as_draws(scan, observation.scan.points[1])
  if observation.target_surface:
    stored = example["pointcloud"]["points"].shape[0]
    rows = rng.integers(stored, size=draws.points) if draws.points else range(stored)
    drawn["surface/rows"] = np.asarray(rows, np.int32)
  return drawn | observation.draw(example, rng, draws.train)


def _draw_scan(
  stored: Example,
  stretch: Float[np.ndarray, "3"],
  rng: np.random.Generator,
  settings: ScanSettings,
) -> scans.Scan:
  surface = stored["points"].astype(np.float32) * stretch
  normals = stored["normals"].astype(np.float32) / stretch  # the inverse transpose
  lengths = np.sqrt((normals**2).sum(1, keepdims=True))
  return scans.draw(surface, normals / lengths.clip(1e-9), rng, settings)


def _rows_in_cube(
  points: Float[np.ndarray, "N 3"], rng: np.random.Generator, count: int
) -> Int[np.ndarray, " t"]:
  """Random rows of the points in the padded cube; of all where it holds none."""
  inside = np.flatnonzero((np.abs(points) <= scans.HALF_SIDE).all(1))
  rows = inside if len(inside) else np.arange(len(points))
  return rows[rng.integers(len(rows), size=count)].astype(np.int32)


def apply_draws(
  example: Example, drawn: Drawn, observation: Observation, access: Access = HOST
) -> Batch:
  """One shape's points (t, 3), occupancies (t,), targets and inputs, from its draws."""
  samples = []
  for name in ("points", "points_surface"):
    if f"{name}/rows" in drawn:
      keys = {key: f"{name}/{key}" for key in ("rows", "noise")}
      own = {key: drawn[full] for key, full in keys.items() if full in drawn}
      samples.append(take_points(example[name], own, access))
  labelled = {
    name: access.xp.concatenate([sample[name] for sample in samples])
    for name in samples[0]
  }

  def deform(points):
    points = points * drawn["stretch"] if "stretch" in drawn else points
    if "scan/matrix" in drawn:
      points = points @ drawn["scan/matrix"].T + drawn["scan/offset"][None]
    return points - drawn["centre"] if "centre" in drawn else points

  batch = {**labelled, "points": deform(labelled["points"])}
  if observation.target_surface:
    for stored, name in (("points", "surface"), ("normals", "normals")):
      rows = access.take(example["pointcloud"][stored], drawn["surface/rows"])
      batch[name] = rows.astype(np.float32)
  if side := observation.target_voxels:
    packed = access.take(example["voxels"], slice(None))
    batch["voxels"] = unpack_voxels(packed, side, access.xp)
  if "scan/cloud" in drawn:
    if observation.target_cloud_normals:
      batch["cloud_normals"] = drawn["scan/normals"]
    return {**batch, "inputs": drawn["scan/cloud"]}
  return {**batch, "inputs": observation.observe(example, drawn, deform, access)}


def make_example(
  example: Example, rng: np.random.Generator, *, observation: Observation, draws: Draws
) -> Batch:
  """The arrays of one shape: `draw_example`, then `apply_draws`."""
  drawn = draw_example(example, rng, observation=observation, draws=draws)
  return apply_draws(example, drawn, observation)
