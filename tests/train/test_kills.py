"""Runs that are killed, in processes of their own; benchmarks.reliability has more."""

import random
import signal

import pytest

from benchmarks import reliability
from occnet_jax.train import checkpoint


@pytest.fixture(scope="module")
def whole(tiny_data, tmp_path_factory):
  workdir = tmp_path_factory.mktemp("kills") / "whole"
  reliability.finish(workdir, tiny_data)
  return workdir


def test_a_run_killed_at_many_moments_ends_as_one_never_killed(
  whole, tiny_data, tmp_path
):
  workdir, rng = tmp_path / "run", random.Random(0)
  for phase in ("compilation", "save", "validation"):
    assert reliability.interrupt(workdir, tiny_data, phase, rng) == -signal.SIGKILL
  code = reliability.interrupt(workdir, tiny_data, "save", rng, signal.SIGTERM)
  assert code == 75
  newest = max(step for _, step in checkpoint.available(workdir))
  (workdir / "checkpoints" / "latest" / str(newest) / "record" / "metadata").unlink()
  reliability.finish(workdir, tiny_data)
  assert reliability.differences(whole, workdir) == []
  (damaged,) = (workdir / "checkpoints" / "damaged").iterdir()
  assert damaged.name == f"latest_{newest}_0"


def test_differences_are_seen(whole, tmp_path):
  assert reliability.differences(whole, whole) == []
  saved = checkpoint.restore(whole)
  other = {**saved.state, "step": saved.state["step"] + 1}
  assert reliability._unequal(saved.state, other) == ["state/step"]
