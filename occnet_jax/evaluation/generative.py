"""How good a set of generated shapes is, as a set (host, numpy).

Shape letters: g generated shapes, r reference shapes.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from scipy.spatial import cKDTree

Cloud = Float[np.ndarray, "_ 3"]  # surface points; not of one number


def chamfer_matrix(
  generated: Sequence[Cloud], reference: Sequence[Cloud]
) -> Float[np.ndarray, "g r"]:
  """Chamfer-L1 between surface points of every pair: half the sum of mean distances."""
  trees = [[cKDTree(cloud) for cloud in clouds] for clouds in (generated, reference)]
  out = np.empty((len(generated), len(reference)))
  for i, one in enumerate(generated):
    for j, other in enumerate(reference):
      there = trees[1][j].query(one)[0].mean()
      back = trees[0][i].query(other)[0].mean()
      out[i, j] = (there + back) / 2
  return out


def coverage_and_mmd(distances: Float[np.ndarray, "g r"]) -> dict[str, float]:
  """Coverage and minimum matching distance (Achlioptas et al. 2018, section 3).

  Args:
    distances: of every generated shape to every reference shape.

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
      "at least one of each: train longer or change the threshold tau"
    )
  nearest = distances.argmin(1)
  return {
    "coverage": len(np.unique(nearest)) / distances.shape[1],
    "mmd": float(distances.min(0).mean()),
  }
