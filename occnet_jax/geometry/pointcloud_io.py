"""Point clouds on disk (host, numpy).

Shape letters: n input points, v vertices, f faces.
"""

import os
import pathlib
import zipfile

import numpy as np
from jaxtyping import Float

from occnet_jax import unreadable
from occnet_jax.geometry import (
  extras,
  mesh_io,
  scan_formats,
  surface_sampling,
  text_points,
)
from occnet_jax.geometry.colours import Cloud, nearest_points, to_bytes
from occnet_jax.geometry.mesh_parsers import check_held
from occnet_jax.geometry.normals import look_like_normals, to_unit

TEXT_SUFFIXES = (".csv", ".pts", ".txt", ".xyz")
_CLOUD_SUFFIXES = (
  ".glb",
  ".gltf",
  ".obj",
  ".off",
  ".ply",
)  # mesh formats that hold clouds as well
SUFFIXES = tuple(
  sorted((*mesh_io.SUFFIXES, *TEXT_SUFFIXES, *scan_formats.READERS, ".npy", ".npz"))
)
MIN_POINTS = 3
MESH_SAMPLES = 100_000
# Points in one place, such as the zeros of pixels without a depth, that are refused:
# so many, and such a share of the cloud. Meshes' vertices repeat a few times each.
REPEATED, REPEATED_SHARE = 10, 0.02
# Bytes that one of an NPZ file holds: a few in clouds, 1032 of zeros. What is small may
# hold as many as it likes.
_DEFLATE, _SMALL = 100, 10_000
_SAMPLE = 20_000  # points that are searched for such a place
Points = Float[np.ndarray, "n 3"]


def read_cloud(path: str | os.PathLike, *, seed: int = 0) -> Points:
  """The points of `read_scan`, and its arguments and errors."""
  return read_scan(path, seed=seed).points


def read_scan(path: str | os.PathLike, *, seed: int = 0) -> Cloud:
  """Points of a cloud file, or points drawn on the surface of a mesh file.

  Files of mesh formats are read by `mesh_io`. Those with faces are meshes, on which
  MESH_SAMPLES points are drawn uniformly by area; the vertices of PLY, OBJ, OFF and
  glTF files without faces are the cloud. Text has one point per line, see
  `text_points.parse_points`. NPY holds (n, 3) or more columns, and NPZ the same under
  the key `points`, colours as `colours` or `colors`, and `normals`. Points on a mesh
  have the colour of the nearest vertex and the normal of their face.

  Args:
    path: the file, with one of SUFFIXES.
    seed: seed of the points drawn on a mesh.

  Raises:
    ValueError: the file is missing, broken, cut off or of another format, has fewer
      than MIN_POINTS points or all of them in one place, or has coordinates that are
      not finite.
    OSError: the system cannot read it.
  """
  path = pathlib.Path(path)
  suffix = path.suffix.lower()
  if suffix not in SUFFIXES:
    raise ValueError(f"{path}: suffix {suffix!r}; want one of {' '.join(SUFFIXES)}")
  if not path.is_file():
    raise ValueError(f"{path}: no such file")
  if suffix in mesh_io.SUFFIXES:
    geometry = mesh_io.read_geometry(path)
    if len(geometry.faces) or suffix not in _CLOUD_SUFFIXES:
      return _sample_mesh(path, geometry, seed)
    vertices, _, colours, left_out, normals = geometry
    cloud = Cloud(vertices, colours, left_out, normals)
  else:
    try:
      cloud = _read_points(path, suffix)
    except extras.MissingLibrary:
      raise
    except Exception as error:  # whatever a parser may raise on a broken file
      reason = unreadable.reason(path, error)
      raise ValueError(
        f"{path}: cannot be read as a point cloud ({reason}); "
        "want x y z per line, or export it as PLY"
      ) from error
  check_cloud(cloud.points, str(path))
  return cloud


