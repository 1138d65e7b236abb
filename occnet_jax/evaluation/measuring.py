"""The figures of one reconstruction beside its true shape (host)."""

import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from occnet_jax.evaluation import further as further_lib
from occnet_jax.evaluation import metrics, reconstructions
from occnet_jax.evaluation.tables import Row


class Protocol(NamedTuple):
  """How reconstructions are measured.

  Attributes:
    form: mesh format of their files.
    samples: number of points drawn on a mesh.
    trim: as in `metrics.evaluate_mesh`.
    further: what is measured beside the paper's metrics.
  """

  form: str
  samples: int
  trim: float = 0.0
  further: further_lib.Further = further_lib.NOTHING


def figures(
  directory: pathlib.Path, row: Row, truth: Mapping[str, Any], protocol: Protocol
) -> Row:
  """All that is measured of a mesh, of patches, or of points.

  Args:
    directory: directory of the run.
    row: of the shape, as `evaluate.generate` writes it.
    truth: its stored "points", "pointcloud" and, for IoU of cells, "voxels".
    protocol: how it is measured.

  Raises:
    ValueError: the file cannot be read, or the mesh is not sound.
  """
  vertices, faces = reconstructions.read(directory, row, protocol.form, as_written=True)
  surface = truth["pointcloud"]["points"].astype(np.float64)
  is_points = reconstructions.is_points(row)
  volume = bool(row.get("volume", True)) and not is_points
  others = further_lib.measure(
    vertices, faces, truth, protocol.further, volume=volume, seed=row["index"]
  )
  thresholds = protocol.further.thresholds
  if is_points:
    return metrics.evaluate_points(vertices, surface, thresholds) | others
  points = truth["points"]["points"].astype(np.float64)
  usual = metrics.evaluate_mesh(
    vertices,
    faces,
    points=points,
    occupancies=np.unpackbits(truth["points"]["occupancies"])[: len(points)],
    surface=surface,
    normals=truth["pointcloud"]["normals"].astype(np.float64),
    samples=protocol.samples,
    thresholds=thresholds,
    seed=row["index"],
    trim=protocol.trim,
    volume=volume,
  )
  return usual | others
