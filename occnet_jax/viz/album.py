"""One page of pictures, objects below each other (host)."""

import base64
import html
import os
import pathlib
import string
from collections.abc import Sequence
from typing import NamedTuple

from occnet_jax import files

_PAGE = string.Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<title>$title</title>
<link rel="icon" href="data:,">
<style>$style
.panes { max-width: 54rem; }
.stage { aspect-ratio: 1; outline-color: var(--rule); }
.panes .words { grid-column: span 2; margin: 0; max-width: 36rem; }
.panes .words { align-self: start; text-align: left; }
.stage img { width: 100%; height: 100%; object-fit: contain; background: #fff; }
@media (prefers-color-scheme: dark) { .stage img { filter: brightness(.88); } }
</style>
</head>
<body>
<h1>$title</h1>
<dl class="facts">$facts</dl>
<main>$entries</main>
</body>
</html>
""")


class Entry(NamedTuple):
  """One object on a page.

  Attributes:
    name: its heading.
    note: beside that.
    pictures: PNG files by title, in their order.
    words: in place of pictures that are missing, or empty.
  """

  name: str
  note: str
  pictures: dict[str, pathlib.Path]
  words: str


def write_album(
  path: str | os.PathLike,
  *,
  title: str,
  style: str,
  facts: dict[str, str],
  entries: Sequence[Entry],
) -> None:
  """Writes a page that holds all its pictures and asks for nothing else.

  Args:
    path: of the HTML file.
    title: of the page.
    style: CSS of a page with `.facts` and with `.shape`, `.panes` and `.stage`.
    facts: shown at the top.
    entries: in their order.
  """
  terms = (
    f"<div><dt>{html.escape(name)}</dt><dd>{html.escape(value)}</dd></div>"
    for name, value in facts.items()
  )
  page = _PAGE.substitute(
    title=html.escape(title),
    style=style,
    facts="".join(terms),
    entries="".join(map(_article, entries)),
  )
  with files.atomic_write(path) as scratch:
    scratch.write_text(page, encoding="utf-8")


def _article(entry: Entry) -> str:
  name, panes = html.escape(entry.name), []
  for title, path in entry.pictures.items():
    data = base64.b64encode(path.read_bytes()).decode()
    image = f'<img alt="{title}: {name}" src="data:image/png;base64,{data}">'
    panes.append(
      f"<figure><figcaption><b>{title}</b></figcaption>"
      f'<div class="stage">{image}</div></figure>'
    )
  words = f'<p class="words">{html.escape(entry.words)}</p>' if entry.words else ""
  return (
    f'<article class="shape"><header><h3>{name}</h3><p class="figures">'
    f"{html.escape(entry.note)}</p></header>"
    f'<div class="panes">{"".join(panes)}{words}</div></article>'
  )
