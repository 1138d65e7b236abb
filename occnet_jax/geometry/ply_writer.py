"""Binary PLY with positions in float64, which Trimesh does not write (host, numpy).

Shape letters: v vertices, f faces.
"""

import numpy as np
from jaxtyping import Float, Int

_FACE = np.dtype([("count", "u1"), ("corners", "<i4", 3)])


def encode(
  vertices: Float[np.ndarray, "v 3"],
  faces: Int[np.ndarray, "f 3"],
  normals: Float[np.ndarray, "v 3"] | None = None,
) -> bytes:
  """A triangle mesh as a file; normals, if there are any, in float32."""
  fields = [(axis, "<f8", vertices[:, i]) for i, axis in enumerate("xyz")]
  if normals is not None:
    fields += [(f"n{axis}", "<f4", normals[:, i]) for i, axis in enumerate("xyz")]
  rows = np.zeros(len(vertices), [(name, kind) for name, kind, _ in fields])
  for name, _, values in fields:
    rows[name] = values
  polygons = np.zeros(len(faces), _FACE)
  polygons["count"], polygons["corners"] = 3, faces
  names = {"<f4": "float", "<f8": "double"}
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
