"""The recipes, and the fields of a config with their meaning (host).

The meanings are the comments of configs/base.py and configs/models, which list every
field once.
"""

import ast
import pathlib
import re
import textwrap
import tokenize
from collections.abc import Sequence
from typing import Any, NamedTuple

from occnet_jax.cli import recipes


class Row(NamedTuple):
  """A field, by its dotted name, its value, and its unit and meaning."""

  name: str
  value: Any
  meaning: str


def as_text(recipe: str | None, overrides: Sequence[str] = ()) -> str:
  """The table that `occnet config` prints: of the fields, or without a recipe of those.

  Raises:
    ValueError: no such recipe or field.
  """
  if recipe is None:
    width = max(map(len, recipes.names())) + 2
    lines = [f"{name:{width}}{summary(name)}" for name in recipes.names()]
    return "\n".join([*lines, "", "occnet config NAME lists the fields of one."])
  table = rows(recipe, overrides)
  path = pathlib.Path(recipes.resolve(recipe).partition(":")[0])
  lines = [ast.get_docstring(_parse(path)) or "", ""]
  for row in table:
    lines.append(f"{row.name} = {row.value!r}")
    lines += textwrap.wrap(
      row.meaning, 84, initial_indent="    ", subsequent_indent="    "
    )
  return "\n".join(lines)


def summary(name: str) -> str:
  """The first sentence of a recipe's docstring."""
  text = ast.get_docstring(_parse(recipes.directory() / f"{name}.py")) or ""
  return text.split("\n\n")[0].replace("\n", " ")


def rows(recipe: str, overrides: Sequence[str] = ()) -> list[Row]:
  """All fields of a recipe, in the order of configs/base.py."""
  config = recipes.load(recipe, overrides)
  kind = config["model"].get("name", "")
  meanings = comments(recipes.directory() / "base.py")
  path = recipes.directory() / "models" / f"{kind}.py"
  if path.exists():
    own = comments(path)
    meanings |= {f"model.{name}": text for name, text in own.items()}
  meanings["model.name"] = "system: a file of configs/models, or module:function"
  fields = _flatten(config)
  order = {name: number for number, name in enumerate(meanings)}
  fields.sort(key=lambda item: order.get(item[0], -1))
  sections = list(dict.fromkeys(name.split(".")[0] for name in config))
  fields.sort(key=lambda item: sections.index(item[0].split(".")[0]))
  # A data set of prep.others has the fields of prep.
  plain = [re.sub(r"^prep\.others\.\w+\.", "prep.", name) for name, _ in fields]
  return [
    Row(name, value, meanings.get(own, ""))
    for (name, value), own in zip(fields, plain, strict=True)
  ]


def comments(path: pathlib.Path) -> dict[str, str]:
  """{dotted field: its comment} of a file that assigns the fields one by one.

  A comment stands behind the assignment, or in the lines above it.
  """
  with tokenize.open(path) as file:
    tokens = list(tokenize.generate_tokens(file.readline))
  behind, alone = {}, {}
  for token in tokens:
    if token.type == tokenize.COMMENT:
      is_alone = not token.line[: token.start[1]].strip()
      (alone if is_alone else behind)[token.start[0]] = token.string.lstrip("# ")
  prefixes, meanings = {"config": ""}, {}
  for node in ast.walk(_parse(path)):
    if not isinstance(node, ast.Assign):
      continue
    target = node.targets[-1]
    if not isinstance(target, ast.Attribute) or not isinstance(target.value, ast.Name):
      continue
    name = f"{prefixes.get(target.value.id, '')}{target.attr}"
    if len(node.targets) == 2 and isinstance(node.targets[0], ast.Name):
      prefixes[node.targets[0].id] = f"{name}."  # a section: prep = config.prep = ...
      continue
    above = []
    line = node.lineno - 1
    while line in alone:
      above.insert(0, alone[line])
      line -= 1
    own = [behind[n] for n in range(node.lineno, node.end_lineno + 1) if n in behind]
    meanings[name] = " ".join([*above, *own])
  return meanings


def _flatten(section: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
  fields = []
  for name, value in section.items():
    if isinstance(value, dict) and value:
      fields += _flatten(value, f"{prefix}{name}.")
    else:
      fields.append((f"{prefix}{name}", value))
  return fields


def _parse(path: pathlib.Path) -> ast.Module:
  return ast.parse(path.read_text(encoding="utf-8"))
