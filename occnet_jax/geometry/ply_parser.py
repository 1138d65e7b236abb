"""PLY from bytes: text or binary of either byte order (host, numpy).

Nothing here allocates by a number in the header before the file has shown that it holds
that much. Shape letters: v vertices, f faces.
"""

import itertools
import re
from collections.abc import Sequence

import numpy as np

from occnet_jax.geometry import colours as colours_lib
from occnet_jax.geometry import normals as normals_lib
from occnet_jax.geometry import polygons
from occnet_jax.geometry.mesh_parsers import (
  Polygons,
  check_held,
  decode_text,
  parse_polygons,
)

_KINDS = ("i1", "u1", "i2", "u2", "i4", "u4", "f4", "f8")
_NAMES = (  # names of PLY 1.0 and those with sizes
  "char uchar short ushort int uint float double",
  "int8 uint8 int16 uint16 int32 uint32 float32 float64",
)
_TYPES = {
  name: kind
  for names in _NAMES
  for name, kind in zip(names.split(), _KINDS, strict=True)
}
_ORDERS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}
_AXES = ("x", "y", "z")
_READ = (*_AXES, *itertools.chain(*colours_lib.NAMES))
_CORNERS = ("vertex_indices", "vertex_index")  # programs use either
_Property = tuple[str, str, str]  # name, type, type of a list's length or ""
_Element = tuple[str, int, list[_Property]]  # name, number of rows, properties
_NONE = np.zeros(0, np.int64)
_Columns = dict[str, np.ndarray | Polygons]  # properties of an element, by name


def parse_ply(data: bytes) -> tuple:
  """Vertices, triangulated polygons of any size, colours of the vertices in 8 bits (or
  None), the names of other properties of the vertices, and their normals (or None).

  Raises:
    ValueError: the file is cut off, or has no x, y and z or no corners of its faces.
      Other exceptions, too, mean that it is broken.
  """
  order, elements, body = _parse_header(data)
  lines: list[str] = []
  words: list[str] = []
  if not order:
    lines = [line for line in decode_text(body).splitlines() if line.strip()]
    if not _is_row_per_line(lines, elements):
      words = " ".join(lines).split()
  vertices, corners = np.zeros((0, 3)), (_NONE, _NONE)
  colours, left_out, normals = None, (), None
  start = 0  # byte, word or line
  for name, count, properties in elements:
    if order:
      columns, size = _read_rows(body, start, name, count, properties, order)
    elif words:
      columns, size = _parse_words(words, start, name, count, properties)
    else:
      rows, size = lines[start : start + count], count
      check_held(f"elements {name!r}", count, len(rows))
      columns = _parse_lines(rows, properties)
    start += size
    if name == "vertex":
      if missing := set(_AXES) - columns.keys():
        raise ValueError(f"vertices have no {min(missing)}, want x, y and z")
      vertices = np.stack([np.asarray(columns[axis], np.float64) for axis in _AXES], 1)
      names = [key for key, *_ in properties]
      colours, normals, left_out = _looks(columns, names)
    elif name == "face":
      keys = [key for key in _CORNERS if key in columns]
      if not keys:
        raise ValueError(f"faces have {sorted(columns)}, want {_CORNERS[0]}")
      corners = columns[keys[0]]
  faces = polygons.triangulate(vertices, *corners)
  return vertices, faces, colours, left_out, normals


def _looks(
  columns: _Columns, names: Sequence[str]
) -> tuple[np.ndarray | None, np.ndarray | None, tuple[str, ...]]:
  """Colours of vertices in 8 bits, normals, and names of what is not read."""
  others = [name for name in names if name not in (*_AXES, "alpha")]
  channels = [names[i] for i in colours_lib.find_channels(names)]
  colours = None
  if channels:
    colours = colours_lib.to_bytes(np.stack([columns[name] for name in channels], 1))
  if colours is not None:
    others = [name for name in others if name not in channels]
  axes = [names[i] for i in normals_lib.find_normals(names)]
  normals = None
  if axes and not any(isinstance(columns.get(name), tuple) for name in axes):  # lists
    normals = normals_lib.to_unit(np.stack([columns[name] for name in axes], 1))
  if normals is not None:
    others = [name for name in others if name not in axes]
  return colours, normals, tuple(others)


