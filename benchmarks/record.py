"""What a benchmark measured: JSON with its machine, and tables of docs/results.md.

  python -m benchmarks.decoder --json    # benchmarks/results/decoder.json
  python -m benchmarks.record            # all of them into docs/results.md

Every benchmark has --json[=FILE] and --note=TEXT: `parse` in place of the parser's own
`parse_args`, and `save` at the end.
"""

import argparse
import json
import math
import numbers
import os
import pathlib
import shlex
import sys
import textwrap
import time
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks import machine, table_page
from occnet_jax.files import atomic_write

RESULTS = pathlib.Path(__file__).parent / "results"
PAGE = pathlib.Path(__file__).parents[1] / "docs" / "results.md"
Row = Mapping[str, Any]  # by column: text, number, truth value, or None for no figure
_DIGITS = 6  # significant, in the file; _SHOWN in a table
_SHOWN = 4


def parse(
  parser: argparse.ArgumentParser, argv: Sequence[str] | None = None
) -> argparse.Namespace:
  """The arguments of a benchmark, with --json and --note, which all of them have."""
  argv = sys.argv[1:] if argv is None else list(argv)
  name = pathlib.Path(sys.argv[0]).stem
  default = RESULTS / f"{name}.json"
  parser.add_argument(
    "--json",
    nargs="?",
    const=default,
    type=pathlib.Path,
    metavar="FILE",
    help=f"write what was measured, to benchmarks/results/{name}.json by default",
  )
  parser.add_argument(
    "--note", default="", metavar="TEXT", help="for --json: how it was measured"
  )
  args = parser.parse_args(argv)
  args.record = {"benchmark": name, "command": _command(name, argv), "note": args.note}
  args.started = time.time(), os.getloadavg()[0]
  return args


def save(args: argparse.Namespace, **tables: Sequence[Row]) -> None:
  """Writes the file of --json, if it was asked for.

  Args:
    args: of `parse`.
    **tables: rows by the name of their table.

  Raises:
    ValueError: a value that is no text, number, truth value or None.
  """
  if args.json is None:
    return
  started, load = args.started
  result = args.record | {
    "machine": machine.describe(),
    "seconds": round(time.time() - started),
    # Processes that wanted to run, of all users: more than the cores means it was slow.
    "load": {
      "at the start": round(load, 1),
      "at the end": round(os.getloadavg()[0], 1),
    },
    "tables": {
      name: [{key: _plain(value, key) for key, value in row.items()} for row in rows]
      for name, rows in tables.items()
    },
  }
  args.json.parent.mkdir(parents=True, exist_ok=True)
  with atomic_write(args.json) as scratch:
    scratch.write_text(json.dumps(result, indent=1) + "\n")
  print(f"wrote {args.json}")  # noqa: T201


def text(result: Mapping[str, Any]) -> str:
  """The tables of a file of `save` as Markdown, below what they are of."""
  about = result["machine"]
  cores = f"{about['cores']} core{'s' if about['cores'] > 1 else ''}"
  load = result["load"]
  facts = [about["processor"], cores, f"jax {about['jax']}", about["date"]]
  facts += [f"load {load['at the start']} to {load['at the end']}"]
  head = f"`{result['command']}` ({', '.join(map(str, facts))}"
  head += f"; {result['note']}):" if result["note"] else "):"
  parts = [textwrap.fill(head, 88, break_long_words=False, break_on_hyphens=False)]
  for rows in result["tables"].values():
    columns = list(dict.fromkeys(key for row in rows for key in row))
    lines = [[_cell(row.get(column)) for column in columns] for row in rows]
    heads = [column.replace("_", " ") for column in columns]
    parts += ["", table_page.table(heads, lines)]
  return "\n".join(parts)


def recorded() -> dict[str, dict[str, Any]]:
  """The results of benchmarks/results that `save` wrote, by their names."""
  results = {path.stem: json.loads(path.read_text()) for path in RESULTS.glob("*.json")}
  return {name: each for name, each in sorted(results.items()) if "tables" in each}


def main() -> None:
  """Puts every recorded result between its comments in docs/results.md."""
  for name, result in recorded().items():
    table_page.replace(PAGE, name, text(result))
    print(f"{PAGE.name}: {name}")  # noqa: T201


def _command(name: str, argv: Sequence[str]) -> str:
  """The command without the options that only say where its figures go."""
  kept, dropping = [], False
  for arg in argv:
    if arg.startswith("-"):
      option, equals, _ = arg.partition("=")
      is_ours = option in ("--json", "--note")
      dropping = is_ours and not equals  # its value is the next argument, if any
      if not is_ours:
        kept.append(arg)
    elif dropping:
      dropping = False
    else:
      kept.append(arg)
  return shlex.join(["python", "-m", f"benchmarks.{name}", *kept])


def _plain(value: Any, column: str) -> Any:
  """A value as JSON has it: no NaN, and no more digits than mean something."""
  if value is None or isinstance(value, str | bool):
    return value
  if isinstance(value, numbers.Integral):
    return int(value)
  if isinstance(value, numbers.Real):
    value = float(value)
    return float(f"{value:.{_DIGITS}g}") if math.isfinite(value) else None
  raise ValueError(
    f"column {column!r} holds a {type(value).__name__}; want a column for each number"
  )


def _cell(value: Any) -> str:
  if value is None:
    return "–"
  if isinstance(value, bool):
    return "yes" if value else "no"
  if isinstance(value, int):
    return f"{value:,}"
  if isinstance(value, float):
    is_large = abs(value) >= 10 ** (_SHOWN - 1)
    return f"{value:,.0f}" if is_large else f"{value:.{_SHOWN}g}"
  return str(value)


if __name__ == "__main__":
  main()
