"""Measures of a set of generated shapes beside a set of true ones (host).

Shape letters: g generated shapes, r reference shapes.
"""

from collections.abc import Sequence

import numpy as np
import scipy.stats
from jaxtyping import Float
from scipy.spatial import cKDTree

JSD_SIDE = 28  # cells a side, as of Achlioptas et al. 2018
Cloud = Float[np.ndarray, "_ 3"]  # surface points; clouds of one set may differ in size


def chamfer_matrix(
  generated: Sequence[Cloud], reference: Sequence[Cloud]
) -> Float[np.ndarray, "g r"]:
  """Chamfer-L1 between surface points of every pair: half the sum of mean distances."""
  if not (generated and reference):
    return np.zeros((len(generated), len(reference)))
  to_reference = _mean_distances(generated, reference)
  to_generated = _mean_distances(reference, generated)
  return (to_reference + to_generated.T) / 2


def _mean_distances(
  sources: Sequence[Cloud], targets: Sequence[Cloud]
) -> Float[np.ndarray, "s t"]:
  """Mean distance from the points of each source to the nearest point of each target.

  One query per target, with the points of all sources, runs on all cores.
  """
  points = np.concatenate(sources)
  ends = np.cumsum([len(cloud) for cloud in sources])[:-1]
  distances = np.empty((len(sources), len(targets)))
  for j, target in enumerate(targets):
    lengths, _ = cKDTree(target).query(points, workers=-1)
    distances[:, j] = [part.mean() for part in np.split(lengths, ends)]
  return distances


def coverage_and_mmd(distances: Float[np.ndarray, "g r"]) -> dict[str, float]:
  """Coverage and minimum matching distance (Achlioptas et al. 2018, section 3).

  Args:
    distances: Chamfer distances of every generated to every reference shape.

  Returns:
    coverage: share of reference shapes that are nearest to some generated one; high if
      the set is as varied as the reference.
    mmd: mean over reference shapes of the distance to their nearest generated one, in
      the unit of `distances`; low if shapes are as good as the reference.

  Raises:
    ValueError: one of the sets is empty.
  """
  if not distances.size:
    raise ValueError(
      f"{distances.shape[0]} generated and {distances.shape[1]} reference shapes; want "
      "at least one of each: train longer or set config.test.threshold"
    )
  nearest = distances.argmin(1)
  return {
    "coverage": len(np.unique(nearest)) / distances.shape[1],
    "mmd": float(distances.min(0).mean()),
  }


def nearest_neighbour_accuracy(
  generated: Float[np.ndarray, "g g"],
  reference: Float[np.ndarray, "r r"],
  between: Float[np.ndarray, "g r"],
) -> float:
  """1-NNA: how well a shape's nearest neighbour tells which set the shape is of.

  Of every shape of both sets the nearest other one, of either set (Lopez-Paz and Oquab
  2017; Yang et al., "PointFlow", ICCV 2019, section 5): .5 for sets of one
  distribution, 1 for sets that stay among themselves. Of two that are as near, the one
  of the other set counts.

  Args:
    generated: distances among generated shapes.
    reference: distances among reference shapes.
    between: distances of every generated to every reference shape.

  Raises:
    ValueError: there are fewer than two of either set, which have no neighbour.
  """
  if min(between.shape) < 2:
    raise ValueError(
      f"{between.shape[0]} generated and {between.shape[1]} reference shapes; want at "
      "least two of each, so that each has a neighbour in its own set"
    )
  correct = 0
  for own, other in ((generated, between.min(1)), (reference, between.min(0))):
    apart = np.where(np.eye(len(own), dtype=bool), np.inf, own)  # not itself
    correct += np.count_nonzero(apart.min(1) < other)
  return correct / sum(between.shape)


def jensen_shannon(
  generated: Sequence[Cloud], reference: Sequence[Cloud], side: int = JSD_SIDE
) -> float:
  """Divergence of the places where the points of both sets lie, from 0 to 1.

  Of the shares of points in the cells of a grid over the unit cube, all shapes of a set
  together, in bits (Achlioptas et al. 2018, section 3). Points outside of it count in
  the cells next to them.

  Args:
    generated: clouds in cube units.
    reference: likewise.
    side: cells a side.

  Raises:
    ValueError: one of the sets is empty.
  """
  if not (generated and reference):
    raise ValueError(
      f"{len(generated)} generated and {len(reference)} reference shapes; want at "
      "least one of each"
    )
  p, q = (_shares(clouds, side) for clouds in (generated, reference))
  entropies = [scipy.stats.entropy(x, base=2) for x in ((p + q) / 2, p, q)]
  return max(float(entropies[0] - (entropies[1] + entropies[2]) / 2), 0.0)


def _shares(clouds: Sequence[Cloud], side: int) -> Float[np.ndarray, " cells"]:
  points = np.concatenate(clouds)
  # Cell (x, y, z) is number (x * side + y) * side + z.
  cells = np.floor((points + 0.5) * side).astype(int).clip(0, side - 1)
  numbers = np.ravel_multi_index(cells.T, (side,) * 3)
  return np.bincount(numbers, minlength=side**3) / len(points)
