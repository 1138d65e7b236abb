"""Meshes and point clouds as GLB bytes, small enough to sit in a page (host).

A mesh has smooth normals except at its creases. A cloud is one ball or disc, drawn once
per point (glTF extension EXT_mesh_gpu_instancing): 12 or 20 bytes per point, where a
triangle mesh of balls takes hundreds. Trimesh does not write that extension, so the
container is written here (glTF 2.0 specification, section 4.4), for plain meshes too:
trimesh's file of 10,000 faces is 32 % larger, as its indices have four bytes, and its
colours have 256 levels.

Shape letters: n points, v vertices, f faces.
"""

import json
import struct

import igl
import numpy as np
import trimesh
from jaxtyping import Float, Int
from scipy.spatial import cKDTree

from occnet_jax.extract.mesh.simplify import simplify
from occnet_jax.geometry import surface_sampling

MAX_FACES = 10_000
MAX_BALLS = 3_000
MAX_DISCS = 12_000
CREASE_DEGREES = 35.0  # the normals of faces that meet at more are not averaged

_COMPONENT_TYPES = {"float32": 5126, "int16": 5122, "uint16": 5123, "uint32": 5125}
_ELEMENT_TYPES = {(): "SCALAR", (3,): "VEC3", (4,): "VEC4"}

Points = Float[np.ndarray, "n 3"]


def mesh_glb(
  vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"], colour: str
) -> bytes:
  """A mesh in one colour, simplified to about MAX_FACES faces.

  Args:
    vertices: vertices in the cube's frame, y up.
    faces: vertex indices of at least one face.
    colour: "#rrggbb".
  """
  if len(faces) > MAX_FACES:
    if not igl.is_edge_manifold(np.asarray(faces, np.int64))[0]:  # cannot be collapsed
      drawn = surface_sampling.sample(
        vertices, faces, MAX_DISCS, np.random.default_rng(0)
      )
      return surface_glb(*drawn, colour)
    vertices, faces = simplify(vertices, faces, MAX_FACES)
  return _encode(_with_creases(vertices, faces), {}, colour)


def cloud_glb(points: Points, colour: str) -> bytes:
  """A cloud as balls, at most MAX_BALLS of them, smaller the more there are."""
  points = points[_evenly_spaced(len(points), MAX_BALLS)]
  radius = float(np.clip(0.012 * (300 / len(points)) ** 0.5, 0.004, 0.016))
  ball = trimesh.creation.icosphere(1 if len(points) <= 1000 else 0, radius)
  shape = (ball.vertices, ball.vertices / radius, ball.faces)
  return _encode(shape, {"TRANSLATION": points}, colour)


def surface_glb(points: Points, normals: Points, colour: str) -> bytes:
  """A densely sampled surface as overlapping discs that face along the normals."""
  chosen = _evenly_spaced(len(points), MAX_DISCS)
  points, normals = points[chosen], normals[chosen]
  angles = np.arange(6) * np.pi / 3
  hexagon = np.stack([np.cos(angles), np.sin(angles), np.zeros(6)], axis=1)
  shape = (
    hexagon * _covering_radius(points),
    np.tile([0.0, 0.0, 1.0], (6, 1)),
    np.array([[0, i, i + 1] for i in range(1, 5)]),
  )
  rotations = np.rint(_rotations_from_z(normals) * 32767).astype(np.int16)
  return _encode(shape, {"TRANSLATION": points, "ROTATION": rotations}, colour)


def _evenly_spaced(count: int, limit: int) -> np.ndarray:
  return np.linspace(0, count - 1, min(count, limit)).astype(np.int64)


def _covering_radius(points: Points) -> float:
  """The radius of discs that leave about 3/1000 of the surface uncovered.

  In a Poisson cloud the mean distance to the nearest neighbour is half the square root
  of the area per point, and exp(-area of a disc / area per point) stays uncovered.
  """
  nearest = cKDTree(points).query(points, k=2)[0][:, -1]
  area = (2 * nearest.mean()) ** 2
  return float(np.clip((np.log(300) * area / np.pi) ** 0.5, 0.004, 0.05))


