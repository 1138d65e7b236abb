"""The tables of benchmarks.tables as Markdown, for docs/results.md."""

import math
import pathlib
from typing import Any

from benchmarks import table_systems
from benchmarks.table_systems import METRICS
from occnet_jax.files import atomic_write

Result = dict[str, Any]  # what <out>/<table>.json holds
HEADS = {"table1": "from images", "table2": "from clouds"}


def figure(value: float | None) -> str:
  """Three decimals; a dash for what is not measured."""
  return "–" if value is None or math.isnan(value) else f"{value:.3f}"


def table(heads: list[str], rows: list[list[str]]) -> str:
  lines = [heads, ["---"] * len(heads), *rows]
  return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def means(result: Result) -> str:
  """A row for each system: its size, our means of classes, and the published ones."""
  published = table_systems.PUBLISHED[result["table"]]
  heads = ["system", "parameters", "steps x shapes", "IoU", "Chamfer-L1 x10"]
  heads += ["normals", "F-score 1 %", "published: IoU", "Chamfer", "normals"]
  rows = [
    [
      row["system"],
      f"{row['parameters']:,}",
      f"{row['steps']:,} x {row['batch_size']}",
      *(with_range(row, name) for name in METRICS),
      *map(figure, published.get(row["system"], (None,) * 3)),
    ]
    for row in result["rows"]
  ]
  return table(heads, rows)


def with_range(row: dict[str, Any], name: str) -> str:
  """A figure's mean over seeds, with the least and the most where there are several."""
  own = [means[name] for means in row["of_seeds"]]
  if len(own) == 1 or None in own:
    return figure(row["means"][name])
  return f"{figure(row['means'][name])} ({figure(min(own))} to {figure(max(own))})"


def classes(result: Result) -> str:
  """Chamfer-L1 x10 by class; published figures behind a slash where there are any."""
  names = sorted(result["rows"][0]["categories"])
  published = table_systems.PUBLISHED_CLASSES if result["table"] == "table1" else {}
  rows = []
  for name in names:
    cells = [name]
    for row in result["rows"]:
      ours = figure(row["categories"][name]["chamfer_l1_x10"])
      theirs = published.get(row["system"], {}).get(name)
      cells.append(f"{ours} / {figure(theirs)}" if theirs else ours)
    rows.append(cells)
  return table(["class", *(row["system"] for row in result["rows"])], rows)


def text(result: Result) -> str:
  """Both tables, and what they are of."""
  machine, budget = result["machine"], result["rows"][0]["budget"]
  theirs = " (ours / published)" if result["table"] == "table1" else ""
  seeds = {len(row["of_seeds"]) for row in result["rows"]}
  repeated = f", {max(seeds)} seeds each" if max(seeds) > 1 else ""
  if len(seeds) > 1:
    repeated = f", {max(seeds)} seeds of systems with a range"
  meshes = {int(row["meshes"]) // len(row["of_seeds"]) for row in result["rows"]}
  shapes = ", ".join(map(str, sorted(meshes)))
  lost = sum(int(row["empty"] + row["missing"]) for row in result["rows"])
  return "\n".join(
    [
      f"Reconstruction {HEADS[result['table']]}, "
      f"{table_systems.INPUTS[result['table']]}; {budget['minutes']:g} CPU minutes of",
      f"training each{repeated}, {shapes} test shapes, {lost} of all meshes empty or "
      "missing",
      f"({machine['processor']}, {machine['cores']} core, jax {machine['jax']}, "
      f"{machine['date']}):",
      "",
      means(result),
      "",
      f"Chamfer-L1 x10 by class{theirs}:",
      "",
      classes(result),
    ]
  )


def replace(page: pathlib.Path, name: str, content: str) -> None:
  """Puts content between the page's comments <!-- name --> and <!-- /name -->.

  Raises:
    ValueError: the page lacks one of the comments.
  """
  before, start, rest = page.read_text(encoding="utf-8").partition(f"<!-- {name} -->")
  _, end, after = rest.partition(f"<!-- /{name} -->")
  if not (start and end):
    raise ValueError(f"{page}: lacks <!-- {name} --> or <!-- /{name} -->; add both")
  with atomic_write(page) as scratch:
    whole = f"{before}{start}\n{content}\n{end}{after}"
    scratch.write_text(whole, encoding="utf-8")
