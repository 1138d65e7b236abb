"""Coverage and minimum matching distance of a set of generated shapes (host).

Shape letters: g generated shapes, r reference shapes.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from scipy.spatial import cKDTree

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
