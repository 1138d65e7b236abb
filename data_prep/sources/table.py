"""Meshes listed in a CSV file (host).

Columns: file and category; optional are id, split, attribution and licence. Files are
relative to the folder of the table.
"""

import csv
import os
import pathlib
from collections.abc import Iterable

from data_prep.sources.entry import SPLITS, MeshEntry
from occnet_jax import files

TABLE = "meshes.csv"  # beside meshes that were unpacked or written
COLUMNS = ("file", "category", "id", "split", "attribution", "licence")
_WANTED = COLUMNS[:2]


def list_meshes(table: str | os.PathLike) -> list[MeshEntry]:
  """The meshes of a table, in order of category and id.

  The default of an id is the name of the file without its suffix. Meshes without a
  split are split by fractions. Whether the files exist is not checked.

  Raises:
    ValueError: the table is missing, empty or no CSV file, or a column or a value is
      missing or unknown.
  """
  table = pathlib.Path(table)
  if not table.is_file():
    raise ValueError(f"{table}: no such file; want a CSV with {', '.join(COLUMNS)}")
  try:
    with table.open(newline="", encoding="utf-8-sig") as stream:
      reader = csv.DictReader(stream, strict=True)
      columns = [_column(name) for name in reader.fieldnames or ()]
      reader.fieldnames = columns
      rows = [(reader.line_num, row) for row in reader]
  except (UnicodeDecodeError, csv.Error) as error:
    raise ValueError(f"{table}: no CSV in UTF-8 ({error}); save it as such") from error
  unknown = [name for name in columns if name not in COLUMNS]
  if unknown or not set(_WANTED) <= set(columns):
    raise ValueError(
      f"{table}: has the columns {columns}, want {list(_WANTED)} and, if wanted, "
      f"{list(COLUMNS[2:])}; rename or remove the others"
    )
  if not rows:
    raise ValueError(f"{table}: lists no meshes; want a row for each")
  return sorted(_make_entry(table, line, row) for line, row in rows)


def write_table(table: pathlib.Path, entries: Iterable[MeshEntry]) -> None:
  """Writes a table that `list_meshes` reads, atomically."""
  with (
    files.atomic_write(table) as scratch,
    scratch.open("w", newline="", encoding="utf-8") as stream,
  ):
    writer = csv.writer(stream)
    writer.writerow(COLUMNS)
    for entry in entries:
      path = entry.path.relative_to(table.parent).as_posix()
      category, model_id, _, *rest = entry
      writer.writerow([path, category, model_id, *rest])


def _column(name: str) -> str:
  name = name.strip().lower()
  return "licence" if name == "license" else name


def _make_entry(table: pathlib.Path, line: int, row: dict) -> MeshEntry:
  values = {name: (row.get(name) or "").strip() for name in COLUMNS}
  if None in row:
    raise ValueError(f"{table}, line {line}: more values than columns; quote commas")
  if missing := [name for name in _WANTED if not values[name]]:
    raise ValueError(f"{table}, line {line}: no {missing[0]}; want one for every mesh")
  if values["split"] not in ("", *SPLITS):
    raise ValueError(
      f"{table}, line {line}: split is {values['split']!r}, want one of {SPLITS} or "
      "nothing"
    )
  path = table.parent / values["file"]
  return MeshEntry(
    values["category"],
    values["id"] or path.stem,
    path,
    values["split"],
    values["attribution"],
    values["licence"],
  )
