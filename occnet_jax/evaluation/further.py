"""Measures that other papers' tables have, on request (host).

Earth mover's distance, IoU on a grid of cells, and F-scores at further distances.

Shape letters: n points, v vertices, f faces, r grid side.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int, Shaped
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from occnet_jax.evaluation import metrics
from occnet_jax.geometry import surface_sampling

Points = Float[np.ndarray, "n 3"]


class Further(NamedTuple):
  """What is measured beside the paper's metrics.

  Attributes:
    f_scores: distances of further F-scores, in cube units.
    emd_points: points of each surface for the earth mover's distance; 0 for none.
    voxel_iou: whether IoU on the stored grid of cells is measured.
  """

  f_scores: Sequence[float] = ()
  emd_points: int = 0
  voxel_iou: bool = False

  @property
  def thresholds(self) -> tuple[float, ...]:
    """Distances of all F-scores; 1 % is always one of them."""
    return tuple(dict.fromkeys((*metrics.F_SCORE_THRESHOLDS, *self.f_scores)))


NOTHING = Further()


def check(further: Further) -> None:
  """Raises ValueError for a distance that no F-score has."""
  if wrong := [t for t in further.f_scores if not 0 < t < metrics.FAR]:
    raise ValueError(
      f"config.test.f_scores has {wrong[0]}; want distances above 0 and below the unit "
      f"cube's diagonal {metrics.FAR:.3f}, such as 0.005 and 0.02"
    )


def earth_movers_distance(a: Points, b: Float[np.ndarray, "m 3"]) -> float:
  """Mean length of the moves that turn one set of points into another of its size.

  The least of all one-to-one assignments, exact, in time n^3 (Fan et al. 2017, Eq. 2,
  there a sum). It grows where points are of another density, which the Chamfer
  distance does not see.

  Raises:
    ValueError: the sets differ in size.
  """
  if len(a) != len(b):
    raise ValueError(
      f"{len(a)} and {len(b)} points; the earth mover's distance wants as many of one "
      "set as of the other"
    )
  lengths = cdist(a, b)
  return float(lengths[linear_sum_assignment(lengths)].mean())


def voxel_iou(
  vertices: Float[np.ndarray, "v 3"],
  faces: Int[np.ndarray, "f 3"],
  grid: Shaped[np.ndarray, "r r r"],
) -> float:
  """IoU of a closed mesh and a grid over the unit cube, at the centres of its cells.

  The measure of Choy et al. 2016 for meshes, too: a mesh of cubes is its own grid.

  Args:
    vertices: in cube units.
    faces: vertex indices.
    grid: 0.5 or more, or true, is inside; indexed (x, y, z).
  """
  side = len(grid)
  axis = (np.arange(side) + 0.5) / side - 0.5
  centres = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1).reshape(-1, 3)
  inside = surface_sampling.contains(vertices, faces, centres)
  return metrics.iou(inside, grid.ravel())


def measure(
  vertices: Float[np.ndarray, "v 3"],
  faces: Int[np.ndarray, "f 3"],
  truth: Mapping[str, Any],
  further: Further,
  *,
  volume: bool,
  seed: int,
) -> dict[str, float]:
  """ "emd" and "iou_voxels" of a reconstruction, as far as they are asked for.

  Args:
    vertices: in cube units; the points themselves where there are no faces.
    faces: vertex indices.
    truth: the stored example, with "pointcloud" and for the grid "voxels".
    further: what to measure.
    volume: whether the reconstruction encloses one; IoU wants it.
    seed: for the points that are drawn.
  """
  row = {}
  is_mesh = len(faces) > 0
  if further.emd_points:
    rng = np.random.default_rng(seed)
    surface = truth["pointcloud"]["points"].astype(np.float64)
    count = min(further.emd_points, len(surface))
    if is_mesh and surface_sampling.area(vertices, faces) > 0:
      drawn = surface_sampling.sample(vertices, faces, count, rng)[0]
    elif len(vertices) and not is_mesh:
      count = min(count, len(vertices))
      drawn = vertices[rng.choice(len(vertices), count, replace=False)]
    else:
      drawn = None
    others = surface[rng.choice(len(surface), count, replace=False)]
    row["emd"] = metrics.FAR if drawn is None else earth_movers_distance(drawn, others)
  if further.voxel_iou and volume:
    packed = truth["voxels"]
    side = round((8 * len(packed)) ** (1 / 3))
    grid = np.unpackbits(packed)[: side**3].reshape(side, side, side)
    row["iou_voxels"] = voxel_iou(vertices, faces, grid) if is_mesh else 0.0
  return row
