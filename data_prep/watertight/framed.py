"""A mesh file as a solid that fills the unit cube (host, numpy)."""

import pathlib
from typing import Any

import numpy as np

from data_prep.watertight import solid as solid_lib
from occnet_jax.geometry import frames, mesh_io
from occnet_jax.geometry.solids import Solid


def load_watertight(
  path: pathlib.Path, options: dict[str, Any]
) -> tuple[Solid, solid_lib.RepairReport, np.ndarray, float]:
  """The solid of a mesh file, moved and scaled to fill the unit cube.

  Args:
    path: file of the mesh.
    options: fields of `RepairOptions`.

  Returns:
    solid, report, loc (3,) and scale: vertex in the file = scale * vertex here + loc.

  Raises:
    ValueError: the file cannot be read, or its mesh is no solid.
  """
  chosen = solid_lib.RepairOptions(**options)
  vertices, faces = mesh_io.read_mesh(path)
  if chosen.crop_outliers:
    vertices, faces = solid_lib.crop_outliers(vertices, faces)
  loc, scale = frames.unit_cube_frame(vertices[np.unique(faces)])
  solid, quality = solid_lib.make_watertight((vertices - loc) / scale, faces, chosen)
  # Faces that were dropped or thickened may have set the bounds: frame the solid again.
  shift, factor = frames.unit_cube_frame(solid.vertices)
  solid = Solid((solid.vertices - shift) / factor, solid.faces)
  return solid, quality, loc + scale * shift, scale * factor
