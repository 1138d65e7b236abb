"""The JSON of a glTF file of one triangle, and its data."""

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
