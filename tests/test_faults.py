"""The page of faults: every row is backed by a test that is there."""

import ast
import re

from tests.helpers import ROOT

PAGE = (ROOT / "docs" / "faults.md").read_text()
ROW = re.compile(r"\| (.+?) \| (.+?) \| `(tests/[\w/]+\.py)::(test_\w+)` \|")


def test_every_fault_has_a_test_of_its_file():
  lines = [line for line in PAGE.splitlines() if line.startswith("| ")]
  rows = [ROW.fullmatch(line) for line in lines if not re.match(r"\| (---|what)", line)]
  assert len(rows) > 40 and all(rows)
  functions = {}
  for _, _, path, name in (row.groups() for row in rows):
    if path not in functions:
      tree = ast.parse((ROOT / path).read_text())
      functions[path] = {node.name for node in tree.body if hasattr(node, "name")}
    assert name in functions[path], name


def test_the_page_is_for_readers_elsewhere():
  assert not re.search(r"/work|/tmp|\.\./|issue|session", PAGE)
  assert len({row[0] for row in ROW.findall(PAGE)}) == len(ROW.findall(PAGE))
