"""SIGTERM, sent to this very process while it trains."""

import os
import signal

import pytest

from occnet_jax.data import batches as batches_lib
from occnet_jax.train import checkpoint, loop, metric_log, progress
from tests.helpers.training import assert_close


def send_signal(*_):
  os.kill(os.getpid(), signal.SIGTERM)


def stop_between_steps(patch):
  add = progress.Progress.add
  patch.setattr(
    progress.Progress,
    "add",
    lambda self, s, row: (add(self, s, row), s == 8 and send_signal()),
  )


def stop_in_validation(patch, number=1):
  batches, started = batches_lib.validation_batches, []

  def signalling(*args):
    started.append(args)
    for batch in batches(*args):
      if len(started) == number:
        send_signal()
      yield batch

  patch.setattr(batches_lib, "validation_batches", signalling)


def stop_in_last_validation(patch):
  stop_in_validation(patch, number=2)


@pytest.mark.parametrize(
  ("stop_at", "saved"),
  [(stop_between_steps, 9), (stop_in_validation, 6), (stop_in_last_validation, 12)],
)
def test_a_stopped_run_has_saved_and_resumes_to_the_same_end(
  stop_at, saved, tiny_config, tiny_run, tmp_path, monkeypatch
):
  with monkeypatch.context() as patch, pytest.raises(SystemExit) as end:
    stop_at(patch)
    loop.train(tiny_config, tmp_path)
  assert end.value.code == 75
  assert ("latest", saved) in checkpoint.available(tmp_path)
  assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
  loop.train(tiny_config, tmp_path)
  for step in (12, None):  # the end, and the best
    wanted, actual = (checkpoint.restore(run, step) for run in (tiny_run, tmp_path))
    assert_close(wanted.state, actual.state, rtol=0, atol=0)
    assert wanted.record == actual.record
  logs = (run / "logs" / "metrics.jsonl" for run in (tiny_run, tmp_path))
  first, second = (metric_log.timeless(metric_log.read(log)) for log in logs)
  assert first == second
