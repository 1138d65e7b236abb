"""OBJ, OFF, PLY and binary STL from bytes; glTF checked (host, numpy).

Trimesh 5.2 reads these wrongly: it takes relative OBJ indices from the end of
the file instead of from where they stand, and index 0 as the last; refuses OFF and
binary PLY with polygons of several sizes; accepts PLY that is cut off; reads sparse or
compressed glTF data as zeros; and ignores COLLADA's up axis. Nothing here allocates by
a number in a header before the file has shown that it holds that much.

A file without faces, a point cloud, has its vertices. Each function raises an exception
of some kind where the file is not as its format says; `geometry.mesh_io` makes it a
message for the user. Shape letters: v vertices, f faces.
"""

import json
import re
import struct
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from occnet_jax.geometry import polygons

Arrays = tuple[Float[np.ndarray, "v 3"], Int[np.ndarray, "f 3"]]

_STL_FACE = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("", "<u2")])
_PLY_KINDS = ("i1", "u1", "i2", "u2", "i4", "u4", "f4", "f8")
_PLY_NAMES = (  # old and new ones
  "char uchar short ushort int uint float double",
  "int8 uint8 int16 uint16 int32 uint32 float32 float64",
)
_PLY_TYPES = {
  name: kind
  for names in _PLY_NAMES
  for name, kind in zip(names.split(), _PLY_KINDS, strict=True)
}
_PLY_ORDERS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}
_PLY_AXES = ("x", "y", "z")
_PLY_CORNERS = ("vertex_indices", "vertex_index")  # whichever is there
_GLTF_FLOAT, _GLTF_TRIANGLES, _GLTF_FAN = 5126, 4, 6

_COLLADA_UPRIGHT = {
  b"X": [[0, -1, 0], [1, 0, 0], [0, 0, 1]],
  b"Y": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
  b"Z": [[1, 0, 0], [0, 0, 1], [0, -1, 0]],
}

_Property = tuple[str, str, str]  # name, type, type of a list's length or ""
_Element = tuple[str, int, list[_Property]]  # name, number of rows, properties
_NONE = np.zeros(0, np.int64)

_Polygons = tuple[Int[np.ndarray, "corners"], Int[np.ndarray, "polygons"]]  # and sizes
_Columns = dict[str, np.ndarray | _Polygons]  # of an element


def parse_obj(data: bytes) -> Arrays:
  """Positions and polygons; groups, materials, textures and lines are ignored."""
  text = re.sub(r"\\\r?\n", " ", decode_text(data))  # join continued lines
  positions: list[str] = []
  rows: list[str] = []
  before: list[int] = []  # vertices before a face, of which -1 is the last
  for line in text.splitlines():
    words = line.split(maxsplit=1)
    if len(words) < 2:
      continue
    if words[0] == "v":
      positions.append(words[1])
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
  return vertices, polygons.triangulate(vertices, corners, sizes)


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
  return vertices, polygons.triangulate(vertices, *_polygons(rows))


def parse_ply(data: bytes) -> Arrays:
  """Text or binary of either byte order, with polygons of any size."""
  order, elements, body = _parse_ply_header(data)
  lines: list[str] = []
  words: list[str] = []
  if not order:
    lines = [line for line in decode_text(body).splitlines() if line.strip()]
    if _spans_lines(lines, elements):
      words = " ".join(lines).split()
  vertices, corners = np.zeros((0, 3)), (_NONE, _NONE)
  start = 0  # byte, word or line
  for name, count, properties in elements:
    if order:
      columns, size = _read_ply_rows(body, start, name, count, properties, order)
    elif words:
      columns, size = _parse_ply_words(words, start, name, count, properties)
    else:
      rows, size = lines[start : start + count], count
      check_held(f"elements {name!r}", count, len(rows))
      columns = _parse_ply_lines(rows, name, properties)
    start += size
    if name == "vertex":
      if missing := set(_PLY_AXES) - columns.keys():
        raise ValueError(f"vertices have no {min(missing)}, want x, y and z")
      vertices = np.stack(
        [np.asarray(columns[axis], np.float64) for axis in _PLY_AXES], 1
      )
    elif name == "face":
      keys = [key for key in _PLY_CORNERS if key in columns]
      if not keys:
        raise ValueError(f"faces have {sorted(columns)}, want {_PLY_CORNERS[0]}")
      corners = columns[keys[0]]
  return vertices, polygons.triangulate(vertices, *corners)


