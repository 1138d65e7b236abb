"""Rooms put together from objects, each a solid of its own (host, numpy).

After the synthetic rooms of Peng et al., "Convolutional Occupancy Networks", ECCV 2020:
four to eight objects stand on a floor without overlap of their boxes, and each of four
walls is there in half of the rooms. For each number of objects there are as many rooms.
The objects of rooms for validation and test are others than those of training.

Frame: the cube [-0.5, 0.5]^3, y up, of which the floor takes all along x; seen from
above,

        z
        |  _________      walls outside the floor, their corners closed; the top of
        | |  []     |     the floor at y = -0.5
        | |     [_] |
        | |_________|
        |------------- x

Letters: v vertices, f faces.
"""

import contextlib
import os
import pathlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from data_prep.pipeline.worker_pool import run_tasks
from data_prep.progress import progress_bar
from data_prep.sources.entry import MeshEntry
from data_prep.watertight.framed import load_watertight
from occnet_jax import files, unreadable
from occnet_jax.geometry.solids import Solid

OBJECTS = 40  # synthetic objects of each category
CATEGORIES = ("cabinet", "chair", "lamp", "sofa", "table")  # taken where there are any
# Number of objects: smallest and largest of their largest extents.
SCALES = {
  4: (0.25, 0.45),
  5: (0.25, 0.4),
  6: (0.2, 0.3),
  7: (0.15, 0.25),
  8: (0.1, 0.25),
}
SHARES = {"train": 0.75, "val": 0.05, "test": 0.2}
FLOOR = -0.5  # height of its top
DEPTHS = (0.3, 1.0)  # extent of the floor along z
THICKNESS = 0.01  # of floor and walls
WALL_HEIGHTS = (0.2, 0.4)
WALL_SHARE = 0.5  # of rooms that have the wall on one side
PLAIN_WEIGHT = 0.2  # of points on floor and walls, against 1 on objects
_LAYOUTS, _TRIES = 200, 50

Box = tuple[float, float, float, float]  # lower and upper x, lower and upper z


class Room(NamedTuple):
  """Attributes:
  solid: all parts; where they touch or overlap, they are one.
  weights: (f,) relative density of surface points on each face; 0 below the floor and
    outside the walls.
  """

  solid: Solid
  weights: Float[np.ndarray, " f"]


def write_rooms(
  objects: Sequence[MeshEntry],
  out: str | os.PathLike,
  *,
  per_count: int,
  seed: int,
  solid: Mapping[str, Any],
  workers: int = 1,
) -> list[MeshEntry]:
  """Writes `<out>/rooms_04/00000000.npz`, ... and lists every file, with its split.

  Existing files are kept, so an interrupted call can be repeated.

  Args:
    objects: meshes of objects; of categories named as in CATEGORIES only, if any is.
    out: directory of the rooms.
    per_count: number of rooms for each number of objects.
    seed: seed of all rooms.
    solid: fields of `RepairOptions` for the objects.
    workers: number of processes; 0 for one per core, 1 for this process.

  Raises:
    ValueError: no objects, or none of a split fits into a room.
  """
  if not objects:
    raise ValueError("0 objects; want some to furnish rooms with")
  named = [entry for entry in objects if entry.category in CATEGORIES]
  pools = _split_objects(named or list(objects), seed)
  entries, missing = [], []
  for count in SCALES:
    category = f"rooms_{count:02}"
    for index, split in enumerate(_splits(per_count)):
      path = pathlib.Path(out, category, f"{index:08}.npz")
      entries.append(MeshEntry(category, path.stem, path, split))
      if not path.exists():
        missing.append((path, pools[split], count, (seed, count, index), dict(solid)))
  if workers == 1:
    done = ((task, _write_one(task)) for task in missing)
  else:
    done = run_tasks(_write_one, missing, workers=workers) if missing else iter(())
  with contextlib.closing(done) if missing else contextlib.nullcontext():
    for _, result in progress_bar(done, "rooms", len(missing), unit="room"):
      if isinstance(result, Exception):
        raise result
  return entries


