"""glTF whose meshes are compressed by Draco -> plain glTF (host, numpy).

Khronos extension KHR_draco_mesh_compression. Of each compressed primitive the positions
and triangles are decoded, which take the place of its accessors; the rest of it, such
as normals, is left out.
"""

import pathlib
from typing import Any

import numpy as np

from occnet_jax.geometry import extras

EXTENSION = "KHR_draco_mesh_compression"
MOST = 2000  # bytes of a mesh in a byte of a file
_FLOAT, _UINT = 5126, 5125


def unpack(
  tree: dict[str, Any], buffers: list[bytes], path: pathlib.Path
) -> tuple[dict[str, Any], bytes]:
  """The tree without compressed primitives, and the bytes of its only buffer.

  Args:
    tree: the JSON of a file.
    buffers: the bytes of its buffers.
    path: the file, for messages.

  Raises:
    ValueError: data that are not there, or promise more than they could hold.
    MissingLibrary: DracoPy is not installed.
  """
  library = extras.load("DracoPy", path, "DracoPy", "draco", EXTENSION)
  body, starts = bytearray(), []
  for buffer in buffers:
    starts.append(len(body))
    body += buffer + bytes(-len(buffer) % 4)
  views = tree.get("bufferViews", [])
  for view in views:
    view["byteOffset"] = view.get("byteOffset", 0) + starts[view["buffer"]]
    view["buffer"] = 0

  def add(array: np.ndarray, kind: int, shape: str) -> int:
    views.append({"buffer": 0, "byteOffset": len(body), "byteLength": array.nbytes})
    entry = {"bufferView": len(views) - 1, "componentType": kind, "type": shape}
    tree["accessors"].append(entry | {"count": len(array)})
    body.extend(array.tobytes())
    return len(tree["accessors"]) - 1

  for mesh in tree.get("meshes", []):
    for primitive in mesh["primitives"]:
      packed = primitive.get("extensions", {}).pop(EXTENSION, None)
      if packed is None:
        continue
      try:
        view = views[packed["bufferView"]]
        start = view["byteOffset"]
        data = bytes(body[start : start + view["byteLength"]])
        count = tree["accessors"][primitive["attributes"]["POSITION"]]["count"]
      except (IndexError, KeyError, TypeError) as error:
        raise ValueError("names data compressed by Draco that it lacks") from error
      if count * 12 > MOST * len(data):
        raise ValueError(f"promises {count:,} vertices in {len(data):,} bytes")
      decoded = library.decode(data)
      points = np.asarray(decoded.points, "<f4").reshape(-1, 3)
      faces = np.asarray(decoded.faces, "<u4").reshape(-1)
      primitive["attributes"] = {"POSITION": add(points, _FLOAT, "VEC3")}
      primitive["indices"] = add(faces, _UINT, "SCALAR")
      primitive["mode"] = 4  # strips are decoded to triangles
  tree["buffers"] = [{"byteLength": len(body)}]
  for key in ("extensionsUsed", "extensionsRequired"):
    if key in tree:
      tree[key] = [name for name in tree[key] if name != EXTENSION]
  return tree, bytes(body)
