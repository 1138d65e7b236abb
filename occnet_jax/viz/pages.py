"""Jinja templates and their assets, rendered to HTML pages that stand alone (host).

Whatever a template prints is escaped, except what this package marks as HTML.
"""

import base64
import functools
import pathlib
from typing import Any

import jinja2
import markupsafe

ROOT = pathlib.Path(__file__).parent


def render(template: str, **values: Any) -> str:
  """The page of a template of templates/, with `asset` at hand.

  Raises:
    jinja2.UndefinedError: the template asks for a value that is not given.
  """
  return _environment().get_template(template).render(values)


def asset(name: str) -> markupsafe.Markup:
  """A file of assets/ as text that needs no escaping."""
  text = (ROOT / "assets" / name).read_text(encoding="utf-8")
  return markupsafe.Markup(text)


def data_url(data: bytes, kind: str) -> str:
  """Bytes as a URL that holds them.

  Args:
    data: content of the file.
    kind: media type of the file, such as "image/png".
  """
  return f"data:{kind};base64,{base64.b64encode(data).decode()}"


@functools.cache
def _environment() -> jinja2.Environment:
  environment = jinja2.Environment(
    loader=jinja2.FileSystemLoader(ROOT / "templates"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
  )
  environment.globals["asset"] = asset
  return environment