def _spans_lines(lines: Sequence[str], elements: Sequence[_Element]) -> bool:
  """Whether the first row of a text PLY goes on in the next line."""
  properties = next((properties for _, count, properties in elements if count), [])
  words = lines[0].split() if lines else []
  return bool(words) and len(words) < len(properties)


def parse_binary_stl(data: bytes) -> Arrays | None:
  """Three vertices of its own for every face; None if the file is text.

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


def check_gltf(data: bytes, *, binary: bool) -> None:
  """Refuses what Trimesh would read as other geometry or leave out without a word."""
  if binary:
    magic, _, total, length, _ = struct.unpack("<4sIIII", data[:20])
    if magic != b"glTF":
      raise ValueError("does not start with glTF")
    check_held("bytes", total, len(data))
    data = data[20 : 20 + length]
  tree = json.loads(data)
  packed = [name for name in tree.get("extensionsUsed", ()) if "compression" in name]
  if any(name in tree.get("extensionsRequired", ()) for name in packed):
    raise ValueError(f"uses {packed[0]}; export it again without compression (Draco)")
  accessors = tree.get("accessors", [])
  for mesh in tree.get("meshes", []):
    for primitive in mesh["primitives"]:
      mode = primitive.get("mode", _GLTF_TRIANGLES)
      if mode < _GLTF_TRIANGLES:
        continue  # points and lines are not read
      if mode == _GLTF_FAN:
        raise ValueError("has triangle fans, which are not read; triangulate them")
      position = primitive["attributes"].get("POSITION")
      for index in (position, primitive.get("indices")):
        accessor = accessors[index] if index is not None else {"bufferView": 0}
        if "bufferView" not in accessor or "sparse" in accessor:
          raise ValueError(
            f"accessor {index} has no plain data (sparse, or packed by "
            f"{', '.join(packed) or 'an extension'}); export it without compression"
          )
        if accessor.get("normalized") and accessor["componentType"] != _GLTF_FLOAT:
          raise ValueError(
            f"accessor {index} is quantised; export it without KHR_mesh_quantization"
          )


def collada_upright(data: bytes) -> Float[np.ndarray, "3 3"]:
  """The rotation that takes the file's up axis, Y if it names none, to y."""
  found = re.search(rb"<up_axis>\s*([XYZ])_UP\s*</up_axis>", data)
  return np.array(_COLLADA_UPRIGHT[found[1] if found else b"Y"], np.float64)


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


def _polygons(rows: Sequence[str]) -> _Polygons:
  """Corners of rows "3 0 1 2 ..."; colours may follow."""
  corners: list[str] = []
  sizes = []
  for row in rows:
    words = row.split()
    sizes.append(int(words[0]))
    if not 0 <= sizes[-1] < len(words):
      raise ValueError(f"a face names {len(words) - 1} of {sizes[-1]} vertices")
    corners += words[1 : 1 + sizes[-1]]
  return np.array(corners, np.int64), np.array(sizes, np.int64)


def _parse_ply_header(
  data: bytes,
) -> tuple[str, list[_Element], bytes]:
  """Byte order ("" for text), elements as (name, count, properties), and the rest."""
  head, mark, rest = data.partition(b"end_header")
  if not data.startswith(b"ply") or not mark:
    raise ValueError("has no PLY header")
  order = None
  elements: list[_Element] = []
  for line in decode_text(head).splitlines():
    match line.split():
      case ["format", kind, *_]:
        order = _PLY_ORDERS[kind]
      case ["element", name, count]:
        if int(count) < 0:
          raise ValueError(f"promises {count} of {name}")
        elements.append((name, int(count), []))
      case ["property", "list", length, kind, name]:
        elements[-1][2].append((name, _PLY_TYPES[kind], _PLY_TYPES[length]))
      case ["property", kind, name]:
        elements[-1][2].append((name, _PLY_TYPES[kind], ""))
  if order is None:
    raise ValueError("has no PLY format")
  return order, elements, rest.partition(b"\n")[2]