def _rotations_from_z(normals: Points) -> Float[np.ndarray, "n 4"]:
  """Quaternions (x, y, z, w) of the shortest rotations from the z axis to normals."""
  x, y, z = (normals / np.linalg.norm(normals, axis=1, keepdims=True)).T
  rotations = np.stack([-y, x, np.zeros_like(x), 1 + z], axis=1)
  rotations[z < -1 + 1e-6] = [1, 0, 0, 0]  # opposite: any half turn (float32 included)
  return rotations / np.linalg.norm(rotations, axis=1, keepdims=True)


def _with_creases(vertices, faces) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Vertices, normals and faces; a vertex on a sharp edge is there once per side."""
  normals = igl.per_corner_normals(
    np.asarray(vertices, np.float64), np.asarray(faces, np.int64), CREASE_DEGREES
  )
  corners = np.column_stack([faces.reshape(-1), np.rint(normals * 64)])
  _, first, corner = np.unique(corners, axis=0, return_index=True, return_inverse=True)
  kept = faces.reshape(-1)[first]
  return vertices[kept], normals[first], corner.reshape(-1, 3)


def _encode(
  shape: tuple[np.ndarray, np.ndarray, np.ndarray],
  instances: dict[str, np.ndarray],
  colour: str,
) -> bytes:
  """One node that draws a shape; with `instances`, once for each of them.

  Args:
    shape: vertices, normals and faces.
    instances: TRANSLATION and ROTATION of each instance, or nothing.
    colour: "#rrggbb".
  """
  vertices, normals, faces = shape
  attributes = {"POSITION": vertices, "NORMAL": normals}
  # Model-viewer complains of an instanced mesh unless it is in a group, which takes two
  # primitives, and unless the extras name its origin.
  parts = np.array_split(faces, 2 if instances else 1)
  index = np.uint16 if len(vertices) < 2**16 else np.uint32
  arrays = {f"part {i}": part.reshape(-1).astype(index) for i, part in enumerate(parts)}
  for name, array in (attributes | instances).items():
    arrays[name] = array if array.dtype == np.int16 else array.astype(np.float32)
  number = {name: i for i, name in enumerate(arrays)}
  views, body = [], b""
  for array in arrays.values():
    data = array.tobytes()
    views.append({"buffer": 0, "byteOffset": len(body), "byteLength": len(data)})
    body += data + bytes(-len(data) % 4)
  primitives = [
    {
      "attributes": {name: number[name] for name in attributes},
      "indices": number[f"part {i}"],
      "material": 0,
    }
    for i in range(len(parts))
  ]
  origin = {"associations": {"meshes": 0, "primitives": 0}}
  node = {"mesh": 0}
  document = {
    "asset": {"version": "2.0"},
    "scene": 0,
    "scenes": [{"nodes": [0]}],
    "nodes": [node],
    "meshes": [{"primitives": primitives, "extras": origin}],
    "materials": [_material(colour)],
    "buffers": [{"byteLength": len(body)}],
    "bufferViews": views,
    "accessors": [_accessor(name, arrays[name], number[name]) for name in arrays],
  }
  if instances:
    extension = "EXT_mesh_gpu_instancing"
    node["extensions"] = {extension: {"attributes": {n: number[n] for n in instances}}}
    document["extensionsUsed"] = document["extensionsRequired"] = [extension]
  return _container(json.dumps(document).encode(), body)


def _accessor(name: str, array: np.ndarray, view: int) -> dict:
  accessor = {
    "bufferView": view,
    "componentType": _COMPONENT_TYPES[array.dtype.name],
    "count": len(array),
    "type": _ELEMENT_TYPES[array.shape[1:]],
    "normalized": array.dtype == np.int16,
  }
  if name == "POSITION":  # the one attribute whose bounds glTF wants
    accessor |= {"min": array.min(axis=0).tolist(), "max": array.max(axis=0).tolist()}
  return accessor


def _material(colour: str) -> dict:
  encoded = np.frombuffer(bytes.fromhex(colour.removeprefix("#")), np.uint8) / 255
  linear = np.where(
    encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4
  )
  return {
    "doubleSided": True,
    "pbrMetallicRoughness": {
      "baseColorFactor": [*linear.round(4).tolist(), 1.0],
      "metallicFactor": 0.0,
      "roughnessFactor": 0.85,
    },
  }


def _container(document: bytes, body: bytes) -> bytes:
  document += b" " * (-len(document) % 4)
  chunks = struct.pack("<I4s", len(document), b"JSON") + document
  chunks += struct.pack("<I4s", len(body), b"BIN\0") + body
  return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks
