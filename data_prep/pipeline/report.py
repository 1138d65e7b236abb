"""The report of a preparation: a row per mesh, and a summary in words (host)."""

import csv
import json
import pathlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from data_prep.sources.entry import SPLITS, MeshEntry
from data_prep.watertight.solid import RepairReport
from occnet_jax import files

FILE = "prepare_report.csv"
_FIXED = ("id", "category", "split", "outcome", "reason", "seconds")
# Outcomes that another call may change.
LOST = ("crash", "timeout", "memory", "system")
COLUMNS = (*_FIXED, *RepairReport._fields, "attribution", "licence")
_MAX_REASONS = 8  # shown in the summary

# Columns of reports that earlier versions wrote.
_RENAMED = {
  "denied": "contradicted",
  "sheets": "open_sheets",
  "added": "surface_added",
  "lost": "surface_lost",
}

_MORE = "prepare more meshes of each category"
_REMEDIES = {  # what to do about a split without shapes
  "train": _MORE,
  "val": f"train with --config.val.split=train, or {_MORE}, or with another "
  "prep.val_fraction, in another prep.out",
  "test": f"evaluate with --config.test.split=val, or {_MORE}, or with another "
  "prep.test_fraction, in another prep.out",
}
Row = dict[str, Any]  # some of COLUMNS: those whose value is known


def make_row(
  entry: MeshEntry,
  split: str,
  outcome: str,
  reason: str = "",
  seconds: float = 0.0,
  quality: dict[str, Any] | None = None,
) -> Row:
  """One line of the report.

  Args:
    entry: the mesh.
    split: the split that it was meant for.
    outcome: "ok"; "rejected" if it is no solid; "system" if its file could not be
      read, or its surface not be written; "crash", "timeout" or "memory" if it ended
      its process or was ended at a limit; "duplicate" if it was left out.
    reason: why the outcome is not "ok".
    seconds: wall time.
    quality: fields of `RepairReport`, of meshes that were repaired.
  """
  values = (entry.model_id, entry.category, split, outcome, reason, round(seconds, 3))
  credit = {"attribution": entry.attribution, "licence": entry.licence}
  return dict(zip(_FIXED, values, strict=True)) | (quality or {}) | credit


def write(out: pathlib.Path, rows: Iterable[Row]) -> None:
  """Writes the table of a prepared directory."""
  with (
    files.atomic_write(out / FILE) as scratch,
    scratch.open("w", newline="", encoding="utf-8") as stream,
  ):
    writer = csv.DictWriter(stream, COLUMNS)
    writer.writeheader()
    for row in rows:
      writer.writerow(
        {k: files.to_cell(v) if isinstance(v, str) else v for k, v in row.items()}
      )


def read(out: pathlib.Path) -> list[dict[str, str]]:
  """Every row of a prepared directory, as text by the names of COLUMNS.

  Raises:
    ValueError: the table is damaged.
  """
  try:
    with (out / FILE).open(newline="", encoding="utf-8") as stream:
      rows = list(csv.DictReader(stream, strict=True))
    rows = [
      {_RENAMED.get(name, name): files.from_cell(row[name]) for name in row}
      for row in rows
    ]
    if any(not row.keys() >= {*_FIXED} for row in rows):
      raise ValueError(f"want the columns {', '.join(_FIXED)}")
  except (ValueError, TypeError, csv.Error) as error:  # of rows of another length
    raise ValueError(
      f"{out / FILE}: cannot be read ({error}); restore it, or remove it and "
      "dataset_info.json and run the same command again"
    ) from error
  return rows


def read_parts(out: pathlib.Path) -> list[Row]:
  """The rows of the shards that are there, of a directory that is not complete."""
  paths = sorted((out / "rows").glob("*.json"))
  return [row for path in paths for row in json.loads(path.read_text())]


def count(rows: Sequence[Row]) -> dict[str, int]:
  """Number of examples in each split."""
  used = Counter(row["split"] for row in rows if row["outcome"] == "ok")
  return {split: used[split] for split in SPLITS}


def summarise(out: pathlib.Path) -> str:
  """Shapes per category and split, methods of repair, and the commonest failures."""
  rows = read(out)
  left_out = [row for row in rows if row["outcome"] != "ok"]
  by_category = defaultdict(list)
  for row in rows:
    by_category[row["category"]].append(row)
  by_category = dict(sorted(by_category.items())) | {"all": rows}
  width = max(map(len, by_category))
  lines = [_line("", (*SPLITS, "left out"), width)]
  for category, members in by_category.items():
    used = count(members)
    counts = (*used.values(), len(members) - sum(used.values()))
    lines.append(_line(category, counts, width))
  methods = Counter(row["method"] for row in rows if row.get("method"))
  if methods:
    lines.append("methods: " + ", ".join(f"{n} {m}" for m, n in methods.most_common()))
  for split, used in count(rows).items():
    if not used:
      lines.append(f"warning: no shape for {split}; {_REMEDIES[split]}")
  untested = [
    category
    for category, members in by_category.items()
    if count(members)["train"] and not count(members)["test"]
  ]
  if untested and count(rows)["test"]:
    more = ", ..." if len(untested) > 3 else ""
    lines.append(
      f"no test shape of {', '.join(untested[:3])}{more}, so no figures of theirs: "
      "there are too few, or the meshes in its place were left out"
    )
  if warned := [row for row in rows if row.get("warning")]:
    first = f"{warned[0]['category']}/{warned[0]['id']}: {warned[0]['warning']}"
    lines.append(f"warnings: {len(warned)}; the first, {first}")
  # Reasons that differ in figures only count as one.
  kinds = defaultdict(list)
  for row in left_out:
    kinds[row["outcome"], re.sub(r"[\d.]+(e[+-]?\d+)?", "", row["reason"])].append(row)
  common = sorted(kinds.values(), key=len, reverse=True)
  for members in common[:_MAX_REASONS]:
    row = members[0]
    which = f"{row['category']}/{row['id']}"
    lines.append(f"{len(members)} {row['outcome']}, such as {which}: {row['reason']}")
  if others := sum(map(len, common[_MAX_REASONS:])):
    lines.append(f"{others} left out for other reasons")
  return "\n".join([*lines, f"report: {out / FILE}"])


def _line(name: str, values: Sequence[Any], width: int) -> str:
  return " ".join([f"{name:{width}}", *(f"{value!s:>8}" for value in values)])
