import numpy as np
import pytest

from occnet_jax.evaluation.resume_log import ResumeLog, read


def row(id, **more):
  return {"category": "chair", "id": id, **more}


def test_rows_survive_a_stop_and_come_sorted(tmp_path):
  path = tmp_path / "log.jsonl"
  with ResumeLog(path, {"step": 3}) as log:
    log.add(row("b", iou=0.5))
  with ResumeLog(path, {"step": 3}) as log:
    assert ("chair", "b") in log
    assert ("chair", "a") not in log
    log.add(row("a", iou=0.25))
    assert log.rows() == [row("a", iou=0.25), row("b", iou=0.5)]


def test_other_settings_begin_anew(tmp_path):
  path = tmp_path / "log.jsonl"
  with ResumeLog(path, {"step": 3}) as log:
    log.add(row("a"))
  with ResumeLog(path, {"step": 4}) as log:
    assert log.rows() == []
  assert read(path) == ({"step": 4}, [])


def test_a_torn_last_line_is_dropped(tmp_path):
  path = tmp_path / "log.jsonl"
  with ResumeLog(path, {"step": 3}) as log:
    log.add(row("a"))
  path.write_text(path.read_text() + '{"category": "ch')
  with ResumeLog(path, {"step": 3}) as log:
    assert log.rows() == [row("a")]
    log.add(row("b"))
  assert [r["id"] for r in read(path)[1]] == ["a", "b"]


def test_opening_a_finished_log_leaves_its_file_alone(tmp_path):
  path = tmp_path / "log.jsonl"
  with ResumeLog(path, {"taus": (0.1, 0.2)}) as log:
    log.add(row("a"))
  before = path.stat().st_mtime_ns
  with ResumeLog(path, {"taus": (0.1, 0.2)}):
    pass
  assert path.stat().st_mtime_ns == before


def test_no_log_reads_as_none(tmp_path):
  assert read(tmp_path / "nothing.jsonl") == (None, [])


@pytest.mark.parametrize(
  "line",
  ["5", "null", "[]", '{"category": "chair"}', '{"category": 1, "id": "b"}', "{]"],
)
def test_a_damaged_line_costs_its_own_shape_alone(tmp_path, caplog, line):
  path = tmp_path / "log.jsonl"
  with ResumeLog(path, {"step": 3}) as log:
    for id in "abc":
      log.add(row(id))
  lines = path.read_text().splitlines()
  path.write_text("\n".join([*lines[:2], line, lines[3]]) + "\n")
  with ResumeLog(path, {"step": 3}) as log:
    assert log.rows() == [row("a"), row("c")]
  assert "log.jsonl: line 3 is damaged" in caplog.text


def test_bytes_that_are_no_text_are_a_damaged_line(tmp_path):
  path = tmp_path / "log.jsonl"
  with ResumeLog(path, {"step": 3}) as log:
    log.add(row("a"))
  path.write_bytes(path.read_bytes() + b"\xff\n" + b"{\n")
  assert read(path) == ({"step": 3}, [row("a")])


def test_damaged_settings_begin_anew(tmp_path):
  path = tmp_path / "log.jsonl"
  path.write_text('{"step": 3\n{"category": "chair", "id": "a"}\n')
  assert read(path) == (None, [])
  with ResumeLog(path, {"step": 3}) as log:
    assert log.rows() == []


def test_any_changed_byte_costs_a_row_and_never_a_digit(tmp_path, caplog):
  path = tmp_path / "log.jsonl"
  rows = [row("a", iou=0.6331, points=3), row("b", iou=0.25, none=None, nan=1e300)]
  with ResumeLog(path, {"step": 3}) as log:
    for each in rows:
      log.add(each)
  content = path.read_bytes()
  rng = np.random.default_rng(0)
  for at in range(len(content)):
    damaged = bytearray(content)
    damaged[at] ^= 1 << rng.integers(8)
    path.write_bytes(damaged)
    settings, kept = read(path)
    assert settings is None or settings["step"] == 3
    assert all(each in rows for each in kept)
    assert settings or not kept


def test_a_log_without_checksums_is_read_and_gets_them(tmp_path):
  path = tmp_path / "log.jsonl"
  path.write_text('{"step": 3}\n{"category": "chair", "id": "a", "iou": 0.5}\n')
  with ResumeLog(path, {"step": 3}) as log:
    assert log.rows() == [row("a", iou=0.5)]
  assert path.read_text().count('"check"') == 2
  assert read(path) == ({"step": 3}, [row("a", iou=0.5)])
