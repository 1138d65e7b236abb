"""Points from lines of text: XYZ, PTS, CSV and their relatives (host, numpy).

Nobody standardised these files. What is read is a point per line, with an optional
heading that names the columns, an optional count as in PTS, and comments. What could
mean two things is refused, since wrong points look like a shape of their own.

Shape letter: n points.
"""

import re
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from occnet_jax.geometry import colours as colours_lib
from occnet_jax.geometry import normals as normals_lib
from occnet_jax.geometry.mesh_parsers import check_held, decode_text

_COMMENTS = ("#", "//")  # CloudCompare writes its heading after the second
_AXES = ("x", "y", "z")
# Where colours or normals without names may begin, by the number of columns.
_UNNAMED = {6: (3,), 7: (4,), 9: (3, 6)}
_PROBED = 1000  # lines that show whether columns without names are colours
_UNIT = re.compile(r"[\s_]*[\[(].*")  # behind a name: "x [m]"
_ALIASES = {  # names of ParaView, and of surveyors
  name: axis
  for names in ("points:0 points:1 points:2", "easting northing height")
  for name, axis in zip(names.split(), _AXES, strict=True)
}
_NORMAL = re.compile(r"n|norm.*")  # a word of a name such as "normal_x"
_DECIMAL_COMMA = re.compile(r"[-+]?\d+,\d+(?:[eE][-+]?\d+)?")


def parse_points(data: bytes) -> colours_lib.Cloud:
  """The columns x, y and z if a heading names them, else the first three.

  Columns that are called red, green and blue, or r, g and b, are colours, and nx, ny
  and nz normals. Without names three columns are colours if they hold whole numbers
  from 0 to 255, and normals if they have the length 1: those behind the points, and of
  nine those behind these; of seven the last three.

  Columns are separated by blanks, tabs, commas or semicolons. Commas between semicolons
  or tabs are decimal marks.

  Raises:
    ValueError: a row is no point, a count promises more points than there are, there
      are more columns than rows, or it is not clear which columns are meant.
  """
  rows, comment = _split_lines(decode_text(data))
  heading, promised = "", 0
  while rows and not _is_point(_fields(rows[0])):
    if not promised and rows[0].isdecimal():
      promised = int(rows.pop(0))
    elif not heading and re.search(r"[^\W\d]", rows[0]):
      heading = rows.pop(0)
    else:
      break  # a point whose columns have to be named, or no point at all
  check_held("points", promised, len(rows))
  if not rows:
    return colours_lib.Cloud(np.zeros((0, 3)))
  columns = len(_fields(rows[0]))
  check_orientation(len(rows), columns)
  named = _named_columns(heading, columns, comment)
  if named:
    names = _split_names(heading if heading else comment)
    return _make_cloud(rows, _load(rows, named), names, named)
  if columns == 6 and _delimiter(rows[0]) == ",":
    _check_decimal_marks(rows)
  points = _load(rows, (0, 1, 2))
  if columns > 3 and (points[:, 0] == np.rint(points[:, 0])).all():
    try:
      fourth = _load(rows, (3,))
    except ValueError:
      return colours_lib.Cloud(points, None, ("names",))  # of the points
    check_first_column(np.hstack([points, fourth]))
  return _make_cloud(rows, points, ["x", "y", "z"], (0, 1, 2))


def _make_cloud(
  rows: Sequence[str],
  points: Float[np.ndarray, "n 3"],
  names: Sequence[str],
  axes: tuple[int, ...],
) -> colours_lib.Cloud:
  """The cloud with its colours and normals, and the names of its other columns.

  Args:
    rows: the lines.
    points: the points in them.
    names: names of the columns in lower case; those without are numbered.
    axes: the columns of the points.
  """
  columns = len(_fields(rows[0]))
  names = [*names, *(f"column {i + 1}" for i in range(len(names), columns))][:columns]
  channels = colours_lib.find_channels(names)
  directions = normals_lib.find_normals(names)
  for start in _UNNAMED.get(columns, ()) if names[-1] == f"column {columns}" else ():
    three = tuple(range(start, start + 3))
    probed = _load(rows[:_PROBED], three)
    if not channels and _are_bytes(probed):
      channels = three
    elif not directions and normals_lib.look_like_normals(probed):
      directions = three
  colours, normals, used = None, None, {*axes}
  try:
    if channels:
      colours = colours_lib.to_bytes(_load(rows, channels))
      used.update(channels if colours is not None else ())
    if directions:
      normals = normals_lib.to_unit(_load(rows, directions))
      used.update(directions if normals is not None else ())
  except ValueError:  # words, or not in every row
    pass
  others = tuple(name for i, name in enumerate(names) if i not in used)
  return colours_lib.Cloud(points, colours, others, normals)


def _are_bytes(table: Float[np.ndarray, "n 3"]) -> bool:
  """Whether numbers without a name look like colours rather than normals or zeros."""
  return bool((table % 1 == 0).all() and table.min() >= 0 and 1 < table.max() <= 255)


def check_orientation(rows: int, columns: int) -> None:
  """Raises ValueError for a table that holds a point in every column."""
  if columns > 3 and rows < columns:
    raise ValueError(
      f"shape ({rows}, {columns}) has fewer rows than columns, want (n, 3) with a "
      "point in every row; transpose it"
    )


