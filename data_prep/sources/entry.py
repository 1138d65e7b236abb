"""The record of a mesh file before it is read (host)."""

import pathlib
import re
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from occnet_jax import files

SPLITS = ("train", "val", "test")
_MAX_SLUG = 100  # characters of a slug: file names end at 255 bytes


class MeshEntry(NamedTuple):
  """One mesh file.

  Attributes:
    category: class of the object.
    model_id: name, unique within the category.
    path: file of the mesh; for the official layout the folder of the model.
    split: "train", "val" or "test" if the source fixes it; "" to assign it by
      fractions.
    attribution: author, as the source names them.
    licence: licence, as the source states it.
  """

  category: str
  model_id: str
  path: pathlib.Path
  split: str = ""
  attribution: str = ""
  licence: str = ""


def slug(text: str) -> str:
  """The text as a file name: "Living room" becomes "living-room"."""
  return re.sub(r"[^\w.]+", "-", text.lower()).strip("-._")[:_MAX_SLUG] or "unnamed"


def check_names(entries: Iterable[MeshEntry]) -> list[MeshEntry]:
  """The same entries, as a list.

  Raises:
    ValueError: two entries have the same category and id, or a category or id cannot be
      the name of a file.
  """
  entries = list(entries)
  for entry in entries:
    files.check_names(*entry[:2], source=entry.path)
  counts = Counter(entry[:2] for entry in entries)
  if repeated := [names for names, count in counts.items() if count > 1]:
    paths = [str(entry.path) for entry in entries if entry[:2] == repeated[0]]
    raise ValueError(
      f"{len(paths)} meshes are {'/'.join(repeated[0])}: {', '.join(paths[:3])}; "
      "rename them, or name each in the column id of a table (csv:/path/to/table.csv)"
    )
  return entries
