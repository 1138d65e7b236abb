"""Binary PLY with positions in float64 or colours (host, numpy).

Trimesh writes neither the first, nor the second together with normals.

Shape letters: v vertices, f faces.
"""

import numpy as np
from jaxtyping import Float, Int, UInt8

_FACE = np.dtype([("count", "u1"), ("corners", "<i4", 3)])


def encode(
  vertices: Float[np.ndarray, "v 3"],
  faces: Int[np.ndarray, "f 3"],
  normals: Float[np.ndarray, "v 3"] | None = None,
  colours: UInt8[np.ndarray, "v 3"] | None = None,
  *,
  positions: str = "<f8",
) -> bytes:
  """A triangle mesh as a file; normals, if there are any, in float32.

  Args:
    vertices, faces, normals: the mesh.
    colours: sRGB of the vertices; None for none.
    positions: type of the vertices: "<f8" or "<f4".
  """
  fields = [(axis, positions, vertices[:, i]) for i, axis in enumerate("xyz")]
  if normals is not None:
    fields += [(f"n{axis}", "<f4", normals[:, i]) for i, axis in enumerate("xyz")]
  if colours is not None:
    channels = enumerate(("red", "green", "blue"))
    fields += [(name, "u1", colours[:, i]) for i, name in channels]
  rows = np.zeros(len(vertices), [(name, kind) for name, kind, _ in fields])
  for name, _, values in fields:
    rows[name] = values
  polygons = np.zeros(len(faces), _FACE)
  polygons["count"], polygons["corners"] = 3, faces
  names = {"<f4": "float", "<f8": "double", "u1": "uchar"}
  header = [
    "ply",
    "format binary_little_endian 1.0",
    f"element vertex {len(vertices)}",
    *(f"property {names[kind]} {name}" for name, kind, _ in fields),
    f"element face {len(faces)}",
    "property list uchar int vertex_indices",
    "end_header\n",
  ]
  return "\n".join(header).encode() + rows.tobytes() + polygons.tobytes()
