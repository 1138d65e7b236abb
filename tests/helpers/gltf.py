"""glTF files by hand: the JSON of one triangle, its data, and a cloud."""

import base64
import json

import numpy as np

TRIANGLE = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0]], "<f4")


def triangle_data(corners=(0, 1, 2)):
  """Its vertices, then its corners."""
  return TRIANGLE.tobytes() + np.array(corners, "<u2").tobytes()


def triangle_tree(buffer):
  """The JSON, with a description of the buffer of `triangle_data`."""
  return {
    "asset": {"version": "2.0"},
    "scene": 0,
    "scenes": [{"nodes": [0]}],
    "nodes": [{"mesh": 0}],
    "meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "indices": 1}]}],
    "accessors": [
      {"bufferView": 0, "componentType": 5126, "count": 3, "type": "VEC3"},
      {"bufferView": 1, "componentType": 5123, "count": 3, "type": "SCALAR"},
    ],
    "bufferViews": [
      {"buffer": 0, "byteOffset": 0, "byteLength": 36},
      {"buffer": 0, "byteOffset": 36, "byteLength": 6},
    ],
    "buffers": [buffer],
  }


def write_points(path, points, normals, colours, move):
  """A glTF file of a cloud whose attributes are interleaved, with data in its URI.

  Colours (n, 3) of 8 bits become linear light in float32 (IEC 61966-2-1); `move` (4, 4)
  is the matrix of the node.
  """
  share = colours / 255
  linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
  data = np.hstack([points, normals, linear]).astype("<f4").tobytes()
  accessor = {"bufferView": 0, "componentType": 5126, "count": len(points)}
  accessor["type"] = "VEC3"
  names = ("POSITION", "NORMAL", "COLOR_0")
  uri = "data:application/octet-stream;base64," + base64.b64encode(data).decode()
  tree = {
    "asset": {"version": "2.0"},
    "scene": 0,
    "scenes": [{"nodes": [0]}],
    "nodes": [{"mesh": 0, "matrix": np.asarray(move).T.reshape(-1).tolist()}],
    "meshes": [
      {"primitives": [{"mode": 0, "attributes": {n: i for i, n in enumerate(names)}}]}
    ],
    "accessors": [accessor | {"byteOffset": 12 * i} for i in range(3)],
    "bufferViews": [{"buffer": 0, "byteLength": len(data), "byteStride": 36}],
    "buffers": [{"byteLength": len(data), "uri": uri}],
  }
  path.write_text(json.dumps(tree))
  return path
