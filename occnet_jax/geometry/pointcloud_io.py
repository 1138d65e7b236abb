"""Point clouds on disk, and the frame that a network sees them in (host, numpy).

Shape letters: n input points.
"""

import os
import pathlib
import re

import numpy as np
import trimesh
from jaxtyping import Float

from occnet_jax.geometry import mesh_io, surface_sampling

TEXT_SUFFIXES = (".csv", ".pts", ".txt", ".xyz")
SUFFIXES = tuple(sorted((*mesh_io.SUFFIXES, *TEXT_SUFFIXES, ".npy", ".npz")))
MIN_POINTS = 3
MESH_SAMPLES = 100_000
Points = Float[np.ndarray, "n 3"]


def read_cloud(path: str | os.PathLike, *, seed: int = 0) -> Points:
  """Points of a cloud file, or points drawn on the surface of a mesh file.

  PLY, OBJ and OFF files with faces, and STL, GLB and glTF, are meshes: MESH_SAMPLES
  points are drawn uniformly by area. Without faces, their vertices are the cloud. Text
  has one point per line, columns split by blanks, commas or semicolons; columns after
  the third, a heading and lines that start with # are passed over. NPY holds (n, 3) or
  more columns, NPZ the same under the key `points`.

  Args:
    path: ends in one of SUFFIXES.
    seed: for the points drawn on a mesh.

  Raises:
    ValueError: the file is missing, broken or of another format, has fewer than
      MIN_POINTS points or all of them in one place, or has coordinates that are not
      finite.
  """
  path = pathlib.Path(path)
  suffix = path.suffix.lower()
  if suffix not in SUFFIXES:
    raise ValueError(f"{path}: suffix {suffix!r}; want one of {' '.join(SUFFIXES)}")
  if not path.is_file():
    raise ValueError(f"{path}: no such file")
  if suffix in mesh_io.SUFFIXES and _has_faces(path, suffix):
    return _sample_mesh(path, seed)
  try:
    points = np.asarray(_read_points(path, suffix))
    if points.ndim != 2 or points.shape[1] < 3:
      raise ValueError(f"shape {points.shape}, want (n, 3)")
    points = points[:, :3].astype(np.float64)
  except Exception as error:  # whatever a parser may raise on a broken file
    raise ValueError(
      f"{path}: cannot be read as a point cloud ({type(error).__name__}: {error}); "
      "want x y z per line, or export it as PLY"
    ) from error
  check_cloud(points, str(path))
  return points


def _sample_mesh(path: pathlib.Path, seed: int) -> Points:
  vertices, faces = mesh_io.read_mesh(path)
  try:
    points, _ = surface_sampling.sample(
      vertices, faces, MESH_SAMPLES, np.random.default_rng(seed)
    )
  except ValueError as error:
    raise ValueError(f"{path}: {error}") from error
  return points


def _has_faces(path: pathlib.Path, suffix: str) -> bool:
  """Whether a file of a format for meshes holds one; the header tells, or the lines."""
  if suffix == ".ply":
    header = path.read_bytes()[:65536].partition(b"end_header")[0]
    return re.search(rb"element\s+face\s+0*[1-9]", header) is not None
  if suffix == ".obj":
    with path.open("rb") as file:
      return any(line.startswith(b"f ") for line in file)
  if suffix == ".off":
    counts, _ = _off_lines(path)
    return counts[1:2] != ["0"]
  return True


def _off_lines(path: pathlib.Path) -> tuple[list[str], list[str]]:
  """The counts of vertices, faces and edges, and the lines after them."""
  text = path.read_text(errors="replace")
  lines = [line.partition("#")[0].strip() for line in text.splitlines()]
  lines = [line for line in lines if line] or [""]
  counts = lines[0].partition("OFF")[2]
  if counts:  # "OFF8 12 0", on one line
    return counts.split(), lines[1:]
  return " ".join(lines[1:2]).split(), lines[2:]


def _read_points(path: pathlib.Path, suffix: str) -> np.ndarray:
  if suffix == ".npy":
    return np.load(path, allow_pickle=False)
  if suffix == ".npz":
    return _read_npz(path)
  if suffix == ".ply":
    return trimesh.load(path, process=False).vertices
  if suffix == ".obj":
    lines = path.read_text().splitlines()
    return _parse_rows([line[2:] for line in lines if line.startswith("v ")])
  if suffix == ".off":
    counts, lines = _off_lines(path)
    return _parse_rows(lines[: int(counts[0])])
  return _parse_text(path.read_text())


def _read_npz(path: pathlib.Path) -> np.ndarray:
  with np.load(path, allow_pickle=False) as arrays:
    if "points" not in arrays:
      raise ValueError(f"keys {', '.join(arrays) or 'none'}; want points")
    if "occupancies" in arrays:
      raise ValueError(
        "its points have occupancies, so they fill the cube; want points on a surface, "
        "as in pointcloud.npz"
      )
    return arrays["points"]


def _parse_text(text: str) -> np.ndarray:
  text = text.translate(str.maketrans(",;", "  "))
  lines = [line.partition("#")[0].strip() for line in text.splitlines()]
  lines = [line for line in lines if line]
  if lines and not _is_point(lines[0]):  # a heading, or the count that opens PTS
    lines = lines[1:]
  return _parse_rows(lines)


def _parse_rows(lines: list[str]) -> np.ndarray:
  return np.loadtxt(lines, usecols=(0, 1, 2), ndmin=2) if lines else np.zeros((0, 3))


def _is_point(line: str) -> bool:
  try:
    return len([float(word) for word in line.split()[:3]]) == 3
  except ValueError:
    return False


def check_cloud(points: Points, name: str = "the cloud") -> None:
  """Raises ValueError for a cloud that no shape can be seen in; `name` says whose."""
  if bad := np.count_nonzero(~np.isfinite(points).all(axis=1)):
    raise ValueError(
      f"{name}: {bad} of {len(points)} points are not finite (NaN or infinity), want "
      "none; remove those rows"
    )
  if len(points) < MIN_POINTS:
    raise ValueError(
      f"{name}: {len(points)} points, want at least {MIN_POINTS}; models of the paper "
      "are trained with 300"
    )
  if not np.ptp(points, axis=0).max() > 0:
    raise ValueError(
      f"{name}: all {len(points)} points lie at {points[0].tolist()}, want a shape "
      "with an extent; check the columns of the file"
    )
