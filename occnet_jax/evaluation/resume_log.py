"""Append-only log of finished shapes, for resuming (host)."""

import json
import pathlib
from typing import Any

from occnet_jax import files
from occnet_jax.evaluation.tables import Row


class ResumeLog:
  """Rows of finished shapes in a JSON-lines file, under the settings that made them.

  The first line holds the settings. Rows made with other settings are discarded, and so
  is a last line that was cut short when a process stopped.
  """

  def __init__(self, path: pathlib.Path, settings: dict[str, Any]):
    settings = plain(settings)
    settings_then, rows = read(path)
    kept = rows if settings_then == settings else []
    self._rows = {(row["category"], row["id"]): row for row in kept}
    text = "".join(json.dumps(row) + "\n" for row in [settings, *kept])
    if not path.exists() or path.read_text() != text:
      with files.atomic_write(path) as scratch:
        scratch.write_text(text)
    self._file = path.open("a")

  def __contains__(self, key: tuple[str, str]) -> bool:
    return key in self._rows

  def add(self, row: Row) -> None:
    """Appends a finished shape; it replaces an earlier row of the same shape."""
    self._rows[row["category"], row["id"]] = row
    self._file.write(json.dumps(row) + "\n")
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
  """Settings and rows of a log; None and [] if there is no file.

  Of several rows of one shape the last one counts, at its own place in the order.
  """
  lines = []
  for line in path.read_text().splitlines() if path.exists() else []:
    try:
      lines.append(json.loads(line))
    except json.JSONDecodeError:
      break
  if not lines:
    return None, []
  rows: dict[tuple[str, str], Row] = {}
  for row in lines[1:]:
    key = row["category"], row["id"]
    rows.pop(key, None)
    rows[key] = row
  return lines[0], list(rows.values())
