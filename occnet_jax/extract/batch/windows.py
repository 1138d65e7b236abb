"""Scenes of any extent, reconstructed a window at a time (host and device).

Peng et al., "Convolutional Occupancy Networks", ECCV 2020, section 4.5: a network whose
latent is local is given a window of the scene and decoded in the window's middle, which
is so far from the borders that what lies beyond has little effect. Along an axis:

  observed        [-------------------------]
  decoded                  [=======]
  next window            [-------------------------]
  decoded                       [=======]

Windows lie at multiples of their stride in the frame of the cloud, so points added far
away change nothing. Where two middles overlap, the weight of one falls linearly from 1
to 0 while that of the other rises: values are continuous across the borders. Windows
without a point are outside. One window is on the device at a time; of each the values
of a sparse lattice are kept (`grid.block_lattice`).

Shape letters: n points, q points of the lattice along a window's middle.
"""

import itertools
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import tqdm
import trimesh
from jaxtyping import Float

from occnet_jax.config import GenerationSettings
from occnet_jax.data import host_memory
from occnet_jax.extract.field import decoder_field, shared_jit
from occnet_jax.extract.grid.block_lattice import (
  POINT_BYTES,
  BlockLattice,
  box_resolution,
)
from occnet_jax.extract.mesh.finish import finish
from occnet_jax.extract.pipeline import NoSurface
from occnet_jax.geometry import pointcloud_io
from occnet_jax.types import Latent, Method, Variables, Windows

MAX_CELLS = 1e15  # of a coordinate, up to which the cell of a float64 is exact
MIN_POINTS = 1024  # of an encoded window, with padding

Triple = tuple[int, int, int]


def reconstruct_scene(
  method: Method,
  variables: Variables,
  cloud: Float[np.ndarray, "n 3"],
  *,
  cell_size: float | None = None,
  points_per_cell: int = 2,
  level: float | None = None,
  least_part: float = 0.0,
  smooth_steps: int = 0,
  simplify_faces: int | None = None,
  points_per_batch: int | None = None,
  max_memory: int | None = None,
  on_empty: str = "raise",
  progress: bool = True,
) -> trimesh.Trimesh:
  """A cloud of any extent -> one closed mesh in the cloud's frame.

  Args:
    method: a method with `windows`.
    variables: its variables.
    cloud: points, in any unit. Their density should be that of the training's clouds.
    cell_size: side of a cell in that unit; None for that of the training. It decides
      how large a network trained on rooms in the unit cube takes the scene to be: .02
      for scans in metres by the paper's.
    points_per_cell: points of the lattice along a cell.
    level: value at the surface, in place of the method's own.
    least_part, smooth_steps, simplify_faces: as of `extract_mesh`.
    points_per_batch: number of points decoded at a time; None chooses.
    max_memory: bytes that the lattice may take; None for the memory that is free.
    on_empty: for a scene without a surface "raise" an error, or "empty", a mesh without
      faces.
    progress: whether a terminal shows a bar.

  Returns:
    The mesh. Its `metadata` holds `windows`, the number of those that were encoded,
    `evaluations` of the decoder, `value_min` and `value_max`.

  Raises:
    NoSurface: no surface and on_empty="raise"; a ValueError.
    ValueError: a method of whole shapes; a cloud that is broken; settings out of range;
      a scene that is too large for the memory or for its cells.
  """
  windows = _require_windows(method)
  cell_size = windows.unit_size if cell_size is None else cell_size
  if (
    not 0 < cell_size < np.inf
    or points_per_cell < 1
    or windows.stride * points_per_cell < 2
  ):
    raise ValueError(
      f"cell_size={cell_size}, points_per_cell={points_per_cell}; want a length above "
      "0 in the unit of the cloud, and at least 1 point, or 2 where stride is a cell"
    )
  if on_empty not in ("raise", "empty"):
    raise ValueError(f"on_empty={on_empty!r}; want 'raise' or 'empty'")
  pointcloud_io.check_cloud(cloud)
  cells = np.asarray(cloud, np.float64) / cell_size
  if not np.abs(cells).max() < MAX_CELLS:
    raise ValueError(
      f"the cloud reaches {np.abs(cells).max():.3g} cells away from the origin; want "
      f"less than {MAX_CELLS:.0e}: enlarge cell_size={cell_size}, or move the cloud"
    )
  scene = Scene(cells, windows)
  _check_memory(scene, points_per_cell, max_memory)
  lattice = BlockLattice(windows.stride * points_per_cell)
  facts = {"windows": 0, "evaluations": 0, "value_min": np.inf, "value_max": -np.inf}
  weights = _middle_weights(windows, points_per_cell)
  for window, points in scene.occupied(progress):
    latent = encode_window(method, variables, points)
    field = decoder_field(method.decode, variables, latent, points_per_batch)
    values = field.values(_middle_points(windows, points_per_cell).reshape(-1, 3))
    lattice.add(window, values.reshape(weights.shape), weights)
    facts["windows"] += 1
    facts["evaluations"] += values.size
    facts["value_min"] = min(facts["value_min"], float(values.min()))
    facts["value_max"] = max(facts["value_max"], float(values.max()))
  surface_level = method.output.level if level is None else level
  vertices, faces = lattice.surface(surface_level)
  if not len(faces) and on_empty == "raise":
    raise NoSurface(
      f"no surface: values in {facts['windows']} windows lie between "
      f"{facts['value_min']:.6g} and {facts['value_max']:.6g}, none above the level "
      f"{surface_level:.6g}; check cell_size={cell_size:g} against the unit of the "
      "cloud, or pass on_empty='empty'"
    )
  vertices, faces = finish(
    vertices,
    faces,
    least_part=least_part,
    smooth_steps=smooth_steps,
    simplify_faces=simplify_faces,
  )
  # Point i of the lattice is half a step from the faces of cells, where positions jump.
  vertices = (vertices + 0.5) * (cell_size / points_per_cell)
  return trimesh.Trimesh(vertices, faces, metadata=facts, process=False)


