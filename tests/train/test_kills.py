"""Runs that are killed, in processes of their own; benchmarks.reliability has more."""

import pathlib
import random
import signal
import time

import psutil
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


def test_a_process_that_dies_ends_the_others_with_a_sentence(tiny_data, tmp_path):
  workdir, rng = tmp_path / "run", random.Random(0)
  code = reliability.interrupt(workdir, tiny_data, "save", rng, processes=2)
  assert code == -signal.SIGKILL
  output = pathlib.Path(f"{workdir}.log").read_text()
  # If the first process dies, JAX may end the other before it has raised its error.
  assert (
    "error: another process of this run may be gone" in output
    or "this most likely indicates that another task died" in output.lower()
  )


def test_a_killed_loader_process_ends_the_run_which_then_resumes_exactly(
  whole, tiny_data, tmp_path
):
  workdir = tmp_path / "run"
  (process,) = reliability.start(workdir, tiny_data, placement="stream", workers=1)
  while process.is_alive() and not reliability._rows(workdir):
    time.sleep(0.001)
  for child in psutil.Process(process.pid).children():
    if "spawn_main" in " ".join(child.cmdline()):
      child.kill()
  process.join(reliability.PATIENCE)
  assert process.exitcode == 1
  output = pathlib.Path(f"{workdir}.log").read_text()
  assert "error: no batch for step" in output and "Traceback" not in output
  saved = max(step for kind, step in checkpoint.available(workdir) if kind == "latest")
  assert f"stopped after saving step {saved};" in output
  reliability.finish(workdir, tiny_data)
  assert reliability.differences(whole, workdir) == []


def test_differences_between_runs_are_reported(whole, tmp_path):
  assert reliability.differences(whole, whole) == []
  saved = checkpoint.restore(whole)
  other = {**saved.state, "step": saved.state["step"] + 1}
  assert reliability._unequal(saved.state, other) == ["state/step"]
