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
