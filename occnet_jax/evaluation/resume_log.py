"""Append-only log of finished shapes, for resuming (host)."""

import json
import logging
import pathlib
import zlib
from typing import Any

from occnet_jax import files
from occnet_jax.evaluation.tables import Row

CHECK = "check"  # name of a line's checksum
_LOGGER = logging.getLogger(__name__)


class ResumeLog:
  """Rows of finished shapes in a JSON-lines file, under the settings that made them.

  The first line holds the settings. Rows made with other settings are discarded, and so
  is a last line that was cut short when a process stopped. Every line has a checksum,
  so that a changed digit is a damaged line.
  """

  def __init__(self, path: pathlib.Path, settings: dict[str, Any]):
    settings = plain(settings)
    settings_then, rows = read(path)
    kept = rows if settings_then == settings else []
    self._rows = {(row["category"], row["id"]): row for row in kept}
    text = "".join(map(_write_line, [settings, *kept]))
    if not path.exists() or path.read_bytes() != text.encode():
      with files.atomic_write(path) as scratch:
        scratch.write_text(text)
    self._file = path.open("a")

  def __contains__(self, key: tuple[str, str]) -> bool:
    return key in self._rows

  def add(self, row: Row) -> None:
    """Appends a finished shape; it replaces an earlier row of the same shape."""
    self._rows[row["category"], row["id"]] = row
    self._file.write(_write_line(row))
    self._file.flush()

  def rows(self) -> list[Row]:
    """All finished shapes, by category and id."""
    return [self._rows[key] for key in sorted(self._rows)]

  def __enter__(self) -> "ResumeLog":
    return self

  def __exit__(self, *error) -> None:
    self._file.close()


def plain(settings: dict[str, Any]) -> dict[str, Any]:
  """Settings as they come back from JSON: tuples are lists, keys are text."""
  return json.loads(json.dumps(settings))


def read(path: pathlib.Path) -> tuple[dict[str, Any] | None, list[Row]]:
  """Settings and rows of a log; None and [] if there is no file, or no settings.

  Of several rows of one shape the last one counts, at its own place in the order. A
  last line that a killed process left unfinished is dropped silently, a damaged line
  before it with a warning: its shape is then made again.
  """
  text = path.read_text(errors="replace") if path.exists() else ""
  first, *lines = text.splitlines() or [""]
  settings = _read_line(first, checked=False)
  checked = f'"{CHECK}"' in first  # else it is of a version without checksums
  rows: dict[tuple[str, str], Row] = {}
  for number, line in enumerate(lines, 2):
    row = _read_line(line, checked=checked)
    if row is not None and all(isinstance(row.get(k), str) for k in ("category", "id")):
      key = row["category"], row["id"]
      rows.pop(key, None)
      rows[key] = row
    elif number <= len(lines):
      _LOGGER.warning("%s: line %d is damaged and is left out", path, number)
  if settings is None:
    return None, []
  return settings, list(rows.values())


def _write_line(content: dict[str, Any]) -> str:
  return json.dumps(content | {CHECK: _checksum(content)}) + "\n"


def _read_line(line: str, *, checked: bool) -> dict[str, Any] | None:
  """The JSON object of a line, or None if it is damaged.

  Args:
    line: the line.
    checked: whether it must have a checksum.
  """
  try:
    content = json.loads(line)
  except (ValueError, RecursionError):
    return None
  if not isinstance(content, dict):
    return None
  expected = content.pop(CHECK, None)
  if expected is None:
    return None if checked else content
  return content if expected == _checksum(content) else None


def _checksum(content: dict[str, Any]) -> str:
  """CRC-32 of an object as JSON, which reads numbers back as they were written."""
  return f"{zlib.crc32(json.dumps(content).encode()):08x}"
