"""Templates of Pixel2Mesh from files: meshes, and the published ellipsoid (host).

`info_ellipsoid.dat` of the published code is a pickle of Python 2, a tuple of eight:
coordinates (v, 3) in the camera's frame, three of graph filters, edges that unpooling
halves, two that nothing reads, and tables (v, 10) of neighbours: eight numbers filled
up with -1, the vertex' own and its degree, a table for each stage. Only coordinates and
the first table are used here: faces are the triangles of the graph, and the rest
follows from them. Nothing of the file is executed: names that are not of arrays are
refused.

Shape letters: v vertices, f faces, e edges.
"""

import os
import pathlib
import pickle
from typing import Any

import numpy as np
import trimesh
from jaxtyping import Float, Int

from occnet_jax.geometry import mesh_io

PUBLISHED_SCALE = 0.57  # of the unit cube in the frame of the published template
NEIGHBOURS = 8  # columns of a table of neighbours that hold them
MAX_BYTES = 64 << 20  # the published file has less than 1 MB

Template = tuple[Float[np.ndarray, "v 3"], Int[np.ndarray, "f 3"]]


def read_template(path: str | os.PathLike) -> Template:
  """Vertices and faces of a sphere in any shape, wound outward.

  Args:
    path: a mesh file, in cube units around the origin, or a .dat file of the published
      code, whose vertices are in front of the camera.

  Raises:
    ValueError: the file cannot be read, or is no closed sphere.
  """
  path = pathlib.Path(path).expanduser()
  if path.suffix == ".dat":
    vertices, faces = _read_published(path)
  else:
    vertices, faces = mesh_io.read_mesh(path)
  return vertices, _check_sphere(path, vertices, faces)


def _check_sphere(
  path: pathlib.Path, vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"]
) -> Int[np.ndarray, "f 3"]:
  """The faces of a closed sphere, turned outward.

  Raises:
    ValueError: open edges, unequal winding, several parts, handles, or no volume.
  """
  mesh = trimesh.Trimesh(vertices, faces, process=False)
  reason = ""
  if len(mesh.vertices) and not np.isin(np.arange(len(vertices)), faces).all():
    reason = "has vertices without a face"
  elif not len(faces) or not mesh.is_watertight:
    reason = "has open edges"
  elif mesh.body_count != 1:
    reason = f"has {mesh.body_count} parts"
  elif mesh.euler_number != 2:
    reason = f"has {1 - mesh.euler_number // 2} handles"
  elif not mesh.is_winding_consistent:
    reason = "has faces wound in both directions"
  if not reason and abs(mesh.volume) <= 0:
    reason = "has no volume"
  if reason:
    raise ValueError(
      f"{path}: the template {reason}; want a closed sphere of one part, such as "
      "trimesh.creation.icosphere(2), or config.model.template_file='' for the built-in"
    )
  faces = np.asarray(mesh.faces, np.int64)
  return faces if mesh.volume > 0 else faces[:, ::-1]


def _read_published(path: pathlib.Path) -> Template:
  if path.stat().st_size > MAX_BYTES:
    raise ValueError(f"{path}: more than {MAX_BYTES >> 20} MB; want info_ellipsoid.dat")
  with path.open("rb") as file:
    try:
      content = _ArraysOnly(file, encoding="latin1").load()
      vertices = np.asarray(content[0], np.float64)
      neighbours = np.asarray(content[7][0])[:, :NEIGHBOURS].astype(np.int64)
    except MemoryError:
      raise
    except Exception as error:  # pickle raises whatever its opcodes meet first
      raise ValueError(
        f"{path}: cannot be read as info_ellipsoid.dat of the published code "
        f"({str(error) or type(error).__name__}); want that file, or a mesh file"
      ) from error
  if vertices.shape != (len(neighbours), 3) or neighbours.max() >= len(vertices):
    raise ValueError(
      f"{path}: {vertices.shape} coordinates and neighbours of {len(neighbours)} "
      "vertices; want as many of one as of the other"
    )
  # The published frame has x right, y up and z backward; here y is down, z forward.
  vertices = vertices / PUBLISHED_SCALE * np.array([[1.0, -1.0, -1.0]])
  faces = _graph_triangles(neighbours)
  a, b, c = np.moveaxis(vertices[faces], 1, 0)
  # An ellipsoid is convex: a normal that points to its middle is turned.
  outward = ((a - vertices.mean(0)[None]) * np.cross(b - a, c - a)).sum(1) > 0
  return vertices, np.where(outward[:, None], faces, faces[:, ::-1])


def _graph_triangles(neighbours: Int[np.ndarray, "v k"]) -> Int[np.ndarray, "f 3"]:
  """The triples of vertices that are all neighbours of one another, not yet wound."""
  own = [{int(j) for j in row if j >= 0} - {i} for i, row in enumerate(neighbours)]
  triples = [
    (i, j, k)
    for i, nearby in enumerate(own)
    for j in nearby
    for k in nearby & own[j]
    if i < j < k
  ]
  return np.array(sorted(triples), np.int64).reshape(-1, 3)


def _reconstruct(kind: type, shape: Any, code: Any) -> np.ndarray:
  """NumPy's own, of empty arrays alone: their content follows with its size."""
  if kind is not np.ndarray or tuple(shape) != (0,):
    raise pickle.UnpicklingError(f"an array of {kind} {shape}; want an empty one")
  return np.ndarray(0, "b")


def _encode(text: str, encoding: str) -> bytes:
  """Bytes as protocol 2 of Python 3 has them."""
  return text.encode(encoding)


_ALLOWED = {
  ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
  ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
  ("numpy", "ndarray"): np.ndarray,
  ("numpy", "dtype"): np.dtype,
  ("_codecs", "encode"): _encode,
}


class _ArraysOnly(pickle.Unpickler):
  """Tuples, lists, numbers and NumPy arrays; no other name is looked up."""

  def find_class(self, module: str, name: str) -> Any:
    if (module, name) not in _ALLOWED:
      raise pickle.UnpicklingError(f"names {module}.{name}; want arrays alone")
    return _ALLOWED[module, name]
