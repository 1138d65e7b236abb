"""Triangle meshes on disk (host, numpy).

Shape letters: v vertices, f faces.
"""

import importlib.util
import os
import pathlib

import numpy as np
import trimesh
from jaxtyping import Float, Int

from occnet_jax import files
from occnet_jax.geometry import collada, gltf, mesh_parsers, ply_parser

SUFFIXES = (".dae", ".glb", ".gltf", ".obj", ".off", ".ply", ".stl")  # that can be read
WRITTEN_SUFFIXES = (".glb", ".obj", ".off", ".ply", ".stl")


def read_mesh(
  path: str | os.PathLike,
) -> tuple[Float[np.ndarray, "v 3"], Int[np.ndarray, "f 3"]]:
  """Vertices and triangles of a mesh file; the parts of a scene are put together.

  Polygons are triangulated. Vertices stay as the file has them: where it repeats them
  (STL always) they are not welded. DAE needs the package pycollada; its up axis
  becomes y.

  Raises:
    ValueError: the file is missing, broken, cut off, compressed with Draco, of another
      format, without faces, or has indices out of range or coordinates that are not
      finite.
  """
  vertices, faces = read_geometry(path)
  check_mesh(path, vertices, faces)
  return vertices, faces


def check_mesh(
  path: str | os.PathLike,
  vertices: Float[np.ndarray, "v 3"],
  faces: Int[np.ndarray, "f 3"],
) -> None:
  """Raises ValueError for a file without faces or with vertices that are not finite."""
  if not len(faces):
    raise ValueError(f"{path}: has no faces; want a triangle mesh, not points or lines")
  if bad := np.count_nonzero(~np.isfinite(vertices).all(1)):
    raise ValueError(
      f"{path}: {bad} vertices are not finite (NaN or infinity); export it again"
    )


def read_geometry(
  path: str | os.PathLike,
) -> tuple[Float[np.ndarray, "v 3"], Int[np.ndarray, "f 3"]]:
  """As `read_mesh`, of files that may be point clouds: without faces, or not finite.

  Raises:
    ValueError: the file is missing, broken, cut off, compressed with Draco or of
      another format, or has indices out of range.
  """
  path = pathlib.Path(path)
  suffix = path.suffix.lower()
  if suffix not in SUFFIXES:
    raise ValueError(f"{path}: suffix {suffix!r}; want one of {' '.join(SUFFIXES)}")
  if not path.is_file():
    raise ValueError(f"{path}: no such file")
  if suffix == ".dae" and importlib.util.find_spec("collada") is None:
    raise ValueError(f"{path}: DAE needs another package: pip install pycollada")
  try:
    vertices, faces = _read(path, suffix)
    vertices = np.array(vertices, np.float64).reshape(-1, 3)
    faces = np.array(faces, np.int64).reshape(-1, 3)
  except Exception as error:  # whatever a parser may raise on a broken file
    raise ValueError(
      f"{path}: cannot be read as a mesh ({type(error).__name__}: {error}); "
      "export it again, for example as OBJ or PLY"
    ) from error
  if len(faces) and (faces.min() < 0 or faces.max() >= len(vertices)):
    raise ValueError(
      f"{path}: faces name vertices {faces.min()} to {faces.max()}, but there are "
      f"{len(vertices)}; the file is cut off or broken"
    )
  return vertices, faces


def _read(path: pathlib.Path, suffix: str) -> mesh_parsers.Arrays:
  """Arrays from the parser of the suffix, or else from Trimesh."""
  if suffix == ".obj":
    return mesh_parsers.parse_obj(path.read_bytes())
  if suffix == ".off":
    return mesh_parsers.parse_off(path.read_bytes())
  if suffix == ".ply":
    return ply_parser.parse_ply(path.read_bytes())
  if suffix == ".dae":
    return collada.parse_collada(path.read_bytes())
  if suffix == ".stl" and (arrays := mesh_parsers.parse_binary_stl(path.read_bytes())):
    return arrays
  if suffix in (".glb", ".gltf"):
    return gltf.read_gltf(path)
  mesh = trimesh.load_mesh(path, process=False, skip_materials=True)
  return mesh.vertices, mesh.faces


def write_mesh(
  path: str | os.PathLike,
  vertices: Float[np.ndarray, "v 3"],
  faces: Int[np.ndarray, "f 3"],
  normals: Float[np.ndarray, "v 3"] | None = None,
) -> None:
  """Writes a mesh in the format of the suffix, atomically.

  Args:
    path: the file, with one of WRITTEN_SUFFIXES.
    vertices: positions in any frame; PLY, GLB and STL keep float32.
    faces: triangles, counter-clockwise seen from outside.
    normals: unit vertex normals for GLB, OBJ and PLY; OFF and STL do not store them.

  Raises:
    ValueError: the suffix names no format that can be written.
  """
  suffix = check_written_suffix(path)
  mesh = trimesh.Trimesh(vertices, faces, vertex_normals=normals, process=False)
  options = {}
  if suffix == ".ply":
    options["vertex_normal"] = normals is not None
  elif suffix in (".glb", ".obj"):
    options["include_normals"] = normals is not None
  with files.atomic_write(path) as scratch:
    mesh.export(scratch, file_type=suffix[1:], **options)


def check_written_suffix(path: str | os.PathLike) -> str:
  """The suffix of a mesh file to write.

  Raises:
    ValueError: it names no format that can be written.
  """
  suffix = pathlib.Path(path).suffix.lower()
  if suffix not in WRITTEN_SUFFIXES:
    raise ValueError(
      f"{path}: cannot write {suffix!r}; want one of {' '.join(WRITTEN_SUFFIXES)}"
    )
  return suffix
