"""IoU, Chamfer distance, normal consistency and F-score of a mesh (host).

The protocol is that of Occupancy Networks (Mescheder et al., CVPR 2019, section 4, and
its evaluation script), so that figures can be laid beside the published ones. Lengths
are in cube units: the largest extent of the true shape is 1. Papers print Chamfer-L1
times 10; that figure has a name of its own, `chamfer_l1_x10`.

Shape letters: n surface points, t query points, v vertices, f faces.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped
from scipy.spatial import cKDTree

from occnet_jax.geometry import surface_sampling

FAR = 3**0.5  # diagonal of the unit cube: the distance to a surface that is not there
F_SCORE_THRESHOLDS = (0.01,)

Points = Float[np.ndarray, "n 3"]


class Distances(NamedTuple):
  """From every point of one sampled surface to the nearest point of another.

  Attributes:
    lengths: (n,) Euclidean distances.
    cosines: (n,) absolute cosines between the two unit normals.
  """

  lengths: Float[np.ndarray, " n"]
  cosines: Float[np.ndarray, " n"]


def iou(a: Shaped[np.ndarray, " t"], b: Shaped[np.ndarray, " t"]) -> float:
  """Intersection over union of two occupancies at the same points.

  A value of 0.5 or more, or true, is inside. Two empty sets are equal, so theirs is 1.
  """
  a, b = np.asarray(a) >= 0.5, np.asarray(b) >= 0.5
  union = np.count_nonzero(a | b)
  return np.count_nonzero(a & b) / union if union else 1.0


def distances(
  points: Points,
  normals: Points,
  to_points: Float[np.ndarray, "m 3"],
  to_normals: Float[np.ndarray, "m 3"],
) -> Distances:
  """Distance, and agreement of normals, with the nearest point of another cloud.

  Normals need not have length 1; one of length 0 agrees with nothing.
  """
  lengths, nearest = cKDTree(to_points).query(points)
  cosines = np.einsum("ni,ni->n", _unit(normals), _unit(to_normals)[nearest])
  return Distances(lengths, np.abs(cosines))


def compare_surfaces(
  accuracy: Distances,
  completeness: Distances,
  thresholds: Sequence[float] = F_SCORE_THRESHOLDS,
) -> dict[str, float]:
  """The surface metrics, from the distances in both directions.

  Chamfer-L1 is half the sum of the two mean distances, Chamfer-L2 half the sum of the
  two mean squared distances. The F-score is the harmonic mean of precision and recall:
  the share of predicted and of true points with the other surface within the threshold
  (Tatarchenko et al., CVPR 2019).

  Args:
    accuracy: from the predicted to the true surface.
    completeness: from the true to the predicted surface.
    thresholds: for the F-score; 0.01 is 1 % of the unit cube and is named `1pct`.
  """
  both = (accuracy, completeness)
  chamfer = _halved_sum(d.lengths.mean() for d in both)
  row = {
    "accuracy": float(accuracy.lengths.mean()),
    "completeness": float(completeness.lengths.mean()),
    "chamfer_l1": chamfer,
    "chamfer_l1_x10": 10 * chamfer,
    "chamfer_l2": _halved_sum(np.square(d.lengths).mean() for d in both),
    "normal_consistency": _halved_sum(d.cosines.mean() for d in both),
  }
  for threshold in thresholds:
    precision, recall = (float((d.lengths <= threshold).mean()) for d in both)
    row |= _f_score(threshold, precision, recall)
  return row


def evaluate_mesh(
  vertices: Float[np.ndarray, "v 3"],
  faces: Int[np.ndarray, "f 3"],
  *,
  points: Float[np.ndarray, "t 3"],
  occupancies: Shaped[np.ndarray, " t"],
  surface: Points,
  normals: Points,
  samples: int = 100_000,
  thresholds: Sequence[float] = F_SCORE_THRESHOLDS,
  seed: int = 0,
  trim: float = 0.0,
  volume: bool = True,
) -> dict[str, float | bool]:
  """Measures one reconstructed mesh against the samples of its true shape.

  A mesh without any surface is measured, not skipped: IoU 0, all distances the diagonal
  of the unit cube, normal consistency -1, F-score 0, `empty` true. The reference gives
  such a mesh a Chamfer distance of 6 under a name that its table does not read, so that
  its class means silently leave the mesh out; here the Chamfer distance follows from
  the two distances and counts.

  Args:
    vertices: reconstruction, in the frame of the truth.
    faces: vertex indices; the normal by the right-hand rule points outwards.
    points: query points with known occupancies.
    occupancies: of those points; 1 or true for inside.
    surface: points on the true surface.
    normals: of the true surface there; any length, either sign.
    samples: number of points drawn on the reconstruction.
    thresholds: for the F-score, in cube units.
    seed: for the drawn points; the same seed gives the same figures.
    trim: margin in cube units; of twice as many points on the reconstruction only those
      count that are within the true surface's box along x and z and not below it, so
      that a wall or a floor without a back is not held against it (Peng et al. 2020,
      of rooms, .007). 0 counts all. It does not change the IoU.
    volume: whether the mesh encloses a volume; patches do not, and have no IoU.

  Returns:
    The metrics by name, and `empty`. Lengths are in cube units, `chamfer_l2` in square
    cube units, the others are ratios.

  Raises:
    ValueError: the mesh is not sound (`surface_sampling.check`), or the truth has no
      points.
  """
  if not (len(points) and len(surface)):
    raise ValueError(
      f"truth has {len(points)} labelled points and {len(surface)} surface points, "
      "want at least one of each; prepare the shape again"
    )
  if not surface_sampling.area(vertices, faces) > 0:
    return _empty_row(thresholds)
  rng = np.random.default_rng(seed)
  drawn, drawn_normals = surface_sampling.sample(
    vertices, faces, 2 * samples if trim else samples, rng
  )
  if trim:
    inside = np.flatnonzero(_within_sides(drawn, surface, trim))
    if not len(inside):
      return _empty_row(thresholds)
    chosen = inside[rng.integers(len(inside), size=samples)]
    drawn, drawn_normals = drawn[chosen], drawn_normals[chosen]
  row = {}
  if volume:
    inside = surface_sampling.contains(vertices, faces, points)
    row["iou"] = iou(inside, occupancies)
  row |= compare_surfaces(
    distances(drawn, drawn_normals, surface, normals),
    distances(surface, normals, drawn, drawn_normals),
    thresholds,
  )
  return row | {"empty": False}


def evaluate_points(
  points: Points,
  surface: Float[np.ndarray, "m 3"],
  thresholds: Sequence[float] = F_SCORE_THRESHOLDS,
) -> dict[str, float | bool]:
  """Measures reconstructed points against points of the true surface.

  They have neither a volume nor normals, so IoU and normal consistency are left out.
  That they are few counts against completeness: n points on an area a leave half of
  sqrt(a / n) between them.

  Args:
    points: the reconstruction, in the frame of the truth.
    surface: points on the true surface.
    thresholds: for the F-score, in cube units.
  """
  zeros = np.zeros_like(points), np.zeros_like(surface)
  row = compare_surfaces(
    distances(points, zeros[0], surface, zeros[1]),
    distances(surface, zeros[1], points, zeros[0]),
    thresholds,
  )
  del row["normal_consistency"]
  return row | {"empty": False}


def _within_sides(
  points: Points, surface: Float[np.ndarray, "m 3"], margin: float
) -> Bool[np.ndarray, " n"]:
  """Whether points are in the surface's box, which is open towards the top (y)."""
  lower, upper = surface.min(0) - margin, surface.max(0) + margin
  upper[1] = np.inf
  return ((points >= lower) & (points <= upper)).all(1)


def _unit(vectors: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 3"]:
  vectors = np.asarray(vectors, np.float64)
  lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
  return vectors / np.maximum(lengths, np.finfo(np.float64).tiny)


def _halved_sum(pair: Iterable[float]) -> float:
  return float(sum(pair)) / 2


def _f_score(threshold: float, precision: float, recall: float) -> dict[str, float]:
  name = f"{100 * threshold:g}pct"
  total = precision + recall
  return {
    f"f_score_{name}": 2 * precision * recall / total if total else 0.0,
    f"precision_{name}": precision,
    f"recall_{name}": recall,
  }


def _empty_row(thresholds: Sequence[float]) -> dict[str, float | bool]:
  nowhere = Distances(np.array([FAR]), np.array([-1.0]))
  row = {"iou": 0.0} | compare_surfaces(nowhere, nowhere, thresholds)
  return row | {"empty": True}
