"""COLLADA, which pycollada parses (host, numpy).

Trimesh reads it by pycollada as well, but ignores the file's up axis and makes a fan of
every polygon, which covers other ground where it is concave. Shape letters: v vertices,
f faces.
"""

import io
import re
from typing import Any

import numpy as np
from jaxtyping import Float

from occnet_jax.geometry import polygons
from occnet_jax.geometry.mesh_parsers import Arrays

_UPRIGHT = {  # rows of the rotation that takes this axis to y
  b"X": [[0, -1, 0], [1, 0, 0], [0, 0, 1]],
  b"Y": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
  b"Z": [[1, 0, 0], [0, 0, 1], [0, -1, 0]],
}


def parse_collada(data: bytes) -> Arrays:
  """Vertices and triangles of the whole scene, its up axis turned to y.

  References to what is not there, such as materials, are ignored. Any exception means
  that the file is broken.
  """
  import collada  # an optional package

  scene = collada.Collada(io.BytesIO(data), ignore=[collada.DaeError]).scene
  if scene is None:
    raise ValueError("has no scene; export it again")
  vertices, faces, count = [np.zeros((0, 3))], [np.zeros((0, 3), np.int64)], 0
  for geometry in scene.objects("geometry"):
    turn, shift = geometry.matrix[:3, :3].astype(np.float64), geometry.matrix[:3, 3]
    for primitive in geometry.original.primitives:
      corners, sizes = _corners(primitive)
      if not len(corners):
        continue  # lines, or no vertices
      positions = np.asarray(primitive.vertex, np.float64)
      triangles = polygons.triangulate(positions, corners, sizes)
      if np.linalg.det(turn) < 0:  # a mirror, which turns every face inside out
        triangles = triangles[:, ::-1]
      vertices.append(positions @ turn.T + shift)
      faces.append(triangles + count)
      count += len(positions)
  return np.concatenate(vertices) @ _upright(data).T, np.concatenate(faces)


def _corners(primitive: Any) -> tuple[np.ndarray, np.ndarray]:
  """Corners and sizes of the polygons in a primitive of pycollada; none of lines."""
  from collada import polylist, triangleset

  empty = np.zeros(0, np.int64)
  if primitive.vertex is None or not len(primitive):
    return empty, empty
  indices = np.asarray(primitive.vertex_index, np.int64)
  if isinstance(primitive, triangleset.TriangleSet):
    return indices.reshape(-1), np.full(len(indices), 3)
  if isinstance(primitive, polylist.Polylist):  # Polygons are one, too
    return indices, np.diff(primitive.polyindex, axis=1)[:, 0].astype(np.int64)
  return empty, empty


def _upright(data: bytes) -> Float[np.ndarray, "3 3"]:
  """The rotation that takes the file's up axis, Y if it names none, to y."""
  match = re.search(rb"<up_axis>\s*([XYZ])_UP\s*</up_axis>", data)
  return np.array(_UPRIGHT[match[1] if match else b"Y"], np.float64)