def _sample_mesh(path: pathlib.Path, geometry: mesh_io.Geometry, seed: int) -> Cloud:
  vertices, faces, colours, left_out, _ = geometry
  mesh_io.check_mesh(path, vertices, faces)
  try:
    points, normals = surface_sampling.sample(
      vertices, faces, MESH_SAMPLES, np.random.default_rng(seed)
    )
  except ValueError as error:
    raise ValueError(f"{path}: {error}") from error
  if colours is not None:
    colours = colours[nearest_points(vertices, points, 1)[1][:, 0]]
  return Cloud(points, colours, left_out, normals)


def _read_points(path: pathlib.Path, suffix: str) -> Cloud:
  colours, left_out, normals = None, (), None
  if suffix in scan_formats.READERS:
    return scan_formats.READERS[suffix](path)
  if suffix == ".npy":
    points = np.load(path, allow_pickle=False)
  elif suffix == ".npz":
    points, colours, left_out, normals = _read_npz(path)
  else:
    return text_points.parse_points(path.read_bytes())
  if points.ndim != 2 or points.shape[1] < 3:
    hint = "; a volume becomes a mesh by --level=VALUE" if points.ndim == 3 else ""
    raise ValueError(f"shape {points.shape}, want (n, 3){hint}")
  if np.iscomplexobj(points):
    raise ValueError(f"numbers of type {points.dtype}; want real ones")
  text_points.check_orientation(*points.shape)
  points = points.astype(np.float64)
  text_points.check_first_column(points)
  names = [f"column {i + 1}" for i in range(points.shape[1])]
  if normals is None and points.shape[1] >= 6 and look_like_normals(points[:, 3:6]):
    normals, names[3:6] = to_unit(points[:, 3:6]), []
  return Cloud(points[:, :3], colours, (*left_out, *names[3:]), normals)


def _read_npz(
  path: pathlib.Path,
) -> tuple[np.ndarray, np.ndarray | None, tuple[str, ...], np.ndarray | None]:
  """Points, colours in 8 bits or None, names of the other arrays, and normals."""
  unreadable.check_npz(path)
  with zipfile.ZipFile(path) as archive:
    for info in archive.infolist():
      held = _DEFLATE * max(info.compress_size, _SMALL)
      check_held(f"bytes in {info.filename}", info.file_size, held)
  with np.load(path, allow_pickle=False) as arrays:
    if "points" not in arrays:
      raise ValueError(f"keys {', '.join(arrays) or 'none'}; want points")
    if "occupancies" in arrays:
      raise ValueError(
        "its points have occupancies, so they fill the cube; want points on a surface, "
        "as in pointcloud.npz"
      )
    points, colours, used = arrays["points"], None, ["points"]
    for name in ("colours", "colors"):
      if name in arrays and arrays[name].shape == (len(points), 3):
        colours = to_bytes(arrays[name])
        used.append(name)
    normals = None
    if "normals" in arrays and arrays["normals"].shape == (len(points), 3):
      normals = to_unit(arrays["normals"])
    used += ["normals"] * (normals is not None)
    left_out = tuple(name for name in arrays if name not in used)
    return points, colours, left_out, normals


def check_cloud(points: Points, name: str = "the cloud") -> None:
  """Raises ValueError for a cloud that is not finite, has no extent, or has many points
  in one place.

  Args:
    points: the cloud, in any frame.
    name: subject of the messages.
  """
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
  sample = points[:: -(-len(points) // _SAMPLE)]
  places, counts = np.unique(sample, axis=0, return_counts=True)
  place = places[counts.argmax()]
  repeated = np.count_nonzero((points == place).all(axis=1))
  if repeated >= REPEATED and repeated > REPEATED_SHARE * len(points):
    raise ValueError(
      f"{name}: {repeated:,} of {len(points):,} points lie at {place.tolist()}, as "
      "those do that a scanner did not measure; remove them"
    )
