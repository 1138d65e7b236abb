"""The embedded data set: procedural solids in the spirit of ShapeNet (host, numpy).

Thirteen categories, each an endless, seeded family with varied topology: thin legs,
holes, hollow shells, handles, many parts. Every shape is one closed, two-manifold,
outward-oriented, connected surface without internal faces, so its inside is known
exactly and no repair comes between the shape and its labels.

Frame: x to the right, y up, objects face -z; extents of about 1, not normalised.
Letters: v vertices, f faces.
"""

import multiprocessing
import zlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import trimesh
from jaxtyping import Float, Int
from manifold3d import Error, Manifold
from tqdm import tqdm

from data_prep.sources import (
  synthetic_chair,
  synthetic_household,
  synthetic_seats,
  synthetic_tables,
  synthetic_vehicles,
)
from data_prep.sources.synthetic_parts import Draw
from occnet_jax.files import write_aside

_FAMILIES: dict[str, Callable[[Draw], Manifold]] = {
  "airplane": synthetic_vehicles.airplane,
  "bench": synthetic_seats.bench,
  "bottle": synthetic_household.bottle,
  "cabinet": synthetic_tables.cabinet,
  "car": synthetic_vehicles.car,
  "chair": synthetic_chair.chair,
  "display": synthetic_household.display,
  "lamp": synthetic_household.lamp,
  "loudspeaker": synthetic_household.loudspeaker,
  "mug": synthetic_household.mug,
  "sofa": synthetic_seats.sofa,
  "table": synthetic_tables.table,
  "vessel": synthetic_vehicles.vessel,
}
CATEGORIES: tuple[str, ...] = tuple(sorted(_FAMILIES))

_DECIMALS = 6  # coordinates are exact in a text file with this many decimals
_SMALLEST_EDGE = 2e-4  # of an extent of about 1: removes slivers that booleans leave
_ATTEMPTS = 20


class Entry(NamedTuple):
  """One mesh file of a written data set."""

  category: str
  model_id: str
  path: Path


def make_shape(
  category: str, seed: int, index: int
) -> tuple[Float[np.ndarray, "v 3"], Int[np.ndarray, "f 3"]]:
  """Shape `index` of a category: the same in any process and in any order.

  A draw whose parts miss each other, or touch in a point or an edge, is drawn again.

  Raises:
    ValueError: unknown category, or a negative seed or index.
  """
  _check_categories([category])
  for name, value in (("seed", seed), ("index", index)):
    if value < 0:
      raise ValueError(f"{name} is {value}, want 0 or more; count shapes from 0")
  for attempt in range(_ATTEMPTS):
    entropy = [seed, zlib.crc32(category.encode()), index, attempt]
    solid = _FAMILIES[category](Draw(np.random.default_rng(entropy)))
    vertices, faces = _to_arrays(solid)
    if solid.status() == Error.NoError and _is_one_closed_surface(vertices, faces):
      return vertices, faces
  raise RuntimeError(
    f"{category} {index} of seed {seed}: none of {_ATTEMPTS} draws was one closed "
    "surface; this is a fault in the category, use another index"
  )


def model_id(category: str, index: int) -> str:
  return f"{category}_{index:04d}"


def write_meshes(
  out: Path,
  *,
  per_category: int,
  seed: int,
  categories: Sequence[str] = CATEGORIES,
  workers: int = 1,
) -> list[Entry]:
  """Writes `<out>/<category>/<model_id>.off` and lists every file, made now or before.

  A file that is there is kept, so an interrupted run continues; a file is there whole
  or not at all. Use one folder per seed: names hold the index only. Vertices are
  written to the last decimal, so reading returns the faces and vertices of
  `make_shape`. More than one worker means that many fresh processes.

  Raises:
    ValueError: unknown category, or a count below 1.
  """
  _check_categories(categories)
  for name, value in (("per_category", per_category), ("workers", workers)):
    if value < 1:
      raise ValueError(f"{name} is {value}, want 1 or more")
  out = Path(out)
  entries, missing = [], []
  for category in categories:
    for index in range(per_category):
      name = model_id(category, index)
      path = out / category / f"{name}.off"
      entries.append(Entry(category, name, path))
      if not path.exists():
        missing.append((path, category, seed, index))
  if missing:
    _write_all(missing, workers)
  return entries


def _write_all(jobs: list[tuple[Path, str, int, int]], workers: int) -> None:
  def show(done: Iterable[None]) -> None:
    for _ in tqdm(done, total=len(jobs), desc="synthetic shapes", unit="shape"):
      pass

  if workers == 1:
    show(map(_write_one, jobs))
    return
  # Forked children inherit locks of threads that they do not have: start fresh ones.
  with multiprocessing.get_context("spawn").Pool(workers) as pool:
    show(pool.imap_unordered(_write_one, jobs, chunksize=8))


def _write_one(job: tuple[Path, str, int, int]) -> None:
  path, category, seed, index = job
  vertices, faces = make_shape(category, seed, index)
  mesh = trimesh.Trimesh(vertices, faces, process=False)
  with write_aside(path) as scratch:
    scratch.write_text(trimesh.exchange.off.export_off(mesh, digits=_DECIMALS))


def _check_categories(categories: Sequence[str]) -> None:
  if unknown := [name for name in categories if name not in _FAMILIES]:
    raise ValueError(f"category {unknown[0]!r} is none of {', '.join(CATEGORIES)}")


def _to_arrays(solid: Manifold) -> tuple[np.ndarray, np.ndarray]:
  mesh = solid.simplify(_SMALLEST_EDGE).to_mesh64()
  vertices = np.round(mesh.vert_properties[:, :3], _DECIMALS) + 0.0  # no minus zero
  return vertices, mesh.tri_verts.astype(np.int32)


def _is_one_closed_surface(vertices: np.ndarray, faces: np.ndarray) -> bool:
  """Whether the arrays, not only the solid they came from, are sound.

  Distinct vertices at one place would be welded by whoever reads the file.
  """
  if not len(faces) or len(np.unique(vertices, axis=0)) != len(vertices):
    return False
  mesh = trimesh.Trimesh(vertices, faces, process=False)
  return bool(
    mesh.is_watertight and mesh.is_winding_consistent and mesh.body_count == 1
  )
