"""Triangle meshes on disk (host, numpy).

Shape letters: v vertices, f faces.
"""

import os
import pathlib
from typing import Any, NamedTuple

import numpy as np
import trimesh
from jaxtyping import Float, Int, UInt8

from occnet_jax import files, unreadable
from occnet_jax.geometry import (
  collada,
  extras,
  glb_writer,
  gltf,
  mesh_parsers,
  ply_parser,
  ply_writer,
  threemf,
)
from occnet_jax.geometry.texture import Texture

SUFFIXES = (".3mf", ".dae", ".glb", ".gltf", ".obj", ".off", ".ply", ".stl")  # read
WRITTEN_SUFFIXES = (".glb", ".obj", ".off", ".ply", ".stl")
# Errors of written vertices, relative to the mesh's extent: float32 may have the first,
# a thousandth of a cell of fine grids, and STL, which has nothing else, the second.
PRECISE, COARSE = 1e-6, 1e-4
COLOURED_SUFFIXES = (".glb", ".obj", ".ply")
_NORMALS_OPTION = {  # of Trimesh
  ".glb": "include_normals",
  ".obj": "include_normals",
  ".ply": "vertex_normal",
}


class Geometry(NamedTuple):
  """What a file holds.

  Attributes:
    vertices: (v, 3).
    faces: (f, 3), none in a cloud.
    colours: (v, 3) sRGB of 8 bits; None without.
    left_out: names of what else it has at its vertices.
    normals: (v, 3) of length 1, or 0 where there is none; None without.
  """

  vertices: Float[np.ndarray, "v 3"]
  faces: Int[np.ndarray, "f 3"]
  colours: UInt8[np.ndarray, "v 3"] | None = None
  left_out: tuple[str, ...] = ()
  normals: Float[np.ndarray, "v 3"] | None = None


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
    OSError: the system cannot read it.
  """
  vertices, faces, *_ = read_geometry(path)
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


def read_geometry(path: str | os.PathLike) -> Geometry:
  """As `read_mesh`, of files that may be point clouds: without faces, or not finite.

  Raises:
    ValueError: the file is missing, broken, cut off, compressed with Draco or of
      another format, or has indices out of range.
    OSError: the system cannot read it.
  """
  path = pathlib.Path(path)
  suffix = path.suffix.lower()
  if suffix not in SUFFIXES:
    raise ValueError(f"{path}: suffix {suffix!r}; want one of {' '.join(SUFFIXES)}")
  if not path.is_file():
    raise ValueError(f"{path}: no such file")
  if suffix == ".dae":
    extras.load("collada", path, "pycollada", "dae")
  try:
    vertices, faces, *others = _read(path, suffix)
    vertices = np.array(vertices, np.float64).reshape(-1, 3)
    faces = np.array(faces, np.int64).reshape(-1, 3)
  except extras.MissingLibrary:
    raise
  except Exception as error:  # whatever a parser may raise on a broken file
    reason = unreadable.reason(path, error)
    raise ValueError(
      f"{path}: cannot be read as a mesh ({reason}); "
      "export it again, for example as OBJ or PLY"
    ) from error
  if len(faces) and (faces.min() < 0 or faces.max() >= len(vertices)):
    raise ValueError(
      f"{path}: faces name vertices {faces.min()} to {faces.max()}, but there are "
      f"{len(vertices)}; the file is cut off or broken"
    )
  return Geometry(vertices, faces, *others)


def _read(path: pathlib.Path, suffix: str) -> tuple:
  """The entries of a `Geometry` from the parser of the suffix, or else from Trimesh."""
  if suffix == ".obj":
    return mesh_parsers.parse_obj(path.read_bytes())
  if suffix == ".off":
    return mesh_parsers.parse_off(path.read_bytes())
  if suffix == ".ply":
    return ply_parser.parse_ply(path.read_bytes())
  if suffix == ".dae":
    return collada.parse_collada(path.read_bytes())
  if suffix == ".stl":
    if arrays := mesh_parsers.parse_binary_stl(path.read_bytes()):
      return arrays
    mesh_parsers.check_text_stl(path.read_bytes())
  if suffix == ".3mf":
    return threemf.read_3mf(path)
  if suffix in (".glb", ".gltf"):
    return gltf.read_gltf(path)
  mesh = trimesh.load_mesh(path, process=False, skip_materials=True)
  return mesh.vertices, mesh.faces


def write_mesh(
  path: str | os.PathLike,
  vertices: Float[np.ndarray, "v 3"],
  faces: Int[np.ndarray, "f 3"],
  normals: Float[np.ndarray, "v 3"] | None = None,
  colours: UInt8[np.ndarray, "v 3"] | None = None,
  *,
  texture: Texture | None = None,
) -> None:
  """Writes a mesh in the format of the suffix, atomically.

  PLY and GLB keep float32 where that is exact to PRECISE of the mesh's extent. Farther
  from the origin PLY has doubles, and GLB a node that moves the mesh to its place.

  Args:
    path: the file, with one of WRITTEN_SUFFIXES.
    vertices: positions in any frame and unit.
    faces: triangles, counter-clockwise seen from outside; none for points, which are
      written without normals.
    normals: unit vertex normals for GLB, OBJ and PLY; OFF and STL do not store them.
    colours: sRGB of the vertices for GLB, where they become linear light, OBJ and PLY;
      OFF and STL do not store them either.
    texture: a picture in place of colours, for GLB.

  Raises:
    ValueError: the suffix names no format that can be written, or it is STL, which has
      no points without faces, and whose float32 would move vertices by more than COARSE
      of the mesh's extent; vertices that are not finite in the numbers of the file.
  """
  suffix = check_written_suffix(path)
  _check_written(path, vertices, suffix)
  if texture is not None and suffix != ".glb":
    raise ValueError(f"{path}: a texture is written to GLB; want a name with .glb")
  is_cloud = len(vertices) > 0 and not len(faces)
  if is_cloud:
    normals = None  # Trimesh's are those of faces, so these would be zero
    if suffix == ".stl":
      raise ValueError(f"{path}: STL is for faces, these are points; want .ply or .glb")
  loss = _float32_loss(vertices)
  if suffix == ".stl" and loss > COARSE:
    raise ValueError(
      f"{path}: STL keeps float32, which so far from the origin moves vertices by "
      f"{loss:.2g} of the mesh's extent; want .ply, .glb, .obj or .off"
    )
  with files.atomic_write(path) as scratch:
    if suffix == ".ply" and (loss > PRECISE or colours is not None):
      positions = "<f8" if loss > PRECISE else "<f4"
      scratch.write_bytes(
        ply_writer.encode(vertices, faces, normals, colours, positions=positions)
      )
    elif suffix == ".glb" and (is_cloud or colours is not None or texture is not None):
      centre = (vertices.min(0) + vertices.max(0)) / 2 if loss > PRECISE else None
      moved = vertices if centre is None else vertices - centre
      colours = colours if texture is None else None
      scratch.write_bytes(
        glb_writer.encode(moved, faces, normals, colours, centre, texture)
      )
    elif suffix == ".glb" and loss > PRECISE:
      centre = (vertices.min(0) + vertices.max(0)) / 2
      mesh = _with_normals(vertices - centre, faces, normals)
      move = trimesh.transformations.translation_matrix(centre)
      scene = trimesh.Scene()
      scene.add_geometry(mesh, transform=move)
      scene.export(scratch, file_type="glb", include_normals=normals is not None)
    else:
      options: dict[str, Any] = {}
      if suffix in _NORMALS_OPTION:
        options[_NORMALS_OPTION[suffix]] = normals is not None
      if suffix in (".obj", ".off") and (digits := _decimals(vertices)) > 8:
        options["digits"] = digits
      mesh = _with_normals(vertices, faces, normals)
      if suffix == ".obj" and colours is not None:
        mesh.visual = trimesh.visual.ColorVisuals(mesh, vertex_colors=colours)
      mesh.export(scratch, file_type=suffix[1:], **options)


def _check_written(
  path: str | os.PathLike, vertices: Float[np.ndarray, "v 3"], suffix: str
) -> None:
  """Raises ValueError for vertices that no program could read from the file."""
  if not len(vertices):
    return  # an empty mesh of a sequence keeps its place
  if wrong := np.count_nonzero(~np.isfinite(vertices).all(1)):
    raise ValueError(
      f"{path}: {wrong:,} of {len(vertices):,} vertices are not finite (NaN or "
      "infinity), want none; remove them and their faces"
    )
  largest = np.abs(vertices).max()
  if suffix in (".glb", ".stl") and largest > np.finfo(np.float32).max:
    raise ValueError(
      f"{path}: has a coordinate of {largest:.2g}, for which float32 has no number; "
      "want .ply, .obj or .off, or another unit"
    )


def _with_normals(
  vertices: Float[np.ndarray, "v 3"],
  faces: Int[np.ndarray, "f 3"],
  normals: Float[np.ndarray, "v 3"] | None,
) -> trimesh.Trimesh:
  return trimesh.Trimesh(vertices, faces, vertex_normals=normals, process=False)


def _float32_loss(vertices: Float[np.ndarray, "v 3"]) -> float:
  """The largest error of a coordinate in float32, relative to the mesh's extent."""
  extent = _extent(vertices)
  if not extent > 0:
    return 0.0
  with np.errstate(over="ignore"):  # infinity is its own error
    rounded = vertices.astype(np.float32).astype(np.float64)
  return float(np.abs(rounded - vertices).max() / extent)


def _decimals(vertices: Float[np.ndarray, "v 3"]) -> int:
  """Digits behind the point that are exact to 1e-8 of the mesh's extent."""
  extent = _extent(vertices)
  return 8 - int(np.floor(np.log10(extent))) if extent > 0 else 0


def _extent(vertices: Float[np.ndarray, "v 3"]) -> float:
  """The largest side of the bounding box; 0 if that is no finite number."""
  extent = float(np.ptp(vertices, axis=0).max()) if len(vertices) else 0.0
  return extent if np.isfinite(extent) else 0.0


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
