"""The files of reconstructions: a mesh for each shape, or a set of points (host)."""

import pathlib
import zlib
from typing import Any

import numpy as np
import trimesh
from jaxtyping import Float, Int

from occnet_jax import files
from occnet_jax.geometry import mesh_io, pointcloud_io

STORED = "stored"  # field of a row, see `describe`
Row = dict[str, Any]  # of a shape: `category`, `id` and what `write` returns


def mesh_path(
  directory: pathlib.Path, category: str, id: str, form: str
) -> pathlib.Path:
  """Path of a shape's mesh; ValueError for names that are not of files."""
  files.check_names(category, id, source="the data set or the list of meshes")
  return directory / "meshes" / category / f"{id}.{form}"


def row_path(directory: pathlib.Path, row: Row, form: str) -> pathlib.Path:
  """Path of the reconstruction that a row is of; points are PLY in any case."""
  form = "ply" if is_points(row) else form
  return mesh_path(directory, row["category"], row["id"], form)


def is_points(row: Row) -> bool:
  """Whether a reconstruction is points: vertices without faces."""
  return bool(row.get("vertices")) and not row.get("faces")


def describe(content: bytes) -> str:
  """What a row keeps of its file, to notice another."""
  return f"{len(content)} bytes, CRC-32 {zlib.crc32(content):08x}"


def is_stored(directory: pathlib.Path, row: Row, form: str) -> bool:
  """Whether the reconstruction of a row is there, in its length; an empty one has no
  file."""
  if not row.get("vertices", row["faces"]):
    return True
  path = row_path(directory, row, form)
  length = str(row.get(STORED, "")).partition(" ")[0]
  return path.exists() and length in ("", str(path.stat().st_size))


def write(mesh: trimesh.Trimesh, path: pathlib.Path) -> Row:
  """Writes a reconstruction; its counts and the numbers of its metadata.

  Points become a PLY file in any case; of an empty one an older file is removed.

  Args:
    mesh: a mesh, or points as its vertices.
    path: file of the mesh.
  """
  counts = {"vertices": len(mesh.vertices), "faces": len(mesh.faces)}
  if is_points(counts):
    path = path.with_suffix(".ply")
    with files.atomic_write(path) as scratch:
      trimesh.PointCloud(mesh.vertices).export(scratch, file_type="ply")
  elif counts["faces"]:
    mesh_io.write_mesh(path, mesh.vertices, mesh.faces, np.asarray(mesh.vertex_normals))
  else:
    path.unlink(missing_ok=True)
  facts = {k: v for k, v in mesh.metadata.items() if isinstance(v, int | float)}
  if path.exists():
    facts[STORED] = describe(path.read_bytes())
  return counts | facts


def read(
  directory: pathlib.Path, row: Row, form: str, *, as_written: bool = False
) -> tuple[Float[np.ndarray, "v 3"], Int[np.ndarray, "f 3"]]:
  """Vertices and faces of a reconstruction; points have no faces.

  Args:
    directory: directory of the run.
    row: the row of the shape.
    form: mesh format of the files.
    as_written: whether to refuse a file that has changed since.

  Raises:
    ValueError: the file cannot be read, or has changed.
  """
  none = np.zeros((0, 3), np.int64)
  if as_written and row.get("vertices", row["faces"]) and STORED in row:
    path = row_path(directory, row, form)
    if path.exists() and describe(path.read_bytes()) != row[STORED]:
      raise ValueError(
        f"{path}: is not the file that was generated; remove it, and run "
        "--mode=generate again"
      )
  if is_points(row):
    return pointcloud_io.read_cloud(row_path(directory, row, form)), none
  if not row["faces"]:
    return np.zeros((0, 3)), none
  return mesh_io.read_mesh(row_path(directory, row, form))
