"""Clouds of which a network could make no good mesh of an object (host, numpy).

Shape letter: n points.
"""

import numpy as np
import trimesh
from jaxtyping import Float, Int
from scipy import ndimage
from scipy.spatial import cKDTree

# Least deviation from a plane or line, relative to the largest: that of a board of
# 250 x 250 x 1. What is thinner is thinner than a cell of 128.
FLAT = 0.007
CELLS = 8  # along the longest side of the box; few, so that 100 points are one group
SMALL = CELLS // 4  # cells along a side of a group, at most, that lies far from others
LEAST_SHARE = 0.05  # of the points that count as a group
SEARCHED = 20_000  # points of a cloud, at most, of which the nearest are searched
FAR, APART = 0.05, 3.0  # of the extent; in medians of the distance of nearest points


def check_scan(points: Float[np.ndarray, "n 3"], least: int, trained: str) -> None:
  """Raises ValueError for too few points, a flat cloud, or objects far apart.

  Args:
    points: cloud of finite points with an extent, without outliers.
    least: least number of points.
    trained: what the network was trained with, for the message.
  """
  if len(points) < least:
    raise ValueError(
      f"the cloud: {len(points)} points, want at least {least}; the network was "
      f"trained with {trained}: scan the object more densely"
    )
  groups = _groups(points)
  counts = np.bincount(groups)
  large = np.flatnonzero(counts >= LEAST_SHARE * len(points))
  extents = [_extent(points[groups == group]) for group in large]
  if len(large) > 1 and max(extents) < SMALL / CELLS * _extent(points):
    centres = [points[groups == group].mean(0).round(3).tolist() for group in large]
    shown = ", ".join(str(centre) for centre in centres[:3])
    raise ValueError(
      f"the cloud: {len(large)} groups of points that lie far apart, around {shown}; "
      "want one object: save each group in a file of its own"
    )
  spread = np.linalg.svd(points - points.mean(0), compute_uv=False)
  if spread[2] < FLAT * spread[0]:
    form = "line" if spread[1] < FLAT * spread[0] else "plane"
    raise ValueError(
      f"the cloud: its points lie on a {form}, or nearer to one than a mesh of 128 "
      "cells can show; want a thicker object, and points of several of its sides"
    )


def _groups(points: Float[np.ndarray, "n 3"]) -> Int[np.ndarray, "n"]:
  """The number of each point's group, of cells that touch each other."""
  lower = points.min(0)
  cells = ((points - lower) * (CELLS / _extent(points))).astype(np.int64)
  cells = tuple(np.minimum(cells, CELLS - 1).T)
  occupied = np.zeros((CELLS,) * 3, bool)
  occupied[cells] = True
  labels, _ = ndimage.label(occupied, structure=np.ones((3, 3, 3)))
  return labels[cells] - 1


def share_far_from(points: Float[np.ndarray, "n 3"], mesh: trimesh.Trimesh) -> float:
  """The share of a mesh's area that lies far from all points, so that it is a guess.

  Far is FAR of the cloud's extent, or APART times what its points lie apart.
  """
  points = points[:: -(-len(points) // SEARCHED)]
  tree = cKDTree(points)
  apart = np.median(tree.query(points, 2)[0][:, 1])
  far = max(FAR * _extent(points), APART * apart)
  distances, _ = tree.query(np.asarray(mesh.triangles_center), distance_upper_bound=far)
  areas = np.asarray(mesh.area_faces)
  return float(areas[~np.isfinite(distances)].sum() / areas.sum())


def _extent(points: Float[np.ndarray, "n 3"]) -> float:
  return float(np.ptp(points, axis=0).max())