def _is_read(name: str) -> bool:
  return name in _READ or normals_lib.is_normal(name)


def _is_row_per_line(lines: Sequence[str], elements: Sequence[_Element]) -> bool:
  """Whether the first row of every element of a text PLY ends with its line, and no
  property of a face comes before its corners."""
  start = 0
  for name, count, properties in elements:
    if name == "face" and properties and properties[0][0] not in _CORNERS:
      return False
    words = lines[start].split() if count and start < len(lines) else []
    size = 0
    for *_, length in properties if words else ():
      is_list = length and size < len(words)
      size += 1 + max(int(words[size]), 0) if is_list else 1
    if size > len(words):
      return False
    start += count
  return True


def _parse_header(
  data: bytes,
) -> tuple[str, list[_Element], bytes]:
  """Byte order ("" for text), elements as (name, count, properties), and the rest."""
  mark = re.search(rb"[\r\n]end_header *(\r?\n|\r|$)", data)
  if not data.startswith(b"ply") or not mark:
    raise ValueError("has no PLY header")
  head, rest = data[: mark.start()], data[mark.end() :]
  order = None
  elements: list[_Element] = []
  for line in decode_text(head).splitlines():
    match line.split():
      case ["format", kind, *_]:
        order = _ORDERS[kind]
      case ["element", name, count]:
        if int(count) < 0:
          raise ValueError(f"promises {count} of {name}")
        elements.append((name, int(count), []))
      case ["property", "list", length, kind, name]:
        elements[-1][2].append((name, _TYPES[kind], _TYPES[length]))
      case ["property", kind, name]:
        elements[-1][2].append((name, _TYPES[kind], ""))
  if order is None:
    raise ValueError("has no PLY format")
  return order, elements, rest


def _parse_lines(lines: Sequence[str], properties: Sequence[_Property]) -> _Columns:
  """Columns of an element in text with a line for every row.

  They are positions, or one list of corners at the start of the line.
  """
  if properties and properties[0][2]:
    return {properties[0][0]: parse_polygons(lines)}
  chosen = [i for i, (key, *_) in enumerate(properties) if _is_read(key)]
  if not lines or not chosen:
    return {properties[i][0]: np.zeros(0) for i in chosen}
  values = np.loadtxt(lines, usecols=chosen, ndmin=2).T
  return {properties[i][0]: row for i, row in zip(chosen, values, strict=True)}


def _parse_words(
  words: Sequence[str],
  start: int,
  name: str,
  count: int,
  properties: Sequence[_Property],
) -> tuple[_Columns, int]:
  """Columns of an element in text that begins at word `start`, and its size in words.

  For files whose rows span several lines, as RealSense writes the colours, and for
  faces with something before their corners.
  """
  width = len(properties)
  if not any(length for *_, length in properties):
    check_held(f"elements {name!r}", count, (len(words) - start) // max(width, 1))
    stop = start + count * width
    return {
      key: np.array(words[start + i : stop : width], np.float64)
      for i, (key, *_) in enumerate(properties)
      if _is_read(key)
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
    if key in _CORNERS  # others may hold fractions, such as coordinates of textures
  }
  return polygons, at - start


def _read_rows(
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
  row = _row_layout(body, start, properties, order)
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
  # Lists of several lengths: read row by row; no other property of such rows is used.
  values_of: dict[str, list[np.ndarray]] = {key: [] for key in lists}
  at = start
  for done in range(count):
    if at >= len(body):
      check_held(f"elements {name!r}", count, done)
    row = _row_layout(body, at, properties, order)
    values = np.frombuffer(body, row, 1, at)[0]
    at += row.itemsize
    for key in lists:
      values_of[key].append(values[key])
  columns = {
    key: (np.concatenate(rows).astype(np.int64), np.array(list(map(len, rows))))
    for key, rows in values_of.items()
  }
  return columns, at - start


def _row_layout(
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
