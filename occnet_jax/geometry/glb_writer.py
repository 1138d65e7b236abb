"""GLB with colours or a texture, and of points without faces (host, numpy).

glTF 2.0 specification, sections 3.7 and 4.4. Colours there are linear light, where the
8 bits that Trimesh writes do not resolve dark colours. Of a mesh without faces Trimesh
writes an empty scene. Shape letters: v vertices, f faces.
"""

import io
import json
import struct
from typing import Any

import numpy as np
from jaxtyping import Float, Int, UInt8
from PIL import Image

from occnet_jax.geometry import colours as colours_lib
from occnet_jax.geometry.texture import Texture

_FLOAT, _USHORT, _UINT = 5126, 5123, 5125
_POINTS = 0  # the mode of a primitive; triangles are the default
_LINEAR, _CLAMPED = 9729, {"wrapS": 33071, "wrapT": 33071}
_ARRAY_BUFFER, _ELEMENT_BUFFER = 34962, 34963


def encode(
  vertices: Float[np.ndarray, "v 3"],
  faces: Int[np.ndarray, "f 3"],
  normals: Float[np.ndarray, "v 3"] | None,
  colours: UInt8[np.ndarray, "v 3"] | None,
  translation: Float[np.ndarray, "3"] | None = None,
  texture: Texture | None = None,
) -> bytes:
  """A mesh as a file.

  Args:
    vertices, faces: the mesh; without faces the vertices are points.
    normals: unit normals of the vertices; None for none.
    colours: sRGB of the vertices; None for none.
    translation: place of the mesh in the scene; None for the origin.
    texture: in place of colours; every triangle then has vertices of its own.
  """
  if texture is not None:
    corners = np.asarray(faces).reshape(-1)
    vertices, normals = vertices[corners], None if normals is None else normals[corners]
    faces = np.arange(len(corners)).reshape(-1, 3)
  columns = [("POSITION", np.asarray(vertices, "<f4"), _FLOAT, "VEC3")]
  if normals is not None:
    columns.append(("NORMAL", np.asarray(normals, "<f4"), _FLOAT, "VEC3"))
  if colours is not None:
    linear = np.full((len(colours), 4), 65535, np.uint16)  # opaque
    linear[:, :3] = colours_lib.to_linear(colours)
    columns.append(("COLOR_0", linear.astype("<u2"), _USHORT, "VEC4"))
  if texture is not None:
    places = texture.places.reshape(-1, 2).astype("<f4")
    columns.append(("TEXCOORD_0", places, _FLOAT, "VEC2"))
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
  body = b"".join(array.tobytes() for _, array, *_ in columns)
  material: dict = {"pbrMetallicRoughness": {"metallicFactor": 0}}
  looks: dict = {"materials": [material]}
  if texture is not None:
    picture = _png(texture.image)
    material["pbrMetallicRoughness"]["baseColorTexture"] = {"index": 0}
    looks |= {
      "textures": [{"source": 0, "sampler": 0}],
      # Smaller copies for the distance would mix triangles that are no neighbours.
      "samplers": [{"magFilter": _LINEAR, "minFilter": _LINEAR} | _CLAMPED],
      "images": [{"bufferView": len(views), "mimeType": "image/png"}],
    }
    views.append({"buffer": 0, "byteOffset": offset, "byteLength": len(picture)})
    body += picture + bytes(-len(picture) % 4)
  node: dict = {"mesh": 0}
  if translation is not None:
    node["translation"] = np.asarray(translation, np.float64).tolist()
  tree = {
    "asset": {"version": "2.0", "generator": "occnet-jax"},
    "scene": 0,
    "scenes": [{"nodes": [0]}],
    "nodes": [node],
    "meshes": [{"primitives": [primitive]}],
    **looks,
    "accessors": accessors,
    "bufferViews": views,
    "buffers": [{"byteLength": len(body)}],
  }
  return _pack(tree, body)


def _png(image: UInt8[np.ndarray, "h w 3"]) -> bytes:
  stream = io.BytesIO()
  Image.fromarray(image).save(stream, "PNG")
  return stream.getvalue()


def _pack(tree: dict[str, Any], body: bytes) -> bytes:
  """The file of a tree and its one buffer, which has a multiple of four bytes."""
  head = json.dumps(tree).encode()
  head += b" " * (-len(head) % 4)
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
