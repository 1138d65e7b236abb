"""What benchmarks write with --json, and the tables of docs/results.md made of it."""

import argparse
import json
import sys

import numpy as np
import pytest

from benchmarks import decoder, record
from tests.helpers import ROOT

PAGE = (ROOT / "docs" / "results.md").read_text()
# These write a JSON of their own, with the machine, or a picture.
OTHERS = {"accelerator", "tables", "scans_sheet", "record"}
COMMANDS = sorted(
  path.stem
  for path in (ROOT / "benchmarks").glob("*.py")
  if "__main__" in path.read_text() and path.stem not in OTHERS
)


def parse(monkeypatch, *argv):
  monkeypatch.setattr(sys, "argv", ["/anywhere/benchmarks/rates.py", *argv])
  parser = argparse.ArgumentParser()
  parser.add_argument("--rounds", type=int, default=3)
  parser.add_argument("runs", nargs="*")
  return record.parse(parser)


@pytest.mark.parametrize(
  ("argv", "path", "command"),
  [
    ("", None, ""),
    ("--json", record.RESULTS / "rates.json", ""),
    ("--rounds 4 --json", record.RESULTS / "rates.json", " --rounds 4"),
    ("--json a.json --rounds=4", "a.json", " --rounds=4"),
    ("--note idle --json=b.json --rounds 4", "b.json", " --rounds 4"),
    ("--rounds 4 one two --json", record.RESULTS / "rates.json", " --rounds 4 one two"),
  ],
)
def test_a_command_is_recorded_without_where_its_figures_go(
  argv, path, command, monkeypatch
):
  args = parse(monkeypatch, *argv.split())
  assert str(args.json) == str(path)
  assert args.record["command"] == f"python -m benchmarks.rates{command}"


RESULT = {
  "command": "python -m benchmarks.rates --rounds=4",
  "note": "one of two cores",
  "machine": {"processor": "CPU X", "cores": 1, "jax": "0.10", "date": "2026-01-02"},
  "load": {"at the start": 2.5, "at the end": 3.0},
  "tables": {
    "a": [
      {"way": "one", "points": 12345, "s": 0.123456, "closed": True},
      {"way": "two", "s": 1234.5, "closed": False, "peak_GB": None},
    ],
    "b": [{"share": 0.5}],
  },
}
TEXT = """\
`python -m benchmarks.rates --rounds=4` (CPU X, 1 core, jax 0.10, 2026-01-02, load 2.5
to 3.0; one of two cores):

| way | points | s | closed | peak GB |
| --- | --- | --- | --- | --- |
| one | 12,345 | 0.1235 | yes | – |
| two | – | 1,234 | no | – |

| share |
| --- |
| 0.5 |"""


def test_a_result_is_its_command_its_machine_and_a_table_for_each_kind_of_row():
  assert record.text(RESULT) == TEXT


def test_what_is_saved_is_what_was_measured(monkeypatch, tmp_path):
  path = tmp_path / "new" / "rates.json"
  args = parse(monkeypatch, f"--json={path}", "--note=of a test", "--rounds=4")
  rows = [{"x": np.float32(1 / 3), "n": np.int64(7), "lost": np.nan, "ok": True}]
  record.save(args, rows=rows)
  result = json.loads(path.read_text())
  assert result["tables"] == {
    "rows": [{"x": 0.333333, "n": 7, "lost": None, "ok": True}]
  }
  assert result["note"] == "of a test" and result["benchmark"] == "rates"
  assert {"commit", "date", "python", "jax", "numpy"} <= result["machine"].keys()
  with pytest.raises(ValueError, match="column 'x' holds a list; want a column for ea"):
    record.save(args, rows=[{"x": [1, 2]}])


def test_without_json_nothing_is_written(monkeypatch, tmp_path):
  monkeypatch.chdir(tmp_path)
  monkeypatch.setattr(record, "RESULTS", tmp_path)
  record.save(parse(monkeypatch), rows=[{"x": 1}])
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", COMMANDS)
def test_every_benchmark_ends_in_the_same_way(name):
  source = (ROOT / "benchmarks" / f"{name}.py").read_text()
  assert "record.parse(" in source and "record.save(" in source
  assert ".parse_args(" not in source


def test_a_benchmark_writes_the_rows_that_it_prints(monkeypatch, tmp_path, capsys):
  path = tmp_path / "decoder.json"
  argv = ["decoder", "--points=64,128", "--rounds=1", f"--json={path}"]
  monkeypatch.setattr(sys, "argv", argv)
  decoder.main()
  result = json.loads(path.read_text())
  rows = result["tables"]["decoder"]
  printed = capsys.readouterr().out.splitlines()[1:3]
  assert [row["points"] for row in rows] == [64, 128]
  for line, row in zip(printed, rows, strict=True):
    assert line.split()[0] == str(row["points"])
    assert float(line.split()[3]) == pytest.approx(row["share"], abs=0.006)
  assert result["command"] == "python -m benchmarks.decoder --points=64,128 --rounds=1"


def test_the_page_shows_the_recorded_results():
  results = record.recorded()
  assert {"decoder", "extract", "labels", "large_clouds"} <= results.keys()
  for name, result in results.items():
    assert f"<!-- {name} -->\n{record.text(result)}\n<!-- /{name} -->" in PAGE, (
      f"{name}: run python -m benchmarks.record"
    )


def test_a_recorded_result_says_what_made_it():
  for name, result in record.recorded().items():
    assert result["benchmark"] == name and name in COMMANDS
    assert result["command"].startswith(f"python -m benchmarks.{name}")
    about = result["machine"]
    assert about["commit"] and about["cores"] and about["processor"]
    assert {"date", "python", "jax", "numpy"} <= about.keys()
    assert all(result["tables"].values())


def test_rendering_replaces_the_tables_before(monkeypatch, tmp_path):
  page, results = tmp_path / "page.md", tmp_path / "results"
  results.mkdir()
  page.write_text("a\n<!-- rates -->\nold\n<!-- /rates -->\nb\n")
  (results / "rates.json").write_text(json.dumps(RESULT))
  (results / "table1.json").write_text('{"rows": []}')  # of benchmarks.tables
  monkeypatch.setattr(record, "RESULTS", results)
  monkeypatch.setattr(record, "PAGE", page)
  for _ in range(2):
    record.main()
    assert page.read_text() == f"a\n<!-- rates -->\n{TEXT}\n<!-- /rates -->\nb\n"
