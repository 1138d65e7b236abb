"""The built-in data set: procedural solids in the categories of ShapeNet (host, numpy).

Thirteen categories, each an endless, seeded family of varied topology: thin legs,
holes, hollow shells, handles, many parts. Every shape is one closed, two-manifold,
outward-oriented, connected surface without internal faces, so its inside is known
exactly and its labels depend on no repair.

Frame: x to the right, y up, objects face -z; extents of about 1, not normalised.
Letters: v vertices, f faces.
"""

import contextlib
import os
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import trimesh
from jaxtyping import Float, Int
from manifold3d import Manifold, Mesh64

from data_prep.pipeline.worker_pool import run_tasks
from data_prep.progress import progress_bar
from data_prep.sources.entry import MeshEntry
from data_prep.sources.families import (
  airplane,
  bench,
  bottle,
  cabinet,
  car,
  chair,
  display,
  hollow,
  lamp,
  loudspeaker,
  mug,
  sofa,
  table,
  vessel,
)
from data_prep.sources.families.parts import Draw
from occnet_jax.geometry.mesh_io import write_mesh

_FAMILIES: dict[str, Callable[[Draw], Manifold]] = {
  "airplane": airplane.airplane,
  "bench": bench.bench,
  "bottle": bottle.bottle,
  "cabinet": cabinet.cabinet,
  "car": car.car,
  "chair": chair.chair,
  "display": display.display,
  "lamp": lamp.lamp,
  "loudspeaker": loudspeaker.loudspeaker,
  "mug": mug.mug,
  "sofa": sofa.sofa,
  "table": table.table,
  "vessel": vessel.vessel,
}
CATEGORIES: tuple[str, ...] = tuple(sorted(_FAMILIES))
_FAMILIES["hollow"] = hollow.hollow  # on request: it is no category of ShapeNet
SETS = {"synthetic": CATEGORIES, "hollow": ("hollow",)}  # by their names as sources

_DECIMALS = 6  # coordinates are exact in a text file with this many decimals
_SMALLEST_EDGE = 2e-4  # of an extent of about 1: removes slivers that booleans leave
_NO_AREA = 1e-12  # a face below it has no normal to speak of
_ATTEMPTS = 20


def make_shape(
  category: str, seed: int, index: int
) -> tuple[Float[np.ndarray, "v 3"], Int[np.ndarray, "f 3"]]:
  """Shape `index` of a category: the same in any process and in any order.

  A draw whose parts miss each other, touch in an edge or leave a face without area is
  drawn again.

  Raises:
    ValueError: unknown category, or a negative seed or index.
  """
  _check([category], seed=(seed, 0), index=(index, 0))
  for attempt in range(_ATTEMPTS):
    entropy = [seed, zlib.crc32(category.encode()), index, attempt]
    solid = _FAMILIES[category](Draw(np.random.default_rng(entropy)))
    vertices, faces = _to_arrays(solid)
    if _is_one_closed_surface(vertices, faces):
      return vertices, faces
  raise RuntimeError(
    f"{category} {index} of seed {seed}: none of {_ATTEMPTS} draws was one closed "
    "surface; this is a fault in the category, use another index"
  )


def model_id(category: str, index: int) -> str:
  """Name of a shape within its category."""
  return f"{category}_{index:04d}"


def write_meshes(
  out: str | os.PathLike,
  *,
  per_category: int,
  seed: int,
  categories: Sequence[str] = CATEGORIES,
  workers: int = 1,
) -> list[MeshEntry]:
  """Writes `<out>/<category>/<model_id>.off` and lists every file, made now or before.

  Files are written atomically and existing ones are kept, so an interrupted call can be
  repeated. Use one folder per seed: names hold the index only. Reading a
  file returns the arrays of `make_shape` exactly.

  Args:
    out: directory of the meshes, made if it does not exist.
    per_category: number of shapes of each category, with indices from 0.
    seed: seed of the whole set.
    categories: names of families.
    workers: number of processes; 0 for one per core, 1 for this process.

  Raises:
    ValueError: unknown category, or a number out of its range.
  """
  _check(
    categories, per_category=(per_category, 1), seed=(seed, 0), workers=(workers, 0)
  )
  entries, missing = [], []
  for category in categories:
    for index in range(per_category):
      name = model_id(category, index)
      path = Path(out, category, f"{name}.off")
      entries.append(MeshEntry(category, name, path))
      if not path.exists():
        missing.append((path, category, seed, index))
  if not missing:
    return entries
  if workers == 1:
    done = ((task, _write_one(task)) for task in missing)
  else:
    done = run_tasks(_write_one, missing, workers=workers)
  with contextlib.closing(done):
    for _, result in progress_bar(done, "synthetic", len(missing), unit="shape"):
      if isinstance(result, Exception):
        raise result
  return entries


def _write_one(task: tuple[Path, str, int, int]) -> None:
  path, *which = task
  write_mesh(path, *make_shape(*which))


def _check(categories: Sequence[str], **numbers: tuple[int, int]) -> None:
  """Raises ValueError for unknown categories, and for numbers given as (value, least)
  that are too small.
  """
  if unknown := [name for name in categories if name not in _FAMILIES]:
    raise ValueError(
      f"category {unknown[0]!r} is unknown; want some of {', '.join(_FAMILIES)}"
    )
  for name, (value, least) in numbers.items():
    if value < least:
      raise ValueError(f"{name} is {value}; want {least} or more")


def _to_arrays(solid: Manifold) -> tuple[np.ndarray, np.ndarray]:
  """The arrays of a solid, short edges collapsed, on the grid of printed decimals.

  Sections have eight decimals, so parts that should share a plane miss it by 1e-8 and
  leave pairs of vertices that differ in no printed digit: the first weld.
  """
  vertices, faces = _weld(solid)
  welded = Manifold(Mesh64(vertices, faces.astype(np.uint64)))
  return _weld(welded.simplify(_SMALLEST_EDGE))


def _weld(solid: Manifold) -> tuple[np.ndarray, np.ndarray]:
  mesh = solid.to_mesh64()
  rounded = np.round(mesh.vert_properties[:, :3], _DECIMALS) + 0.0  # no minus zero
  vertices, corner = np.unique(rounded, axis=0, return_inverse=True)
  faces = corner.reshape(-1)[mesh.tri_verts].astype(np.int32)
  kept = (faces != np.roll(faces, 1, axis=1)).all(1)
  return vertices, faces[kept]


def _is_one_closed_surface(vertices: np.ndarray, faces: np.ndarray) -> bool:
  """Whether the welded arrays, not only the solid they came from, are sound."""
  if not len(faces):
    return False
  mesh = trimesh.Trimesh(vertices, faces, process=False)
  closed = mesh.is_watertight and mesh.is_winding_consistent
  return bool(closed and mesh.body_count == 1 and mesh.area_faces.min() > _NO_AREA)