def _require_windows(method: Method) -> Windows:
  if method.windows is None:
    raise ValueError(
      "this network observes whole shapes, so a scene cannot be taken apart; want one "
      "with config.model.unit_size, such as configs/convonet.py:crop_grid64"
    )
  return method.windows


def settings_of(generation: GenerationSettings) -> dict[str, Any]:
  """The arguments of `reconstruct_scene` that a run's config sets."""
  names = ("cell_size", "least_part", "smooth_steps", "simplify_faces")
  names += ("points_per_batch",)
  return {name: getattr(generation, name) for name in names}


class Scene:
  """The windows of a cloud, with their points.

  Attributes:
    windows: the size of windows.
    rows: rows of the cloud by block, a cube as large as the stride. Window (i, j, k)
      begins to observe where block (i, j, k) begins, and to be decoded from cell
      (i, j, k) times the stride on.
  """

  def __init__(self, cloud: Float[np.ndarray, "n 3"], windows: Windows):
    """Args:
    cloud: points, in cells.
    windows: the size of windows.
    """
    self.windows, self._cloud = windows, cloud
    start = windows.query // 2 - windows.side // 2  # cell where window 0 observes from
    blocks = np.floor((cloud - start) / windows.stride).astype(np.int64)
    names, inverse = np.unique(blocks, axis=0, return_inverse=True)
    inverse = inverse.reshape(-1)
    ends = np.cumsum(np.bincount(inverse))
    rows = np.split(np.argsort(inverse, kind="stable"), ends[:-1])
    self.rows = {tuple(n): r for n, r in zip(names.tolist(), rows, strict=True)}

  def _reach(self) -> Iterator[Triple]:
    """The blocks that window (0, 0, 0) observes."""
    blocks = range(-(-self.windows.side // self.windows.stride))
    return itertools.product(blocks, repeat=3)

  def names(self) -> list[Triple]:
    """The windows that observe a block with points, in ascending order."""
    names, reach = np.array(list(self.rows)), np.array(list(self._reach()))
    observers = (names[:, None] - reach).reshape(-1, 3)
    return list(map(tuple, np.unique(observers, axis=0).tolist()))

  def occupied(
    self, progress: bool
  ) -> Iterator[tuple[Triple, Float[np.ndarray, "n 3"]]]:
    """Windows with at least a point, and their points in the network's own frame.

    Args:
      progress: whether a terminal shows a bar.
    """
    size, none = self.windows, np.zeros(0, np.int64)
    names = tqdm.tqdm(
      self.names(),
      "windows",
      unit="window",
      file=sys.stdout,
      mininterval=1,
      disable=None if progress else True,
    )
    for i, j, k in names:
      rows = [self.rows.get((i + a, j + b, k + c), none) for a, b, c in self._reach()]
      centre = np.array([i, j, k]) * size.stride + size.query // 2
      points = self._cloud[np.concatenate(rows)] - centre
      half = size.side / 2
      points = points[((points >= -half) & (points < half)).all(1)]
      if len(points):
        yield (i, j, k), points * size.unit_size


def encode_window(
  method: Method, variables: Variables, points: Float[np.ndarray, "n 3"]
) -> Latent:
  """The latent of one window.

  Args:
    method: a method with `windows`.
    variables: its variables.
    points: in the frame of the window.
  """
  # Few numbers of points, so that few programs are compiled: points outside, which have
  # no effect, are added up to the next power of two.
  count = max(2 ** (len(points) - 1).bit_length(), MIN_POINTS)
  outside = method.windows.side * method.windows.unit_size
  padded = np.full((1, count, 3), outside, np.float32)
  padded[0, : len(points)] = points
  return shared_jit(method.encode)(variables, padded)


def _middle_points(
  windows: Windows, points_per_cell: int
) -> Float[np.ndarray, "q q q 3"]:
  """Points of the lattice in a window's middle, in the frame of the window."""
  axis = _middle_axis(windows, points_per_cell) - windows.query // 2
  grid = np.meshgrid(axis, axis, axis, indexing="ij")
  return np.stack(grid, -1) * windows.unit_size


def _middle_weights(
  windows: Windows, points_per_cell: int
) -> Float[np.ndarray, "q q q"]:
  """Weights of these points, which sum to 1 over the windows of a point."""
  axis = _middle_axis(windows, points_per_cell)
  along = np.ones(len(axis))
  if overlap := windows.query - windows.stride:
    along = np.minimum(axis, windows.query - axis).clip(0, overlap) / overlap
  return along[:, None, None] * along[:, None] * along


def _middle_axis(windows: Windows, points_per_cell: int) -> Float[np.ndarray, " q"]:
  """Coordinates along the middle in cells; none is on the face of a cell."""
  return (np.arange(windows.query * points_per_cell) + 0.5) / points_per_cell


def _check_memory(scene: Scene, points_per_cell: int, max_memory: int | None) -> None:
  """Raises ValueError if the lattice is too long or would not fit the memory."""
  available = host_memory.available() if max_memory is None else max_memory
  bytes_each = POINT_BYTES * (scene.windows.stride * points_per_cell) ** 3
  # Every block with points has a window; only a scene of which that much fits is worth
  # the list of all windows, of which each adds to eight blocks.
  box_resolution(np.array(list(scene.rows)), scene.windows.stride * points_per_cell)
  blocks = len(scene.rows)
  if blocks * bytes_each <= available:
    corners = itertools.product((0, 1), repeat=3)
    offsets = np.array(list(corners))
    reached = (np.array(scene.names())[:, None] + offsets).reshape(-1, 3)
    blocks = len(np.unique(reached, axis=0))
  if blocks * bytes_each > available:
    raise ValueError(
      f"the lattice of this scene takes at least {blocks * bytes_each / 2**20:.0f} MiB "
      f"in {blocks} blocks and {available / 2**20:.0f} MiB are free; enlarge "
      "cell_size, or lower points_per_cell, or cut the cloud into pieces"
    )
