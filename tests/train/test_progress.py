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
  with progress.Progress(tmp_path, 0, 9, shapes=8) as seen:
    seen.add(0, scalars(1))
    seen.add(1, scalars(3))
    seen.flush(STATE)
    several = {k: np.stack([v, 2 * v]) for k, v in scalars(5).items()}
    seen.add(2, several)
    seen.flush(STATE)
    seen.flush(STATE)  # nothing new, no line
  assert rows(tmp_path) == [
    {"step": 2, "train/loss": 2.0, "train/gradient_norm": 1.0},
    {"step": 4, "train/loss": 7.5, "train/gradient_norm": 1.5},
  ]


def test_a_run_that_ends_between_two_lines_goes_on_within_the_line(tmp_path):
  values = np.random.default_rng(0).random(5).astype(np.float32)
  with progress.Progress(tmp_path / "whole", 0, 5, shapes=8) as seen:
    for step, value in enumerate(values):
      seen.add(step, scalars(value))
    seen.flush(STATE)
  with progress.Progress(tmp_path / "parts", 0, 5, shapes=8) as seen:
    for step in range(2):
      seen.add(step, scalars(values[step]))
    left = seen.pending_rows(STATE)
  with progress.Progress(tmp_path / "parts", 2, 5, shapes=8, pending_rows=left) as seen:
    for step in range(2, 5):
      seen.add(step, scalars(values[step]))
    seen.flush(STATE)
  assert rows(tmp_path / "parts") == rows(tmp_path / "whole")


def test_the_first_bad_step_is_named_though_later_ones_are_good(tmp_path):
  with (
    progress.Progress(tmp_path, 4, 9, shapes=8) as seen,
    pytest.raises(
      progress.NotFinite, match="step 5: the gradient norm is inf"
    ) as error,
  ):
    seen.add(4, scalars(1))
    seen.add(5, {"loss": np.float32(1), "gradient_norm": np.float32(np.inf)})
    seen.add(6, scalars(1))
    seen.flush(STATE)
  assert error.value.step == 4 and error.value.state is STATE
  assert rows(tmp_path) == []


def test_skipping_without_end_is_an_end(tmp_path):
  with progress.Progress(tmp_path, 0, 500, shapes=8) as seen:
    with pytest.raises(progress.NotFinite, match="nan, as in the 99 steps before"):
      for step in range(200):
        seen.add(step, scalars(np.nan, skipped=np.float32(1)))
        seen.flush(STATE)
    assert rows(tmp_path)[-1] == {"step": 99, "train/skipped": 1.0}


class Slow:
  """What a device computes, which takes so long from now on."""

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
  found = waits.take()
  assert 0.2 <= found <= time.perf_counter() - begin - 0.5
  assert waits.take() == 0.0
  waits.close()


def test_storage_that_stalls_is_told_while_the_run_waits(tmp_path, monkeypatch):
  monkeypatch.setattr(data_wait, "STALL_WARNING_SECONDS", 0.05)
  told, texts = threading.Event(), []

  def note(text, file):
    texts.append(text)
    told.set()

  def batches():
    yield "soon"
    assert told.wait(60)
    yield "late"

  with progress.Progress(tmp_path, 0, 9, shapes=1) as watched:
    monkeypatch.setattr(watched._bar, "write", note)
    found = batches()
    assert watched.draw(found) == "soon"
    assert not told.wait(0.2)  # nothing is drawn
    assert watched.draw(found) == "late"
  assert "the storage of the data stalls, and the run waits for it" in texts[0]


def test_a_pipeline_that_limits_is_told_once_with_a_way_out(tmp_path, monkeypatch):
  told = io.StringIO()
  monkeypatch.setattr(progress.sys, "stderr", told)
  batches = (time.sleep(0.05) for _ in range(9))
  with progress.Progress(tmp_path, 0, 9, shapes=8) as seen:
    for step in range(9):
      seen.draw(batches)
      seen.add(step, scalars(1))
      seen.flush(STATE)
  assert told.getvalue().count("waits for data in ") == 1
  assert "config.data.placement" in told.getvalue()
  shares = metric_log.curve(
    metric_log.read(tmp_path / "metrics.jsonl"), "train/waiting_for_data"
  )[1]
  assert min(shares) > 0.2 and max(shares) <= 1.0
