"""Batches of points: every row once, in order, in the caller's thread or in others."""

import threading

import numpy as np
import pytest

from occnet_jax.extract import point_batches


@pytest.mark.parametrize("in_caller", [False, True])
@pytest.mark.parametrize("count", [0, 1, 4, 17])
def test_results_are_in_the_order_of_the_rows(in_caller, count, monkeypatch):
  monkeypatch.setattr(point_batches, "runs_in_caller", lambda: in_caller)
  rows, threads = np.arange(3.0 * count).reshape(count, 3), set()

  def double(batch):
    threads.add(threading.get_ident())
    return 2 * batch

  batches = list(point_batches.padded_batches(rows, 4))
  assert all(batch.shape == (4, 3) for batch in batches)
  results = point_batches.map_batches(double, batches)
  joined = np.concatenate([np.zeros((0, 3)), *results])
  np.testing.assert_array_equal(joined[:count], 2 * rows)
  np.testing.assert_array_equal(joined[count:], 2 * np.repeat(rows[-1:], -count % 4, 0))
  assert (threads - {threading.get_ident()} != set()) == (in_caller and count > 4)


def test_an_error_in_a_thread_reaches_the_caller(monkeypatch):
  monkeypatch.setattr(point_batches, "runs_in_caller", lambda: True)

  def fail_at_two(batch):
    if batch[0, 0] == 2:
      raise ValueError("no value at 2")
    return batch

  with pytest.raises(ValueError, match="no value at 2"):
    point_batches.map_batches(
      fail_at_two, np.zeros((5, 1, 3)) + np.arange(5.0)[:, None, None]
    )
