"""Triangle meshes on disk, and the frame of the unit cube (host, numpy).

Shape letters: v vertices, f faces.
"""

import os
import pathlib

import numpy as np
import trimesh
from jaxtyping import Float, Int

from occnet_jax import files

SUFFIXES = (".glb", ".gltf", ".obj", ".off", ".ply", ".stl")  # that can be read
WRITTEN_SUFFIXES = (".glb", ".obj", ".off", ".ply", ".stl")


def read_mesh(
  path: str | os.PathLike,
) -> tuple[Float[np.ndarray, "v 3"], Int[np.ndarray, "f 3"]]:
  """Vertices and triangles of a mesh file; the parts of a scene are put together.

  Polygons are cut into fans. Vertices stay as the file has them: where it repeats them
  (STL always, OBJ at texture seams) they are not welded.

  Raises:
    ValueError: the file is missing, broken, compressed with Draco, of another format,
      without faces, or has indices out of range or coordinates that are not finite.
  """
  path = pathlib.Path(path)
  suffix = path.suffix.lower()
  if suffix not in SUFFIXES:
    raise ValueError(f"{path}: suffix {suffix!r}; want one of {' '.join(SUFFIXES)}")
  if not path.is_file():
    raise ValueError(f"{path}: no such file")
  try:
    if suffix == ".off":
      vertices, faces = _parse_off(path.read_text())
    else:
      # Trimesh loads what Draco packed as points without extent, without a word.
      if suffix in (".glb", ".gltf") and b"draco" in path.read_bytes():
        raise ValueError("Draco compression; export it again without compression")
      mesh = trimesh.load_mesh(path, process=False, skip_materials=True)
      vertices, faces = mesh.vertices, mesh.faces
    vertices = np.array(vertices, np.float64).reshape(-1, 3)
    faces = np.array(faces, np.int64).reshape(-1, 3)
  except Exception as error:  # whatever a parser may raise on a broken file
    raise ValueError(
      f"{path}: cannot be read as a mesh ({type(error).__name__}: {error}); "
      "export it again, for example as OBJ or PLY"
    ) from error
  if not len(faces):
    raise ValueError(f"{path}: has no faces; want a triangle mesh, not points or lines")
  if faces.min() < 0 or faces.max() >= len(vertices):
    raise ValueError(
      f"{path}: faces name vertices {faces.min()} to {faces.max()}, but there are "
      f"{len(vertices)}; the file is cut off or broken"
    )
  if bad := np.count_nonzero(~np.isfinite(vertices).all(1)):
    raise ValueError(
      f"{path}: {bad} vertices are not finite (NaN or infinity); export it again"
    )
  return vertices, faces


def write_mesh(
  path: str | os.PathLike,
  vertices: Float[np.ndarray, "v 3"],
  faces: Int[np.ndarray, "f 3"],
  normals: Float[np.ndarray, "v 3"] | None = None,
) -> None:
  """Writes a mesh in the format of the suffix; the file is there whole or not at all.

  Args:
    path: ends in one of WRITTEN_SUFFIXES.
    vertices: in any frame; PLY, GLB and STL keep float32.
    faces: counter-clockwise seen from outside.
    normals: unit vertex normals for GLB, OBJ and PLY; OFF and STL have no place for
      them.

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
  with files.write_aside(path) as scratch:
    mesh.export(scratch, file_type=suffix[1:], **options)


def check_written_suffix(path: str | os.PathLike) -> str:
  """The suffix of a mesh file to write; ValueError if it names no such format."""
  suffix = pathlib.Path(path).suffix.lower()
  if suffix not in WRITTEN_SUFFIXES:
    raise ValueError(
      f"{path}: cannot write {suffix!r}; want one of {' '.join(WRITTEN_SUFFIXES)}"
    )
  return suffix


def unit_cube_frame(
  vertices: Float[np.ndarray, "v 3"],
) -> tuple[Float[np.ndarray, "3"], float]:
  """Centre of the bounding box and its largest extent.

  `(vertices - loc) / scale` lies in the unit cube [-0.5, 0.5]^3 and touches it.

  Raises:
    ValueError: there are no vertices, or all lie in one place.
  """
  if not len(vertices):
    raise ValueError("0 vertices; want a mesh that has some")
  lower, upper = vertices.min(0), vertices.max(0)
  scale = float((upper - lower).max())
  if not (np.isfinite(scale) and scale > 0):
    raise ValueError(f"the largest extent is {scale}; want a finite one above 0")
  return (lower + upper) / 2, scale


def _parse_off(text: str) -> tuple[Float[np.ndarray, "v 3"], Int[np.ndarray, "f 3"]]:
  """OFF with polygons of any size; Trimesh fails from five sides on."""
  lines = [line.partition("#")[0].strip() for line in text.splitlines()]
  lines = [line for line in lines if line]
  keyword, _, counts = (lines[0] if lines else "").partition("OFF")
  if keyword not in ("", "C", "N", "CN", "ST") or "OFF" not in (lines or [""])[0]:
    raise ValueError("does not start with OFF")
  rest = lines[1:]
  if not counts:  # else "OFF8 12 0", as in ModelNet
    counts, rest = rest[0], rest[1:]
  vertex_count, face_count = (int(word) for word in counts.split()[:2])
  rows = rest[vertex_count : vertex_count + face_count]
  if len(rows) < face_count:
    raise ValueError(f"ends after {len(rows)} of {face_count} faces")
  if not rows:
    return np.zeros((0, 3)), np.zeros((0, 3), np.int64)
  vertices = np.loadtxt(rest[:vertex_count], usecols=(0, 1, 2), ndmin=2)
  if all(row.startswith("3 ") for row in rows):
    return vertices, np.loadtxt(rows, np.int64, usecols=(1, 2, 3), ndmin=2)
  triangles = []
  for row in rows:
    words = row.split()
    sides = int(words[0])
    corners = [int(word) for word in words[1 : 1 + sides]]  # colours may follow
    if len(corners) < sides:
      raise ValueError(f"a face names {len(corners)} of {sides} vertices")
    triangles += [[corners[0], corners[i], corners[i + 1]] for i in range(1, sides - 1)]
  return vertices, np.array(triangles)
