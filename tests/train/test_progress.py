import io
import threading
import time

import numpy as np
import pytest

from occnet_jax.train import data_wait, metric_log, progress
from occnet_jax.train.data_wait import DataWait
from occnet_jax.train.state import TrainState

STATE = TrainState(np.int32(4), None, None, None, None, None)


def scalars(loss, **more):
  return {"loss": np.float32(loss), "gradient_norm": np.float32(1), **more}


def rows(directory):
  return metric_log.timeless(metric_log.read(directory / "metrics.jsonl"))


def test_a_line_is_the_mean_of_the_steps_since_the_last(tmp_path):
  with progress.Progress(tmp_path, 0, 9, shapes=8) as followed:
    followed.add(0, scalars(1))
    followed.add(1, scalars(3))
    followed.flush(STATE)
    several = {k: np.stack([v, 2 * v]) for k, v in scalars(5).items()}
    followed.add(2, several)
    followed.flush(STATE)
    followed.flush(STATE)  # nothing new, no line
  assert rows(tmp_path) == [
    {"step": 2, "train/loss": 2.0, "train/gradient_norm": 1.0},
    {"step": 4, "train/loss": 7.5, "train/gradient_norm": 1.5},
  ]


def test_a_run_that_ends_between_two_lines_goes_on_within_the_line(tmp_path):
  values = np.random.default_rng(0).random(5).astype(np.float32)
  with progress.Progress(tmp_path / "whole", 0, 5, shapes=8) as followed:
    for step, value in enumerate(values):
      followed.add(step, scalars(value))
    followed.flush(STATE)
  with progress.Progress(tmp_path / "parts", 0, 5, shapes=8) as followed:
    for step in range(2):
      followed.add(step, scalars(values[step]))
    left = followed.pending_rows(STATE)
  resumed = progress.Progress(tmp_path / "parts", 2, 5, shapes=8, pending_rows=left)
  with resumed as followed:
    for step in range(2, 5):
      followed.add(step, scalars(values[step]))
    followed.flush(STATE)
  assert rows(tmp_path / "parts") == rows(tmp_path / "whole")


def test_the_first_bad_step_is_named_though_later_ones_are_good(tmp_path):
  with (
    progress.Progress(tmp_path, 4, 9, shapes=8) as followed,
    pytest.raises(
      progress.NotFinite, match="step 5: the gradient norm is inf"
    ) as error,
  ):
    followed.add(4, scalars(1))
    followed.add(5, {"loss": np.float32(1), "gradient_norm": np.float32(np.inf)})
    followed.add(6, scalars(1))
    followed.flush(STATE)
  assert error.value.step == 4 and error.value.state is STATE
  assert rows(tmp_path) == []


def test_skipping_without_end_is_an_end(tmp_path):
  with progress.Progress(tmp_path, 0, 500, shapes=8) as followed:
    with pytest.raises(progress.NotFinite, match="nan, as in the 99 steps before"):
      for step in range(200):
        followed.add(step, scalars(np.nan, skipped=np.float32(1)))
        followed.flush(STATE)
    assert rows(tmp_path)[-1] == {"step": 99, "train/skipped": 1.0}


class Output(io.StringIO):
  def __init__(self, is_terminal):
    super().__init__()
    self._is_terminal = is_terminal

  def isatty(self):
    return self._is_terminal


def print_progress(monkeypatch, directory, *, is_terminal, seconds):
  """The output of ten flushes, each so many seconds after the one before."""
  output, now = Output(is_terminal), [0.0]
  monkeypatch.setattr(progress.sys, "stdout", output)
  monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
  with progress.Progress(directory, 0, 10, shapes=8) as followed:
    for step in range(10):
      followed.add(step, scalars(step))
      now[0] += seconds
      followed.flush(STATE)
  return output.getvalue()


@pytest.mark.parametrize(
  ("seconds", "steps"), [(1, [1, 10]), (25, [1, 4, 7, 10]), (60, list(range(1, 11)))]
)
def test_a_log_file_gets_a_line_a_minute_and_no_bar(
  seconds, steps, tmp_path, monkeypatch
):
  text = print_progress(monkeypatch, tmp_path, is_terminal=False, seconds=seconds)
  lines = text.splitlines()
  assert "\r" not in text
  assert [line.split(":")[0] for line in lines] == [f"step {s} of 10" for s in steps]
  assert "loss 9 " in lines[-1]


