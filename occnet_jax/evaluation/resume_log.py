"""A list of finished work that survives a stop (host)."""

import json
import pathlib
from typing import Any

from occnet_jax import files
from occnet_jax.evaluation.tables import Row


class ResumeLog:
  """Rows of finished shapes in a JSON-lines file, under the settings they were made by.

  The first line holds the settings. A ledger with other settings is begun anew, because
  its rows no longer say what they seem to. A last line that a stop has torn is dropped.
  """

  def __init__(self, path: pathlib.Path, settings: dict[str, Any]):
    settings = plain(settings)
    found, rows = read(path)
    kept = rows if found == settings else []
    self._rows = {(row["category"], row["id"]): row for row in kept}
    text = "".join(json.dumps(row) + "\n" for row in [settings, *kept])
    if not path.exists() or path.read_text() != text:
      with files.atomic_write(path) as scratch:
        scratch.write_text(text)
    self._file = path.open("a")

  def __contains__(self, key: tuple[str, str]) -> bool:
    return key in self._rows

  def add(self, row: Row) -> None:
    """Notes a finished shape."""
    self._rows[row["category"], row["id"]] = row
    self._append(row)

  def rows(self) -> list[Row]:
    """All finished shapes, by category and id."""
    return [self._rows[key] for key in sorted(self._rows)]

  def _append(self, row: Any) -> None:
    self._file.write(json.dumps(row) + "\n")
    self._file.flush()

  def __enter__(self) -> "ResumeLog":
    return self

  def __exit__(self, *error) -> None:
    self._file.close()


def plain(settings: dict[str, Any]) -> dict[str, Any]:
  """Settings as a file gives them back."""
  return json.loads(json.dumps(settings))


def read(path: pathlib.Path) -> tuple[dict[str, Any] | None, list[Row]]:
  """Settings and rows of a ledger file; None and [] if there is none."""
  lines = []
  for line in path.read_text().splitlines() if path.exists() else []:
    try:
      lines.append(json.loads(line))
    except json.JSONDecodeError:
      break
  return (lines[0], lines[1:]) if lines else (None, [])
