"""Preparation from the command line (host).

  python -m data_prep folder:meshes --out data/mine
  python -m data_prep synthetic --out data/toys --set points=50000 solid.fill=False

The settings are those of `prepare`, with its defaults.
"""

import argparse
import ast
import inspect
import re
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from data_prep import sources
from data_prep.pipeline import report
from data_prep.pipeline.prepare import prepare
from data_prep.watertight.solid import RepairOptions
from occnet_jax import files

_ARGUMENTS = ("source", "out")  # of the command line themselves
_INTERRUPTED = 130  # exit code, as shells have it for SIGINT


def defaults() -> dict[str, Any]:
  """The settings of `prepare` and their defaults, those of `solid` by dotted names."""
  parameters = inspect.signature(prepare).parameters.values()
  settings = {
    parameter.name: parameter.default
    for parameter in parameters
    if parameter.name not in (*_ARGUMENTS, "solid", "run", "part", "besides")
  }
  options = RepairOptions()._asdict()
  return settings | {f"solid.{name}": value for name, value in options.items()}


def parse_settings(assignments: Iterable[str]) -> dict[str, Any]:
  """Keyword arguments of `prepare` from texts like "points=1000" or "solid.fill=False".

  Raises:
    ValueError: a text assigns nothing, names no setting, or its value is of another
      type than the default.
  """
  defaults_by_name = defaults()
  settings: dict[str, Any] = {}
  solid = {}
  for assignment in assignments:
    name, equals, text = assignment.partition("=")
    if not equals or name not in defaults_by_name:
      raise ValueError(
        f"{assignment!r} is no setting; want name=value with one of the names "
        f"{', '.join(defaults_by_name)}"
      )
    value = _parse_value(name, text, defaults_by_name[name])
    section, dot, option = name.partition(".")
    if dot:
      solid[option] = value
    else:
      settings[section] = value
  return settings | ({"solid": solid} if solid else {})


def _parse_value(name: str, text: str, default: Any) -> Any:
  """A value of the type of the default; sequences may do without brackets."""
  if isinstance(default, str):
    return text
  try:
    value = ast.literal_eval(text)
  except (SyntaxError, ValueError):
    value = text
  if isinstance(default, tuple):
    value = tuple(value) if isinstance(value, tuple | list) else (value,)
    if not default or all(isinstance(item, type(default[0])) for item in value):
      return value
  elif isinstance(default, float) and type(value) in (int, float):
    return float(value)
  elif type(value) is type(default):
    return value
  raise ValueError(
    f"{name} is {text!r}, want a value of type {type(default).__name__}, such as "
    f"{default!r}"
  )


def _descriptions(function: Any) -> dict[str, str]:
  """The description of each argument or attribute in a docstring."""
  text = inspect.getdoc(function) or ""
  block = re.split(r"^(?:Args|Attributes):$", text, maxsplit=1, flags=re.M)[-1]
  block = re.split(r"^\w+:$", block, maxsplit=1, flags=re.M)[0]
  entries = re.findall(r"^  (\w+): (.*(?:\n {4}.*)*)", block, flags=re.M)
  return {name: " ".join(words.split()) for name, words in entries}


def _parser() -> argparse.ArgumentParser:
  meanings = _descriptions(prepare)
  options = _descriptions(RepairOptions)
  meanings |= {f"solid.{name}": words for name, words in options.items()}
  lines = ["settings (name=default):"]
  for name, value in defaults().items():
    lines += [f"  {name}={value!r}", f"      {meanings[name]}"]
  parser = argparse.ArgumentParser(
    prog="python -m data_prep",
    description="Turns meshes into a data set of labelled points.",
    epilog="\n".join(lines),
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  parser.add_argument("source", help=f"one of: {', '.join(sources.KINDS)}")
  parser.add_argument("--out", required=True, help="directory of the data set")
  parser.add_argument(
    "--set",
    nargs="+",
    action="extend",
    default=[],
    metavar="NAME=VALUE",
    help="settings that differ from their defaults, see below",
  )
  return parser


def main(argv: Sequence[str] | None = None) -> None:
  """Prepares a data set and prints the summary of its report.

  Args:
    argv: the arguments, by default those of the process.

  Raises:
    SystemExit: with a message if a setting is wrong, a file cannot be read or no mesh
      can be used; with code 130 after Ctrl-C.
  """
  arguments = _parser().parse_args(argv)
  try:
    settings = parse_settings(arguments.set)
    source, out = files.expand_home([arguments.source, arguments.out])
    prepared = prepare(source=source, out=out, **settings)
  except (ValueError, OSError) as error:
    sys.exit(f"error: {error}")
  except KeyboardInterrupt:
    print("interrupted; run the same command to resume", file=sys.stderr)  # noqa: T201
    sys.exit(_INTERRUPTED)
  print(report.summarise(prepared.directory))  # noqa: T201
