"""PCD, LAS, LAZ and E57, which libraries read (host, numpy).

Each function returns the points with their colours and normals, and the names of what
is left out.
It may raise any exception on a broken file; `pointcloud_io` turns it into a message.
Shape letter: n points.
"""

import pathlib
import re
import struct
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from occnet_jax.geometry import extras
from occnet_jax.geometry.colours import Cloud, to_bytes
from occnet_jax.geometry.mesh_parsers import check_held
from occnet_jax.geometry.normals import find_normals, to_unit

# Bytes of points in a byte of a file: LZF has 88 at most, LAZ of scans about 10.
_LZF, _LAZ = 100, 1000
_E57_MAGIC = b"ASTM-E57"
_LAS_COLOURS = ("red", "green", "blue")
# Bits of LAS that describe the flight rather than a point are not worth a word.
_LAS_USUAL = ("X", "Y", "Z", *_LAS_COLOURS, "user_data", "point_source_id")


def read_pcd(path: pathlib.Path) -> Cloud:
  """Text, binary and compressed binary; points without a place (NaN) are dropped."""
  library = extras.load("pypcd4", path, "pypcd4", "scans")
  head = re.split(rb"(?m)^DATA.*$", path.read_bytes()[:8192], maxsplit=1)[0].decode()
  lines = {line.split()[0]: line.split()[1:] for line in head.splitlines() if line}
  sizes = map(int, lines["SIZE"])
  counts = map(int, lines.get("COUNT", ["1"] * len(lines["SIZE"])))
  width = sum(size * count for size, count in zip(sizes, counts, strict=True))
  promised = int(lines.get("POINTS", lines["WIDTH"])[0])
  check_held("points", promised, _LZF * path.stat().st_size // max(width, 1))
  table = library.PointCloud.from_path(path).pc_data
  table = np.atleast_1d(table)
  check_held("points", promised, len(table))
  points = np.stack([table[axis].astype(np.float64).reshape(-1) for axis in "xyz"], 1)
  names = [name for name in table.dtype.names if name.isidentifier()]
  colours, used = None, {"x", "y", "z"}
  for name in ("rgb", "rgba"):
    if name in names and table[name].dtype.itemsize == 4:  # 0xAARRGGBB, also as a float
      packed = np.ascontiguousarray(table[name]).view(np.uint32).reshape(-1)
      shifts = np.array([16, 8, 0], np.uint32)
      colours = (packed[:, None] >> shifts & np.uint32(255)).astype(np.uint8)
      used.add(name)
  axes, normals = [names[i] for i in find_normals(names)], None
  if axes:
    normals = to_unit(np.stack([table[axis].reshape(-1) for axis in axes], 1))
    used.update(axes if normals is not None else ())
  placed = np.isfinite(points).all(1)
  left_out = [name for name in names if name not in used]
  if dropped := np.count_nonzero(~placed):
    left_out.append(f"{dropped:,} points without a place")
  colours, normals = (x if x is None else x[placed] for x in (colours, normals))
  return Cloud(points[placed], colours, tuple(left_out), normals)


def read_las(path: pathlib.Path) -> Cloud:
  """LAS and LAZ, scaled to coordinates, with colours of 16 bits or of 8 in 16."""
  library = extras.load("laspy", path, "'laspy[lazrs]'", "scans")
  if path.suffix.lower() == ".laz":
    extras.load("lazrs", path, "lazrs", "scans")
  _check_las(path)
  with library.open(path) as stream:
    header = stream.header
    held = path.stat().st_size * (_LAZ if header.are_points_compressed else 1)
    check_held("points", header.point_count, held // header.point_format.size)
    las = stream.read()
  check_held("points", header.point_count, len(las.points))
  points = np.stack([np.asarray(las[axis], np.float64) for axis in "xyz"], axis=1)
  names, colours = list(las.point_format.dimension_names), None
  if set(_LAS_COLOURS) <= set(names):
    stored = np.stack([np.asarray(las[name]) for name in _LAS_COLOURS], axis=1)
    colours = to_bytes(stored) if stored.any() else None
  # Normals have no place in LAS; programs give them extra dimensions.
  axes, normals = [names[i] for i in find_normals([n.lower() for n in names])], None
  if axes:
    normals = to_unit(np.stack([np.asarray(las[axis]) for axis in axes], axis=1))
  used = (*_LAS_USUAL, *(axes if normals is not None else ()))
  left_out = [
    name for name in names if name not in used and np.ptp(np.asarray(las[name]))
  ]
  return Cloud(points, colours, tuple(left_out), normals)


def _check_las(path: pathlib.Path) -> None:
  """Raises ValueError for counts in a header that the file cannot hold.

  laspy would read so many records, and lazrs end the process for want of memory. LAS
  1.4 R15, tables 2.3 (header) and 2.7 (records); LASzip's chunk table.
  """
  size = path.stat().st_size
  with open(path, "rb") as stream:
    head = stream.read(375)
    if head[:4] != b"LASF":
      raise ValueError("does not start with LASF")
    length, start, records = struct.unpack_from("<HII", head, 94)
    if not length <= start <= size:
      raise ValueError(f"points begin at {start:,} of {size:,} bytes")
    check_held("records", records, (start - length) // 54)
    if head[25] >= 4 and len(head) == 375:  # records behind the points
      extra_start, extra = struct.unpack_from("<QI", head, 235)
      check_held("records", extra, max(size - extra_start, 0) // 60)
    if head[104] & 0xC0:  # compressed: the table's place is at the start of the points
      stream.seek(start)
      (table,) = struct.unpack("<q", stream.read(8))
      table = size - 8 if table == -1 else table  # written by a stream: at the end
      if not start < table <= size - 8:
        raise ValueError(f"has its table of chunks at {table:,} of {size:,} bytes")
      stream.seek(table)
      if table == size - 8:
        (table,) = struct.unpack("<q", stream.read(8))
        stream.seek(table if start < table <= size - 8 else size - 8)
      _, chunks = struct.unpack("<II", stream.read(8))
      check_held("chunks", chunks, size)


def read_e57(path: pathlib.Path) -> Cloud:
  """All scans of a file in its own frame, without points that are marked invalid."""
  with open(path, "rb") as stream:  # the library opens anything by its path
    if stream.read(8) != _E57_MAGIC:
      raise ValueError(f"does not start with {_E57_MAGIC.decode()}")
  library = extras.load("pye57", path, "pye57", "e57")
  file = library.E57(str(path))
  try:
    return _join_e57(file, path.stat().st_size)
  finally:
    file.close()


def _join_e57(file: Any, size: int) -> Cloud:
  """The points of all scans.

  Args:
    file: the open file.
    size: its bytes, by which the promised number of points is judged.
  """
  points, colours, names = [], [], set()
  if not file.scan_count:
    raise ValueError("holds no scans")
  for index in range(file.scan_count):
    header = file.get_header(index)
    check_held("points", header.point_count, 100 * size)
    names |= set(header.point_fields)
    scan = file.read_scan(index, ignore_missing_fields=True, colors=True)
    points.append(np.stack([scan[f"cartesian{axis}"] for axis in "XYZ"], axis=1))
    channels = [f"color{channel}" for channel in ("Red", "Green", "Blue")]
    if all(channel in scan for channel in channels):
      colours.append(to_bytes(np.stack([scan[c] for c in channels], axis=1)))
  used = r"(cartesian|spherical)([XYZ]|Range|Azimuth|Elevation|InvalidState)"
  whole = len(colours) == len(points) and all(part is not None for part in colours)
  used += "|color.*" if whole else ""
  left_out = sorted(name for name in names if not re.fullmatch(used, name))
  joined = np.concatenate(points).astype(np.float64)
  return Cloud(joined, np.concatenate(colours) if whole else None, tuple(left_out))


READERS: Mapping[str, Callable[[pathlib.Path], Cloud]] = {
  ".e57": read_e57,
  ".las": read_las,
  ".laz": read_las,
  ".pcd": read_pcd,
}
