"""The surface of a volume on its own grid, in its own frame and unit (host).

Marching cubes on the centres of the voxels of a box of any shape, linear between them
as in `marching_cubes`. At the borders of the volume the surface is closed by the faces
of its outermost voxels, half a voxel beyond their centres.

Shape letters: v vertices; n voxels a side; p q cells of a plane.
"""

from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float32, Shaped
from scipy import ndimage

from occnet_jax.extract.grid import active_cells
from occnet_jax.extract.grid.active_cells import ALONG, OUTSIDE, CellPart
from occnet_jax.extract.grid.edge_roots import END_MARGIN
from occnet_jax.extract.grid.marching_cubes import (
  Faces,
  Vertices,
  linear_params,
  place_vertices,
  triangulate,
)
from occnet_jax.extract.grid.mise import CORNERS
from occnet_jax.geometry.grids import to_keys
from occnet_jax.geometry.volumes import Volume

MASK_LEVEL = 0.5  # of booleans, which count as 0 and 1
ON_FACE = 1e-6  # of a voxel: distance of points that lie on a face of the volume


def as_volume(field: Any, spacing: Any = None, origin: Any = None) -> Volume | None:
  """What has a grid of its own to be extracted on; None for other fields.

  Args:
    field: a `Volume`, or an array (nx, ny, nz) together with a spacing or an origin.
    spacing: distance of neighbouring voxels, one number or one for each axis.
    origin: centre of the voxel (0, 0, 0).

  Raises:
    ValueError: a spacing or origin of something else than an array, out of range, or
      beside the affine map of a `Volume`.
  """
  placed = spacing is not None or origin is not None
  if isinstance(field, Volume):
    if placed:
      raise ValueError(
        "spacing or origin for a Volume, which has an affine map of its own; want "
        "volume.values with them, or the volume alone"
      )
    return field
  if not placed:
    return None
  if np.ndim(field) != 3 or callable(field):
    raise ValueError(
      f"spacing={spacing}, origin={origin} for a {type(field).__name__}; want an array "
      "(nx, ny, nz) with them"
    )
  sides = np.asarray(1.0 if spacing is None else spacing, np.float64)
  first = np.asarray(0.0 if origin is None else origin, np.float64)
  for name, numbers, least in (("spacing", sides, 0.0), ("origin", first, -np.inf)):
    if numbers.shape not in ((), (3,)) or not (
      np.isfinite(numbers).all() and (numbers > least).all()
    ):
      kind = "above 0" if name == "spacing" else "that are finite"
      raise ValueError(
        f"{name}={numbers.tolist()}; want a number or three of them, {kind}"
      )
  affine = np.diag([*np.broadcast_to(sides, 3), 1.0])
  affine[:3, 3] = first
  return Volume(np.asarray(field), affine)


def default_level(field: Any) -> float:
  """The level where a call names none: half of what booleans count as, or 0."""
  values = field.values if isinstance(field, Volume) else field
  return MASK_LEVEL if getattr(values, "dtype", None) == np.bool_ else 0.0


def triangulate_volume(
  volume: Volume, level: float, max_memory: int | None = None
) -> tuple[Vertices, Faces, dict[str, int | float]]:
  """Vertices in the world, outward faces, and facts for the metadata.

  Args:
    volume: the volume; NaN is outside.
    level: value at the surface, below that of the inside.
    max_memory: bytes that the mesh may take on the way; None for any number.

  Raises:
    ValueError: no array (nx, ny, nz) of numbers, infinite values, a level that is not
      above that of the outside, or too little memory.
  """
  values = volume.values
  check_values(values)
  if not level > OUTSIDE:
    raise ValueError(f"level={level}; want one above {OUTSIDE:g}: rescale the volume")
  # The lattice of `active_cells` is a cube; a box uses a part of its keys.
  resolution = max(values.shape) - 1
  parts = [
    _crossed_cells(_layers(values, x), x, resolution + 3, level)
    for x in range(values.shape[0] + 1)
  ]
  needed = active_cells.CELL_BYTES * sum(len(part[0]) for part in parts)
  if max_memory is not None and needed > max_memory:
    raise ValueError(
      f"the mesh takes about {needed / 2**20:.0f} MiB on the way and max_memory allows "
      f"{max_memory / 2**20:.0f} MiB; raise it, or take every second voxel"
    )
  crossings = active_cells.collect_crossings(parts, resolution, level)
  t = linear_params(crossings, level)
  t = np.clip(t, END_MARGIN, 1 - END_MARGIN)  # so that no triangle is a point
  t[(crossings.ends == OUTSIDE).any(1)] = 0.5  # the outermost voxels' own faces
  vertices = place_vertices(crossings, t)
  faces = triangulate(crossings)
  linear = volume.affine[:3, :3]
  if np.linalg.det(linear) < 0:  # a mirrored grid turns triangles inside out
    faces = np.ascontiguousarray(faces[:, ::-1])
  facts = {
    "resolution": resolution,
    "evaluations": values.size,
    "value_min": float(np.nanmin(values)) if not np.isnan(values).all() else np.nan,
    "value_max": float(np.nanmax(values)) if not np.isnan(values).all() else np.nan,
    "faces_extracted": len(faces),
  }
  return vertices @ linear.T + volume.affine[:3, 3], faces, facts