def read_room(path: str | os.PathLike) -> Room:
  """A room as it was written.

  Raises:
    ValueError: the file is missing or broken.
  """
  try:
    with np.load(path) as arrays:
      solid = Solid(arrays["vertices"], arrays["faces"].astype(np.int64))
      return Room(solid, arrays["weights"])
  except Exception as error:  # whatever a reader may raise on a broken file
    reason = unreadable.reason(path, error)
    raise ValueError(
      f"{path}: cannot be read as a room ({reason}); delete it, "
      "and the next preparation makes it again"
    ) from error


def make_room(
  objects: Sequence[Solid], scales: tuple[float, float], rng: np.random.Generator
) -> Room:
  """A room of these objects, turned about y at random.

  Args:
    objects: solids in the unit-cube frame.
    scales: smallest and largest of the largest extents of objects.
    rng: generator of sizes, places, floor and walls.

  Raises:
    ValueError: the objects do not fit on any floor that was drawn.
  """
  (shallow, deep), (small, large) = DEPTHS, scales
  for attempt in range(_LAYOUTS):
    # Large objects on a small floor may have no place; each time that a layout fails,
    # the next floor may be less shallow and the objects less large.
    closer = attempt / _LAYOUTS
    depth = rng.uniform(shallow + closer * (deep - shallow), deep)
    largest = large - closer * (large - small)
    turned = [_turn(solid, rng.uniform(small, largest), rng) for solid in objects]
    if places := _place(
      [np.ptp(s.vertices[:, ::2], axis=0) for s in turned], depth, rng
    ):
      break
  else:
    raise ValueError(
      f"{len(objects)} objects of extents {scales[0]} to {scales[1]} did not fit on "
      f"{_LAYOUTS} floors; want smaller or fewer ones"
    )
  shells = []
  for solid, (x, z) in zip(turned, places, strict=True):
    lower, upper = solid.vertices.min(0), solid.vertices.max(0)
    middle = (lower + upper) / 2
    shift = np.array([x - middle[0], FLOOR - lower[1], z - middle[2]])
    faces = solid.faces
    shells.append((solid.vertices + shift, faces, np.ones(len(faces))))
  shells += _floor_and_walls(depth, rng)
  starts = np.cumsum([0, *(len(vertices) for vertices, _, _ in shells[:-1])])
  vertices, faces, weights = zip(*shells, strict=True)
  faces = [own + start for own, start in zip(faces, starts, strict=True)]
  solid = Solid(np.concatenate(vertices), np.concatenate(faces))
  return Room(solid, np.concatenate(weights))


def _turn(solid: Solid, scale: float, rng: np.random.Generator) -> Solid:
  angle = rng.uniform(0, 2 * np.pi)
  cos, sin = np.cos(angle), np.sin(angle)
  about_y = np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]])
  return Solid(scale * solid.vertices @ about_y.T, solid.faces)


def _place(
  sizes: Sequence[Float[np.ndarray, "2"]], depth: float, rng: np.random.Generator
) -> list[tuple[float, float]] | None:
  """Centres (x, z) of boxes of these sizes on the floor; None if one has no place."""
  boxes: list[Box] = []
  for width, length in (size.tolist() for size in sizes):
    if width > 1 or length > depth:
      return None
    for _ in range(_TRIES):
      x = rng.uniform(width / 2 - 0.5, 0.5 - width / 2)
      z = rng.uniform((length - depth) / 2, (depth - length) / 2)
      box = (x - width / 2, x + width / 2, z - length / 2, z + length / 2)
      if not any(_overlap(box, other) for other in boxes):
        boxes.append(box)
        break
    else:
      return None
  return [((b[0] + b[1]) / 2, (b[2] + b[3]) / 2) for b in boxes]


def _overlap(a: Box, b: Box) -> bool:
  return a[0] < b[1] and b[0] < a[1] and a[2] < b[3] and b[2] < a[3]


