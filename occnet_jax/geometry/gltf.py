"""glTF and GLB, which Trimesh parses, with what it would read wrongly refused (host).

Trimesh 5.2 reads sparse or compressed data as zeros, ignores every extension that it
does not have, also where the file requires it, and shows neither bones nor morphs.
"""

import base64
import io
import json
import pathlib
import re
import struct
import urllib.parse
from collections.abc import Iterator
from typing import Any

import numpy as np
import trimesh
from jaxtyping import Float, UInt8

from occnet_jax.geometry import draco
from occnet_jax.geometry.colours import from_linear
from occnet_jax.geometry.mesh_parsers import check_held
from occnet_jax.geometry.normals import to_unit

_FLOAT, _POINTS, _TRIANGLES, _FAN = 5126, 0, 4, 6
# Numbers in a row of an accessor, and bytes of a number.
_COMPONENTS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}
_COMPONENTS |= {"MAT2": 4, "MAT3": 9, "MAT4": 16}
_BYTES = {5120: 1, 5121: 1, 5122: 2, 5123: 2, 5125: 4, 5126: 4}
_TYPES = {5120: "i1", 5121: "u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
_GEOMETRIES = (0, 1, 4, 5)  # points, lines, triangles, strips
_INSTANCING = "EXT_mesh_gpu_instancing"
_OF_LOOKS = re.compile(  # extensions without which the shape is the same
  r"\w+_(materials?_|textures?_|lights?_|image)\w*|KHR_(animation_pointer|xmp\w*)"
)
_SUPPORTED = "KHR_mesh_quantization"  # but for normalised numbers


class _Resolver(trimesh.resolvers.FilePathResolver):
  """Files beside a glTF file by their URIs, which may be percent-encoded."""

  def get(self, name: str) -> bytes:
    for candidate in (name, urllib.parse.unquote(name)):
      path = self.absolute(candidate)
      if path.is_file():
        return path.read_bytes()
    raise ValueError(f"names the file {name}, which is not there; put it beside it")


def read_gltf(path: pathlib.Path) -> tuple:
  """Vertices and triangles of a scene, where its nodes stand; colours of the vertices
  in 8 bits if all parts have them, or None; names of what is left out; and the normals
  of a cloud, or None. Of a scene without triangles its points.

  Raises:
    ValueError: the file is cut off, or holds what would be read wrongly or in part.
      Other exceptions, too, mean that it is broken.
  """
  resolver = _Resolver(str(path))
  tree = _read_tree(path.read_bytes(), binary=path.suffix.lower() == ".glb")
  for buffer in tree.get("buffers", []):
    uri = buffer.get("uri", "data:")
    if not uri.startswith("data:"):
      check_held(f"bytes in {uri}", buffer["byteLength"], len(resolver.get(uri)))
  coloured = any("COLOR_0" in part["attributes"] for _, part in _primitives(tree))
  textured = ("textures",) * bool(tree.get("textures"))
  options = {"process": False, "skip_materials": True}
  buffers = [_read_buffer(path, buffer, resolver) for buffer in tree.get("buffers", [])]
  if draco.EXTENSION in tree.get("extensionsUsed", []):
    tree, body = draco.unpack(tree, buffers, path)  # without colours
    _check_tree(tree)
    mesh = trimesh.load_mesh(io.BytesIO(_pack(tree, body)), file_type="glb", **options)
    return mesh.vertices, mesh.faces, None, textured + ("colours",) * coloured
  _check_tree(tree)
  scene = trimesh.load_scene(path, resolver=resolver, **options)
  vertices, faces, colours, normals = _join(scene, tree, buffers)
  left_out = textured + ("colours",) * (coloured and colours is None)
  return vertices, faces, colours, left_out, normals


def _join(scene: trimesh.Scene, tree: dict[str, Any], buffers: list[bytes]) -> tuple:
  """The parts of a scene, each wherever a node stands: vertices, triangles, colours if
  all have them, and normals if it has no triangles and all have them."""
  # Trimesh names a geometry for each primitive but fans and loops, in their order.
  primitives = [part for mesh in tree.get("meshes", []) for part in mesh["primitives"]]
  primitives = [part for part in primitives if part.get("mode", 4) in _GEOMETRIES]
  names = dict(zip(scene.geometry, primitives, strict=True))
  is_cloud = any(part.get("mode") == _POINTS for _, part in _primitives(tree))
  wanted = trimesh.PointCloud if is_cloud else trimesh.Trimesh
  vertices, faces, colours, normals, count = [], [], [], [], 0
  for node in scene.graph.nodes_geometry:
    move, name = scene.graph[node]
    part, primitive = scene.geometry[name], names[name]
    if not isinstance(part, wanted):
      continue
    vertices.append(trimesh.transform_points(part.vertices, move))
    colours.append(_colours_of(tree, buffers, primitive, len(part.vertices)))
    linear = move[:3, :3]
    if not is_cloud:
      turned = part.faces[:, ::-1] if np.linalg.det(linear) < 0 else part.faces
      faces.append(turned + count)
    elif (table := _read_attribute(tree, buffers, primitive, "NORMAL")) is not None:
      normals.append(table @ np.linalg.pinv(linear))  # by the inverse's transpose
    count += len(part.vertices)
  coloured = bool(colours) and all(each is not None for each in colours)
  directed = bool(normals) and len(normals) == len(vertices)
  return (
    np.concatenate(vertices) if vertices else np.zeros((0, 3)),
    np.concatenate(faces) if faces else np.zeros((0, 3), np.int64),
    np.concatenate(colours) if coloured else None,
    to_unit(np.concatenate(normals)) if directed else None,
  )


def _colours_of(
  tree: dict[str, Any], buffers: list[bytes], primitive: dict[str, Any], count: int
) -> UInt8[np.ndarray, "v 3"] | None:
  """Colours of a primitive's vertices, times that of its material; None without."""
  table = _read_attribute(tree, buffers, primitive, "COLOR_0")
  if table is None or len(table) != count:
    return None
  material = (
    tree.get("materials", [])[primitive["material"]] if "material" in primitive else {}
  )
  factor = material.get("pbrMetallicRoughness", {}).get("baseColorFactor", (1, 1, 1, 1))
  return from_linear(table[:, :3] * np.array(factor[:3]))


def _read_attribute(
  tree: dict[str, Any], buffers: list[bytes], primitive: dict[str, Any], name: str
) -> Float[np.ndarray, "v _"] | None:
  """Numbers of the vertices, integers as shares of the largest; None without data.

  glTF 2.0, sections 3.6.2 and 3.7.2: rows may be interleaved with those of others.
  """
  index = primitive["attributes"].get(name)
  accessor = {} if index is None else tree["accessors"][index]
  if "bufferView" not in accessor or "sparse" in accessor:
    return None
  view = tree["bufferViews"][accessor["bufferView"]]
  kind, width = (
    np.dtype(_TYPES[accessor["componentType"]]),
    _COMPONENTS[accessor["type"]],
  )
  start = view.get("byteOffset", 0) + accessor.get("byteOffset", 0)
  stride = view.get("byteStride", width * kind.itemsize)
  # A view, or each part would copy the rest of the buffer.
  data, count = memoryview(buffers[view["buffer"]])[start:], accessor["count"]
  check_held(
    "bytes of an accessor", (count - 1) * stride + width * kind.itemsize, len(data)
  )
  table = np.ndarray((count, width), kind, data, strides=(stride, kind.itemsize))
  return table / (1.0 if kind.kind == "f" else np.iinfo(kind).max)


def _read_buffer(
  path: pathlib.Path, buffer: dict[str, Any], resolver: _Resolver
) -> bytes:
  """The bytes of a buffer: in a URI, in a file beside it, or in the GLB itself."""
  uri = buffer.get("uri")
  if uri is None:
    data = path.read_bytes()
    start = 20 + struct.unpack("<I", data[12:16])[0]  # of the second chunk
    length = struct.unpack("<I", data[start : start + 4])[0]
    return data[start + 8 : start + 8 + length]
  if uri.startswith("data:"):
    return base64.b64decode(uri.partition(",")[2])
  return resolver.get(uri)


def _pack(tree: dict[str, Any], body: bytes) -> bytes:
  """A GLB file."""
  head = json.dumps(tree).encode()
  head += b" " * (-len(head) % 4)
  body += bytes(-len(body) % 4)
  chunks = struct.pack("<I4s", len(head), b"JSON") + head
  chunks += struct.pack("<I4s", len(body), b"BIN\0") + body
  return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks


def _read_tree(data: bytes, *, binary: bool) -> dict[str, Any]:
  """The JSON of a file."""
  if binary:
    magic, _, total, length, _ = struct.unpack("<4sIIII", data[:20])
    if magic != b"glTF":
      raise ValueError("does not start with glTF")
    check_held("bytes", total, len(data))
    data = data[20 : 20 + length]
  return json.loads(data)


def _check_tree(tree: dict[str, Any]) -> None:
  """Raises ValueError for a scene that Trimesh would read wrongly or in part."""
  used = tree.get("extensionsUsed", [])
  required = tree.get("extensionsRequired", [])
  packed = [name for name in used if "compression" in name]
  if any(name in required for name in packed):
    raise ValueError(f"uses {packed[0]}; export it again without compression (Draco)")
  for name in required:
    if not _OF_LOOKS.fullmatch(name) and name != _SUPPORTED:
      raise ValueError(f"requires {name}, which is not read; export it without that")
  for node in tree.get("nodes", []):
    if _INSTANCING in node.get("extensions", {}):
      raise ValueError(f"uses {_INSTANCING}; export a mesh for every instance")
    if "skin" in node and "mesh" in node:
      raise ValueError("has bones, whose pose is not read; apply it to the mesh first")
  for mesh, primitive in _primitives(tree):
    weights = [*mesh.get("weights", []), *_node_weights(tree)]
    if primitive.get("targets") and any(weights):
      raise ValueError("has morph targets in use; apply them to the mesh first")
    _check_accessors(tree, primitive, packed)
  held = sum(buffer["byteLength"] for buffer in tree.get("buffers", []))
  for accessor in tree.get("accessors", []):  # all of which Trimesh reads
    size = _COMPONENTS[accessor["type"]] * _BYTES[accessor["componentType"]]
    check_held("bytes of an accessor", accessor["count"] * size, held)


def _primitives(tree: dict[str, Any]) -> Iterator[tuple[dict, dict]]:
  """Meshes and their primitives of triangles, or those of points where there are none;
  lines are not read."""
  primitives = [
    (mesh, primitive)
    for mesh in tree.get("meshes", [])
    for primitive in mesh["primitives"]
  ]
  modes = [primitive.get("mode", _TRIANGLES) for _, primitive in primitives]
  is_mesh = any(mode >= _TRIANGLES for mode in modes)
  for pair, mode in zip(primitives, modes, strict=True):
    if (mode >= _TRIANGLES) if is_mesh else (mode == _POINTS):
      yield pair


def _node_weights(tree: dict[str, Any]) -> list[float]:
  return [w for node in tree.get("nodes", []) for w in node.get("weights", [])]


def _check_accessors(tree: dict[str, Any], primitive: dict, packed: list[str]) -> None:
  if primitive.get("mode") == _FAN:
    raise ValueError("has triangle fans, which are not read; triangulate them")
  for index in (primitive["attributes"].get("POSITION"), primitive.get("indices")):
    if index is None:
      continue
    accessor = tree.get("accessors", [])[index]
    if "bufferView" not in accessor or "sparse" in accessor:
      raise ValueError(
        f"accessor {index} has no plain data (sparse, or packed by "
        f"{', '.join(packed) or 'an extension'}); export it without compression"
      )
    if accessor.get("normalized") and accessor["componentType"] != _FLOAT:
      raise ValueError(
        f"accessor {index} is quantised; export it without KHR_mesh_quantization"
      )