def check_values(values: Shaped[np.ndarray, "..."]) -> None:
  """Raises ValueError for no array (nx, ny, nz) of numbers, or infinite ones."""
  if values.ndim != 3 or not values.size or values.dtype.kind not in "biuf":
    raise ValueError(
      f"a volume of shape {values.shape} and type {values.dtype}; want numbers "
      "(nx, ny, nz)"
    )
  if values.dtype.kind == "f" and (bad := np.count_nonzero(np.isinf(values))):
    raise ValueError(
      f"{bad} of {values.size} voxels are infinite; want numbers, or NaN for none"
    )


def describe_values(facts: dict[str, int | float], level: float) -> str:
  """The message for a volume without a voxel above the level."""
  return (
    f"no surface: the volume's values lie between {facts['value_min']:.6g} and "
    f"{facts['value_max']:.6g}, none above the level {level:.6g}; lower it"
  )


def _layers(
  values: Shaped[np.ndarray, "nx ny nz"], x: int
) -> Float[np.ndarray, "2 y z"]:
  """Planes x and x + 1 of the lattice, which has a layer of outside around the volume.

  Point i of the lattice is the volume's i - 1.
  """
  planes = np.full((2, *(side + 2 for side in values.shape[1:])), OUTSIDE, np.float32)
  for plane, index in zip(planes, (x - 1, x), strict=True):
    if 0 <= index < len(values):
      plane[1:-1, 1:-1] = values[index]
  return np.where(np.isnan(planes), np.float32(OUTSIDE), planes)


def _crossed_cells(
  planes: Float[np.ndarray, "2 y z"], x: int, side: int, level: float
) -> CellPart:
  """The crossed cells between two planes of the lattice.

  Args:
    planes: values on them.
    x: index of the first.
    side: points a side of the lattice, by which keys are made.
    level: value at the surface.
  """
  inside = planes > level
  y, z = np.nonzero(_is_mixed(inside))
  columns = [planes[dx, y + dy, z + dz] for dx, dy, dz in CORNERS]
  corners = np.stack(columns, axis=1)
  configs = ((corners > level) @ active_cells.BITS).astype(np.uint8)
  keys = to_keys(np.stack([np.full_like(y, x), y, z], axis=1), side)
  return keys, configs, corners[:, [0, *ALONG]]


def _is_mixed(inside: Bool[np.ndarray, "2 y z"]) -> Bool[np.ndarray, "p q"]:
  """Whether the eight corners of each cell between two planes differ."""
  some, every = inside[0] | inside[1], inside[0] & inside[1]
  some, every = some[1:] | some[:-1], every[1:] & every[:-1]
  return (some[:, 1:] | some[:, :-1]) & ~(every[:, 1:] & every[:, :-1])


class VolumeField:
  """A volume as a `Field` of points of its world, linear between voxels' centres.

  Args:
    volume: the volume; NaN has no gradient.
  """

  def __init__(self, volume: Volume):
    values = volume.values
    # SciPy takes neither booleans nor another byte order than the machine's.
    kind = np.float32 if values.dtype == bool else values.dtype.newbyteorder("=")
    self.numbers = values.astype(kind, copy=False)
    self.inverse = np.linalg.inv(volume.affine)

  def values(self, points: Vertices) -> Float32[np.ndarray, " v"]:
    return self._at(self._indices(points)).astype(np.float32)

  def gradients(self, points: Vertices) -> Float32[np.ndarray, "v 3"]:
    """Differences of values half a voxel before and behind.

    On the faces of the volume they are normal to them, whatever the values are.
    """
    indices = self._indices(points)
    steps = 0.5 * np.eye(3)
    changes = [self._at(indices + step) - self._at(indices - step) for step in steps]
    gradients = np.nan_to_num(np.stack(changes, axis=1))
    lower, upper = -0.5, np.array(self.numbers.shape) - 0.5
    rises = 1.0 * (np.abs(indices - lower) < ON_FACE) - (
      np.abs(indices - upper) < ON_FACE
    )
    on_face = rises.any(1)
    gradients[on_face] = rises[on_face]
    # With i = M x, the derivative by x is M^T d/di.
    return (gradients @ self.inverse[:3, :3]).astype(np.float32)

  def _indices(self, points: Vertices) -> Vertices:
    return points @ self.inverse[:3, :3].T + self.inverse[:3, 3]

  def _at(self, indices: Vertices) -> Float[np.ndarray, " v"]:
    return ndimage.map_coordinates(
      self.numbers, indices.T, output=np.float64, order=1, mode="nearest"
    )