def check_first_column(table: Float[np.ndarray, "n _"]) -> None:
  """Raises ValueError for a table of more than three columns that starts with a number
  of the row or a label rather than with x.

  Labels are integers, while the three columns behind them are not.
  """
  if table.shape[1] < 4 or len(table) < 3:
    return
  with np.errstate(invalid="ignore"):  # coordinates that are not finite: refused later
    whole = (table[:, :4] % 1 == 0).all(0)
    counts = (np.diff(table[:, 0]) == 1).all()
  if counts or (whole[0] and not whole[1:].any()):
    raise ValueError(
      f"the first of {table.shape[1]} or more columns holds integers, such as "
      f"{table[0, 0]:g} and {table[-1, 0]:g}, that number or label the points; want "
      "x y z first, or a heading that names them"
    )


def _check_decimal_marks(rows: Sequence[str]) -> None:
  """Raises ValueError for "1,50,2,07,3,10", where every second comma may be a mark."""
  if any("." in row for row in rows):
    return
  fractions = [field for row in rows for field in _fields(row)[1::2]]
  if any(field.startswith("0") and len(field) > 1 for field in fractions):
    raise ValueError(
      f"in {rows[0][:60]!r} a comma may be a decimal mark or separate columns; write "
      "decimal points"
    )


def _split_lines(text: str) -> tuple[list[str], str]:
  """Lines without comments and blanks, and the last comment above them."""
  rows: list[str] = []
  comment = ""
  for line in text.splitlines():
    line = line.strip()
    if line.startswith(_COMMENTS):
      comment = comment if rows else line.lstrip("#/ ")
    elif line := line.partition("#")[0].rstrip():
      rows.append(line)
  return rows, comment


def _delimiter(line: str) -> str | None:
  """The separator of a line's columns: None for blanks, with or without commas."""
  if ";" in line:
    return ";"
  if "\t" in line and "," in line:
    return "\t"
  fields = line.split(",")
  return "," if len(fields) > 2 and all(len(f.split()) < 2 for f in fields) else None


def _fields(line: str) -> list[str]:
  """The columns of a line of numbers, with points as decimal marks."""
  delimiter = _delimiter(line)
  if delimiter in (";", "\t"):
    fields = line.replace(",", ".").split(delimiter)
  elif delimiter == ",":
    fields = line.split(",")
  else:
    words = line.split()
    if len(words) > 2 and all(map(_DECIMAL_COMMA.fullmatch, words)):
      raise ValueError(
        f"in {line[:60]!r} a comma may be a decimal mark or separate columns; write "
        "decimal points"
      )
    fields = line.replace(",", " ").split()
  fields = [field.strip().strip('"') for field in fields]
  return fields[:-1] if fields and not fields[-1] else fields  # a separator at the end


def _is_point(fields: Sequence[str]) -> bool:
  try:
    return len([float(field) for field in fields[:3]]) == 3
  except ValueError:
    return False


def _named_columns(heading: str, columns: int, comment: str) -> tuple[int, ...]:
  """The columns that a heading or a comment calls x, y and z; () if none does."""
  for line, is_heading in ((heading, True), (comment, False)):
    names = _split_names(line)
    if chosen := _find_axes(names, loosely=is_heading):
      if len(names) == columns or (not is_heading and max(chosen) < columns):
        return chosen
      if is_heading:
        raise ValueError(
          f"{len(names)} columns are named {names[:9]}, but there are {columns}"
        )
    elif is_heading and columns > 3 and len(names) == columns:
      raise ValueError(f"columns are named {names[:9]}; want x, y and z among them")
  return ()


def _split_names(line: str) -> list[str]:
  """Names of columns in lower case, without quotes and units."""
  line = line.rstrip(";,\t ")
  split = re.split(r"[;,\t]" if re.search(r"[;,\t]", line) else r"\s+", line)
  return [_UNIT.sub("", name.strip(" \"'").lower()) for name in split]


def _find_axes(names: Sequence[str], *, loosely: bool) -> tuple[int, ...]:
  """The places of x, y and z among the names of columns; () if they are not clear.

  Args:
    names: in lower case.
    loosely: whether "pos_x" and "x-coord" count too, and for three names "posx" or
      "xpos"; those of normals never do.
  """
  words = [[] if not loosely else re.findall(r"[a-z]+", name) for name in names]
  words = [[] if any(map(_NORMAL.fullmatch, each)) else each for each in words]
  readings = [
    [[_ALIASES.get(name, name)] for name in names],
    words,
    *(
      [[name[i] for name in names if name] for i in (-1, 0)] if len(names) == 3 else ()
    ),
  ]
  for reading in readings[: None if loosely else 1]:
    places = [[i for i, name in enumerate(reading) if axis in name] for axis in _AXES]
    if all(len(place) == 1 for place in places) and len({*map(tuple, places)}) == 3:
      return tuple(place[0] for place in places)
  return ()


def _load(rows: Sequence[str], columns: tuple[int, ...]) -> Float[np.ndarray, "n _"]:
  delimiter = _delimiter(rows[0])
  if delimiter in (";", "\t"):
    rows = [row.replace(",", ".") for row in rows]
  elif delimiter is None:
    rows = [row.replace(",", " ") for row in rows]
  return np.loadtxt(
    rows, usecols=columns, delimiter=delimiter, quotechar='"', comments=None, ndmin=2
  )