def test_a_terminal_gets_a_bar_and_no_lines(tmp_path, monkeypatch):
  text = print_progress(monkeypatch, tmp_path, is_terminal=True, seconds=60)
  assert "\r" in text and "10/10" in text and "step 10 of 10" not in text


def test_scores_have_their_step_and_those_of_the_end_a_line(tmp_path, monkeypatch):
  output = Output(False)
  monkeypatch.setattr(progress.sys, "stdout", output)
  with progress.Progress(tmp_path, 0, 2, shapes=8) as followed:
    followed.evaluated(1, "val", {"iou": 0.25}, {})
    followed.add(1, scalars(1))
    followed.flush(STATE)
    followed.evaluated(2, "val", {"iou": 0.5, "loss": 3.0}, {})
  first, last = output.getvalue().splitlines()
  assert first.startswith("step 2 of 2: loss")
  assert first.endswith(" | at step 1: val iou 0.25")
  assert last == "step 2 of 2: val iou 0.5, val loss 3"


class Slow:
  """A result of the device that takes so many seconds from now on."""

  def __init__(self, seconds):
    self._end = time.perf_counter() + seconds

  def block_until_ready(self):
    time.sleep(max(0.0, self._end - time.perf_counter()))


def test_a_wait_counts_only_while_the_device_has_nothing_to_do():
  waits, begin = DataWait(), time.perf_counter()
  slow = (time.sleep(0.2) for _ in range(2))
  waits.draw(slow)  # nothing to do yet: all of it counts
  waits.dispatched(Slow(0.6))
  waits.draw(slow)  # while it works
  waits.dispatched(Slow(0.2))
  seconds = waits.take()
  assert 0.2 <= seconds <= time.perf_counter() - begin - 0.5
  assert waits.take() == 0.0
  waits.close()


def test_storage_that_stalls_is_reported_while_the_run_waits(tmp_path, monkeypatch):
  monkeypatch.setattr(data_wait, "STALL_WARNING_SECONDS", 0.05)
  reported, texts = threading.Event(), []

  def note(text, file):
    texts.append(text)
    reported.set()

  def batches():
    yield "soon"
    assert reported.wait(60)
    yield "late"

  with progress.Progress(tmp_path, 0, 9, shapes=1) as watched:
    monkeypatch.setattr(watched._bar, "write", note)
    stalling = batches()
    assert watched.draw(stalling) == "soon"
    assert not reported.wait(0.2)  # nothing is drawn
    assert watched.draw(stalling) == "late"
  assert "the storage of the data stalls, and the run waits for it" in texts[0]


def test_a_slow_pipeline_is_reported_once_with_a_way_out(tmp_path, monkeypatch):
  stderr = io.StringIO()
  monkeypatch.setattr(progress.sys, "stderr", stderr)
  batches = (time.sleep(0.05) for _ in range(9))
  with progress.Progress(tmp_path, 0, 9, shapes=8) as followed:
    for step in range(9):
      followed.draw(batches)
      followed.add(step, scalars(1))
      followed.flush(STATE)
  assert stderr.getvalue().count("waits for data in ") == 1
  assert "config.data.placement" in stderr.getvalue()
  shares = metric_log.curve(
    metric_log.read(tmp_path / "metrics.jsonl"), "train/waiting_for_data"
  )[1]
  assert min(shares) > 0.2 and max(shares) <= 1.0


def test_damaged_lines_lose_no_others(tmp_path, caplog):
  path = tmp_path / "metrics.jsonl"
  with progress.Progress(tmp_path, 0, 9, shapes=8) as followed:
    for step in range(5):
      followed.add(step, scalars(step))
      followed.flush(STATE)
  lines = path.read_bytes().splitlines()
  lines[1] = b"\xff" + lines[1][1:]
  lines[3] = b"null"
  path.write_bytes(b"\n".join([*lines, b'{"step": 6, "tr']))
  metric_log.MetricLog(tmp_path, start=5).close()
  assert [row["step"] for row in rows(tmp_path)] == [1, 3, 5]
  assert "2 damaged lines are left out, the first is line 2" in caplog.text
