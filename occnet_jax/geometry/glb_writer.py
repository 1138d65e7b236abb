"""GLB with colours at the vertices, and of points without faces (host, numpy).

glTF 2.0 specification, sections 3.7 and 4.4. Colours there are linear light, where the
8 bits that Trimesh writes do not resolve dark colours. Of a mesh without faces Trimesh
writes an empty scene. Shape letters: v vertices, f faces.
"""

import json
import struct

import numpy as np
from jaxtyping import Float, Int, UInt8

from occnet_jax.geometry import colours as colours_lib

_FLOAT, _USHORT, _UINT = 5126, 5123, 5125
_POINTS = 0  # the mode of a primitive; triangles are the default
_ARRAY_BUFFER, _ELEMENT_BUFFER = 34962, 34963


def encode(
  vertices: Float[np.ndarray, "v 3"],
  faces: Int[np.ndarray, "f 3"],
  normals: Float[np.ndarray, "v 3"] | None,
  colours: UInt8[np.ndarray, "v 3"] | None,
  translation: Float[np.ndarray, "3"] | None = None,
) -> bytes:
  """A mesh as a file.

  Args:
    vertices, faces: the mesh; without faces the vertices are points.
    normals: unit normals of the vertices; None for none.
    colours: sRGB of the vertices; None for none.
    translation: place of the mesh in the scene; None for the origin.
  """
  columns = [("POSITION", np.asarray(vertices, "<f4"), _FLOAT, "VEC3")]
  if normals is not None:
    columns.append(("NORMAL", np.asarray(normals, "<f4"), _FLOAT, "VEC3"))
  if colours is not None:
    linear = np.full((len(colours), 4), 65535, np.uint16)  # opaque
    linear[:, :3] = colours_lib.to_linear(colours)
    columns.append(("COLOR_0", linear.astype("<u2"), _USHORT, "VEC4"))
  attributes = {name: i for i, (name, *_) in enumerate(columns)}
  primitive = {"attributes": attributes, "material": 0}
  if len(faces):  # an accessor of no indices is not allowed
    primitive["indices"] = len(columns)
    columns.append(("indices", np.asarray(faces, "<u4").reshape(-1), _UINT, "SCALAR"))
  else:
    primitive["mode"] = _POINTS
  accessors, views, offset = [], [], 0
  for name, array, kind, shape in columns:
    accessor = {"bufferView": len(views), "componentType": kind, "type": shape}
    accessor["count"] = len(array)
    if name == "POSITION" and len(array):
      accessor |= {"min": array.min(0).tolist(), "max": array.max(0).tolist()}
    if name == "COLOR_0":
      accessor["normalized"] = True
    target = _ELEMENT_BUFFER if name == "indices" else _ARRAY_BUFFER
    view = {"buffer": 0, "byteOffset": offset, "byteLength": array.nbytes}
    accessors.append(accessor)
    views.append(view | {"target": target})
    offset += array.nbytes  # every row has a multiple of four bytes, as it must
  node: dict = {"mesh": 0}
  if translation is not None:
    node["translation"] = np.asarray(translation, np.float64).tolist()
  tree = {
    "asset": {"version": "2.0", "generator": "occnet-jax"},
    "scene": 0,
    "scenes": [{"nodes": [0]}],
    "nodes": [node],
    "meshes": [{"primitives": [primitive]}],
    "materials": [{"pbrMetallicRoughness": {"metallicFactor": 0}}],
    "accessors": accessors,
    "bufferViews": views,
    "buffers": [{"byteLength": offset}],
  }
  head = json.dumps(tree).encode()
  head += b" " * (-len(head) % 4)
  body = b"".join(array.tobytes() for _, array, *_ in columns)
  total = 12 + 8 + len(head) + 8 + len(body)
  return b"".join(
    [
      struct.pack("<4sII", b"glTF", 2, total),
      struct.pack("<I4s", len(head), b"JSON"),
      head,
      struct.pack("<I4s", len(body), b"BIN\0"),
      body,
    ]
  )