def _parse_ply_lines(
  lines: Sequence[str], name: str, properties: Sequence[_Property]
) -> _Columns:
  """Columns of an element in text with a line for every row.

  They are positions, or one list of corners at the start of the line.
  """
  if properties and properties[0][2]:
    return {properties[0][0]: _polygons(lines)}
  if name == "face":
    raise ValueError("has faces whose corners do not come first; export it as binary")
  chosen = [i for i, (key, *_) in enumerate(properties) if key in _PLY_AXES]
  if not lines or not chosen:
    return {properties[i][0]: np.zeros(0) for i in chosen}
  values = np.loadtxt(lines, usecols=chosen, ndmin=2).T
  return {properties[i][0]: row for i, row in zip(chosen, values, strict=True)}


def _parse_ply_words(
  words: Sequence[str],
  start: int,
  name: str,
  count: int,
  properties: Sequence[_Property],
) -> tuple[_Columns, int]:
  """Columns of an element in text that begins at word `start`, and its size in words.

  For files whose rows span several lines, as RealSense writes the colours.
  """
  width = len(properties)
  if not any(length for *_, length in properties):
    check_held(f"elements {name!r}", count, (len(words) - start) // max(width, 1))
    stop = start + count * width
    return {
      key: np.array(words[start + i : stop : width], np.float64)
      for i, (key, *_) in enumerate(properties)
      if key in _PLY_AXES
    }, stop - start
  lists: dict[str, tuple[list[str], list[int]]] = {
    key: ([], []) for key, _, length in properties if length
  }
  at = start
  for done in range(count):
    for key, _, length in properties:
      size = 1
      if length and at < len(words):
        size, at = int(words[at]), at + 1
        lists[key][0].extend(words[at : at + max(size, 0)])
        lists[key][1].append(size)
      at += size
    if at > len(words) or any(min(sizes) < 0 for _, sizes in lists.values()):
      check_held(f"elements {name!r}", count, done)
      raise ValueError(f"an element {name!r} has a list of negative length")
  polygons = {
    key: (np.array(corners, np.int64), np.array(sizes, np.int64))
    for key, (corners, sizes) in lists.items()
  }
  return polygons, at - start


def _read_ply_rows(
  body: bytes,
  start: int,
  name: str,
  count: int,
  properties: Sequence[_Property],
  order: str,
) -> tuple[_Columns, int]:
  """Columns of a binary element that begins at byte `start`, and its size in bytes."""
  if start >= len(body) or not count:
    check_held(f"elements {name!r}", count, 0)
    return {
      key: (_NONE, _NONE) if length else _NONE for key, _, length in properties
    }, 0
  row = _ply_row(body, start, properties, order)
  lists = [key for key, _, length in properties if length]
  held = (len(body) - start) // max(row.itemsize, 1)
  if not lists:
    check_held(f"elements {name!r}", count, held)
  if held >= count:
    table = np.frombuffer(body, row, count, start)
    if all((table[f"{key} length"] == row[key].shape[0]).all() for key in lists):
      columns = {
        key: (table[key].ravel().astype(np.int64), np.full(count, row[key].shape[0]))
        if length
        else table[key]
        for key, _, length in properties
      }
      return columns, row.itemsize * count
  # Lists of several lengths: row by row, and nothing else of these rows is in use.
  values_of: dict[str, list[np.ndarray]] = {key: [] for key in lists}
  at = start
  for done in range(count):
    if at >= len(body):
      check_held(f"elements {name!r}", count, done)
    row = _ply_row(body, at, properties, order)
    values = np.frombuffer(body, row, 1, at)[0]
    at += row.itemsize
    for key in lists:
      values_of[key].append(values[key])
  columns = {
    key: (np.concatenate(rows).astype(np.int64), np.array(list(map(len, rows))))
    for key, rows in values_of.items()
  }
  return columns, at - start


def _ply_row(
  body: bytes, start: int, properties: Sequence[_Property], order: str
) -> np.dtype:
  """The layout of the row that begins at byte `start`: lists have lengths of their own.

  Every list is preceded by a field "<its name> length".
  """
  fields: list[tuple] = []
  for key, kind, length in properties:
    if length:
      at = start + np.dtype(fields).itemsize
      sides = int(np.frombuffer(body, order + length, 1, at)[0])
      fields += [(f"{key} length", order + length), (key, order + kind, (sides,))]
    else:
      fields.append((key, order + kind))
  return np.dtype(fields)
