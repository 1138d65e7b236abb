"""HTML page of inputs and reconstructions (host)."""

import os
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

from occnet_jax import files
from occnet_jax.viz import pages


class Entry(NamedTuple):
  """One object on the page.

  Attributes:
    name: heading.
    note: short text beside the heading.
    pictures: PNG files by caption, from left to right.
    message: why pictures are missing; "" if none are.
  """

  name: str
  note: str
  pictures: dict[str, pathlib.Path]
  message: str


def write_album(
  path: str | os.PathLike,
  *,
  title: str,
  facts: dict[str, str],
  entries: Sequence[Entry],
) -> None:
  """Writes a page that holds all its pictures and fetches nothing.

  Args:
    path: HTML file to write.
    title: title of the page.
    facts: names and values to show at the top.
    entries: objects, from top to bottom.
  """
  pictures = [
    {
      caption: pages.data_url(picture.read_bytes(), "image/png")
      for caption, picture in entry.pictures.items()
    }
    for entry in entries
  ]
  page = pages.render(
    "album.html", title=title, facts=facts, entries=entries, pictures=pictures
  )
  with files.atomic_write(path) as scratch:
    scratch.write_text(page, encoding="utf-8")
