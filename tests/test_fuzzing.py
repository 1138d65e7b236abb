"""Every reader of foreign bytes, on changed files: read, or refused with a sentence.

`pytest tests/test_fuzzing.py --fuzz=2000` takes so many cases of each kind of file.
"""

import collections
import pathlib

from data_prep.pipeline import worker_pool
from tests.helpers import fuzz_seeds, fuzzing

LIMITS = worker_pool.Limits(seconds=20.0, gibibytes=3.0)
KINDS = [kind for kind in fuzz_seeds.SEEDS if kind not in fuzz_seeds.ABSENT]


def outcomes_of(cases):
  return list(worker_pool.run_tasks(fuzzing.run_case, cases, workers=1, limits=LIMITS))


def test_sound_files_are_read_and_changed_ones_read_or_refused(request, capsys):
  count = request.config.getoption("--fuzz")
  cases = [(kind, number) for number in range(count + 1) for kind in KINDS]
  outcomes = outcomes_of(cases)
  sound = {kind: outcome for (kind, number), outcome in outcomes if not number}
  assert sound == dict.fromkeys(KINDS, "read")
  wrong = [x for x in outcomes if x[1] not in ("read", "refused")]
  totals = collections.Counter(str(outcome)[:7] for _, outcome in outcomes)
  with capsys.disabled():
    print(f"\nfuzzing: {len(cases)} cases, {dict(totals)}")  # noqa: T201
  assert not wrong


def test_the_fuzzer_notices_what_it_looks_for(tmp_path, monkeypatch):
  bad = {
    "traceback": lambda path: path.none,
    "elsewhere": lambda path: pathlib.Path("/etc/passwd").read_text(),
    "writes": lambda path: path.with_name("b").write_text(""),
    "runs": lambda path: __import__("os").system("true"),
    "lines": lambda path: (_ for _ in ()).throw(ValueError("a\nb")),
  }
  for name, reader in bad.items():
    monkeypatch.setitem(fuzz_seeds.READERS, "a.xyz", reader)
    assert fuzzing.run_case(("a.xyz", 1)) not in ("read", "refused"), name


def test_a_case_is_the_same_each_time(tmp_path):
  for name in ("a", "b"):
    (tmp_path / name).mkdir()
  first, second = (
    fuzzing.write_case(tmp_path / name, "a.csv", 7).read_bytes() for name in ("a", "b")
  )
  assert first == second != fuzz_seeds.SEEDS["a.csv"]
