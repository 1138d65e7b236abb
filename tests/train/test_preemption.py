"""SIGTERM, sent to this very process while it trains."""

import os
import signal

import pytest

from occnet_jax.train import checkpoint, loop, metric_log, progress
from tests.helpers.training import assert_close


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
  """Where a run that was never stopped lies; made by the first test that wants it."""
  return tmp_path_factory.mktemp("whole")


def ask(*_):
  os.kill(os.getpid(), signal.SIGTERM)


def stop_between_steps(patch):
  add = progress.Progress.add
  patch.setattr(
    progress.Progress, "add", lambda self, s, row: (add(self, s, row), s == 8 and ask())
  )


def stop_in_validation(patch):
  batches = loop.validation_batches

  def asking(config):
    for batch in batches(config):
      ask()
      yield batch

  patch.setattr(loop, "validation_batches", asking)


@pytest.mark.parametrize(
  ("stop_at", "saved"), [(stop_between_steps, 9), (stop_in_validation, 6)]
)
def test_a_stopped_run_has_saved_and_resumes_to_the_same_end(
  stop_at, saved, tiny_config, tmp_path, whole, monkeypatch
):
  loop.train(tiny_config, whole)
  with monkeypatch.context() as patch, pytest.raises(SystemExit) as end:
    stop_at(patch)
    loop.train(tiny_config, tmp_path)
  assert end.value.code == 75
  assert ("latest", saved) in checkpoint.available(tmp_path)
  assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
  loop.train(tiny_config, tmp_path)
  for step in (12, None):  # the end, and the best
    wanted, found = checkpoint.restore(whole, step), checkpoint.restore(tmp_path, step)
    assert_close(wanted.state, found.state, rtol=0, atol=0)
    assert wanted.record == found.record
  rows = [metric_log.read(run / "logs" / "metrics.jsonl") for run in (whole, tmp_path)]
  assert metric_log.timeless(rows[0]) == metric_log.timeless(rows[1])
