"""OBJ, OFF and binary STL from bytes (host, numpy).

Trimesh 5.2 reads these and PLY wrongly. It counts relative OBJ indices from the end of
the file instead of from their own line, and takes index 0 for the last vertex; refuses
OFF and binary PLY with polygons of several sizes; and accepts PLY that is cut off.
Nothing here allocates by a number in a header before the file has shown that it holds
that much.

A file without faces is a point cloud: its vertices are returned. Each function raises
an exception of some kind if the file is not as its format says; `geometry.mesh_io`
turns it into a message for the user. Shape letters: v vertices, f faces.
"""

import re
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from occnet_jax.geometry import colours as colours_lib
from occnet_jax.geometry import normals as normals_lib
from occnet_jax.geometry import polygons

Arrays = tuple[Float[np.ndarray, "v 3"], Int[np.ndarray, "f 3"]]

_STL_FACE = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("", "<u2")])

# Corners of all polygons, one after the other, and the number of corners of each.
Polygons = tuple[Int[np.ndarray, "corners"], Int[np.ndarray, "polygons"]]


def parse_obj(data: bytes) -> tuple:
  """Positions, polygons, colours of the vertices (v x y z r g b) or None, names of what
  is left out, and for a cloud with as many normals as points those; groups and lines
  are ignored.
  """
  text = re.sub(r"\\\r?\n", " ", decode_text(data))  # join continued lines
  positions: list[str] = []
  rows: list[str] = []
  directions: list[str] = []
  before: list[int] = []  # number of vertices above each face, where -1 is the last
  for line in text.splitlines():
    words = line.split(maxsplit=1)
    if len(words) < 2:
      continue
    if words[0] == "v":
      positions.append(words[1])
    elif words[0] == "vn":
      directions.append(words[1])
    elif words[0] == "f":
      rows.append(words[1])
      before.append(len(positions))
  faces = re.sub(r"(?m)/\S*|#.*$", "", "\n".join(rows))
  corners = np.array(faces.split(), np.int64)
  sizes = [len(row.split()) for row in faces.split("\n")] if rows else []
  if not corners.all():
    raise ValueError("a face names vertex 0, want 1 or more")
  relative = np.repeat(np.array(before, np.int64), sizes) + corners
  corners = np.where(corners > 0, corners - 1, relative)
  vertices = _positions(positions)
  faces = polygons.triangulate(vertices, corners, sizes)
  left_out = ("materials",) if re.search(r"(?m)^\s*usemtl", text) else ()
  normals = None
  if directions and len(directions) == len(positions) and not len(faces):
    normals = normals_lib.to_unit(_positions(directions))
  return vertices, faces, _colours(positions), left_out, normals


def parse_off(data: bytes) -> Arrays:
  """Polygons of any size; colours and normals are ignored."""
  lines = [line.partition("#")[0].strip() for line in decode_text(data).splitlines()]
  lines = [line for line in lines if line]
  keyword, _, counts = (lines[0] if lines else "").partition("OFF")
  if keyword not in ("", "C", "N", "CN", "ST") or "OFF" not in (lines or [""])[0]:
    raise ValueError("does not start with OFF")
  rest = lines[1:]
  if not counts:  # else "OFF8 12 0", as in ModelNet
    counts, rest = rest[0], rest[1:]
  vertex_count, face_count = (int(word) for word in counts.split()[:2])
  if min(vertex_count, face_count) < 0:
    raise ValueError(f"{vertex_count} vertices and {face_count} faces are promised")
  positions = rest[:vertex_count]
  rows = rest[vertex_count : vertex_count + face_count]
  check_held("vertices", vertex_count, len(positions))
  check_held("faces", face_count, len(rows))
  vertices = _positions(positions)
  return vertices, polygons.triangulate(vertices, *parse_polygons(rows))


def parse_binary_stl(data: bytes) -> Arrays | None:
  """Three separate vertices for every face; None if the file is text.

  Text begins with "solid", but so do some binary files.
  """
  count = int.from_bytes(data[80:84], "little")
  held = (len(data) - 84) // _STL_FACE.itemsize
  text = data[:100].lstrip().lower().startswith(b"solid")
  if len(data) < 84 or (text and (held < count or b"facet" in data[:1000])):
    return None
  check_held("faces", count, held)
  corners = np.frombuffer(data, _STL_FACE, count, 84)["corners"]
  faces = np.arange(3 * count).reshape(-1, 3)
  return corners.reshape(-1, 3).astype(np.float64), faces


def check_text_stl(data: bytes) -> None:
  """Raises ValueError for text that ends within a solid, which Trimesh leaves out."""
  text = data.lower().replace(b"\r", b"\n")
  begun, ended = (
    len(re.findall(rb"(?m)^[ \t]*%s\b" % word, text))
    for word in (b"solid", b"endsolid")
  )
  if ended < begun and b"facet" in text:
    raise ValueError(f"begins {begun} solids, but ends {ended}; the file is cut off")


def decode_text(data: bytes) -> str:
  """Text in UTF-8, or in UTF-16 if its byte order mark says so.

  Other bytes, such as names and comments in Latin-1, become U+FFFD.
  """
  encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
  return data.decode(encoding, errors="replace")


def check_held(what: str, promised: int, held: int) -> None:
  """Raises ValueError for a file that holds fewer of something than it promises."""
  if held < promised:
    raise ValueError(f"promises {promised:,} {what}, but ends after {held:,}")


def _positions(rows: Sequence[str]) -> Float[np.ndarray, "v 3"]:
  if not rows:
    return np.zeros((0, 3))
  return np.loadtxt(rows, usecols=(0, 1, 2), ndmin=2)


def _colours(rows: Sequence[str]) -> np.ndarray | None:
  """The last three of six columns if they hold colours in every row."""
  if not rows or len(rows[0].split()) != 6:
    return None
  try:
    return colours_lib.to_bytes(np.loadtxt(rows, usecols=(3, 4, 5), ndmin=2))
  except ValueError:  # not in every row
    return None


def parse_polygons(rows: Sequence[str]) -> Polygons:
  """Corners and sizes of polygons in rows "3 0 1 2 ..."; colours may follow."""
  corners: list[str] = []
  sizes = []
  for row in rows:
    words = row.split()
    sizes.append(int(words[0]))
    if not 0 <= sizes[-1] < len(words):
      raise ValueError(f"a face names {len(words) - 1} of {sizes[-1]} vertices")
    corners += words[1 : 1 + sizes[-1]]
  return np.array(corners, np.int64), np.array(sizes, np.int64)