def _floor_and_walls(
  depth: float, rng: np.random.Generator
) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
  """Vertices, faces and weights of boxes, each with points on one side only."""
  half, bottom, t = depth / 2, FLOOR - THICKNESS, THICKNESS
  shells = [_box((-0.5, bottom, -half), (0.5, FLOOR, half), 1, True)]
  height = rng.uniform(*WALL_HEIGHTS)
  x, z = 0.5 + t, half + t  # outer sides of the walls
  top = FLOOR + height
  walls = [
    ((-x, bottom, -z), (-0.5, top, z), 0, True),
    ((0.5, bottom, -z), (x, top, z), 0, False),
    ((-x, bottom, -z), (x, top, -half), 2, True),
    ((-x, bottom, half), (x, top, z), 2, False),
  ]
  present = rng.random(4) < WALL_SHARE
  return shells + [
    _box(*wall) for wall, there in zip(walls, present, strict=True) if there
  ]


def _box(
  lower: Sequence[float], upper: Sequence[float], axis: int, upper_side: bool
) -> tuple[Float[np.ndarray, "8 3"], Int[np.ndarray, "12 3"], Float[np.ndarray, " 12"]]:
  """A box, whose points lie on its side towards one end of an axis."""
  ends = np.array([lower, upper])
  corners = np.array([[i, j, k] for i in (0, 1) for j in (0, 1) for k in (0, 1)])
  faces, weights = [], []
  for normal in range(3):
    u, v = (normal + 1) % 3, (normal + 2) % 3
    for high in (0, 1):
      square = np.zeros((4, 3), int)
      square[:, normal] = high
      square[[1, 2], u] = 1
      square[[2, 3], v] = 1
      a, b, c, d = (square if high else square[::-1]) @ [4, 2, 1]
      faces += [[a, b, c], [a, c, d]]
      weights += 2 * [
        PLAIN_WEIGHT if (normal, bool(high)) == (axis, upper_side) else 0.0
      ]
  return ends[corners, np.arange(3)], np.array(faces), np.array(weights)


def _splits(count: int) -> list[str]:
  """The split of each of so many: the published shares, and one at least of three."""
  test, val = (max(round(SHARES[s] * count), count >= 3) for s in ("test", "val"))
  return ["train"] * (count - val - test) + ["val"] * val + ["test"] * test


def _split_objects(
  objects: Sequence[MeshEntry], seed: int
) -> dict[str, list[pathlib.Path]]:
  """The files of each split's objects; with less than three of a category, of all."""
  pools: dict[str, list[pathlib.Path]] = {split: [] for split in SHARES}
  by_category = defaultdict(list)
  for entry in objects:
    by_category[entry.category].append(entry)
  for number, (_, members) in enumerate(sorted(by_category.items())):
    order = np.random.default_rng([seed, number]).permutation(len(members))
    splits = _splits(len(members)) if len(members) >= 3 else None
    for position, index in enumerate(order):
      entry = members[index]
      fixed = entry.split or (splits and splits[position])
      for split in (fixed,) if fixed else SHARES:
        pools[split].append(entry.path)
  everything = [entry.path for entry in objects]
  return {split: pool or everything for split, pool in pools.items()}


def _write_one(
  task: tuple[pathlib.Path, list[pathlib.Path], int, tuple[int, ...], dict[str, Any]],
) -> None:
  """Makes and writes one room; objects that are no solids are replaced by others."""
  path, pool, count, entropy, solid = task
  rng = np.random.default_rng(entropy)
  objects, reason = [], ""
  for index in [*rng.permutation(len(pool)), *rng.integers(len(pool), size=10 * count)]:
    try:
      objects.append(load_watertight(pool[index], solid)[0])
    except ValueError as error:
      reason = str(error)
    if len(objects) == count:
      break
  else:
    raise ValueError(
      f"{len(objects)} of {count} objects of {path.parent.name}/{path.stem} could be "
      f"used, the last of the others not: {reason}; see config.prep.solid"
    )
  room = make_room(objects, SCALES[count], rng)
  with files.atomic_write(path) as scratch, scratch.open("wb") as stream:
    np.savez_compressed(
      stream,
      vertices=room.solid.vertices,
      faces=room.solid.faces.astype(np.int32),
      weights=room.weights,
    )
