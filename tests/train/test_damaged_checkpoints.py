"""Checkpoints that are damaged, and those that only cannot be read just now."""

import os
import pathlib
import shutil
import subprocess
import sys

import jax
import pytest

from occnet_jax.train import checkpoint, integrity
from tests.helpers.checkpoints import CONFIG, damage, save, save_several
from tests.helpers.training import make_run


@pytest.mark.parametrize("part", ["state", "config", "record"])
def test_a_torn_checkpoint_is_an_error(tmp_path, part):
  _, _, state = make_run()
  save(tmp_path, state)
  shutil.rmtree(tmp_path / "checkpoints" / "latest" / "0" / part)
  with pytest.raises(ValueError, match="not a whole checkpoint"):
    checkpoint.restore(tmp_path)


def test_arrays_that_are_not_those_saved_are_an_error(tmp_path):
  _, _, state = make_run()
  other = jax.tree.map(lambda a: a + 1, state.params)
  for workdir, params in ((tmp_path / "a", state.params), (tmp_path / "b", other)):
    save(workdir, state.replace(params=params))
  arrays = pathlib.Path("checkpoints", "latest", "0", "state")
  shutil.rmtree(tmp_path / "a" / arrays)
  shutil.copytree(tmp_path / "b" / arrays, tmp_path / "a" / arrays)
  with pytest.raises(checkpoint.Damaged, match=r"latest/0: is not what was saved"):
    checkpoint.restore(tmp_path / "a")
  assert checkpoint.restore(tmp_path / "b").record["step"] == 0


def test_a_damaged_latest_falls_back_to_the_one_before_and_says_so(tmp_path, caplog):
  state, where = save_several(tmp_path)
  assert checkpoint.available(tmp_path) == [("best", 6), ("latest", 12), ("latest", 8)]
  damage(where / "latest" / "12")
  with pytest.raises(ValueError, match=r"latest/12: is not .* are: 6 \(best\), 8 \(l"):
    checkpoint.restore(tmp_path, 12)
  with checkpoint.Checkpoints(tmp_path, CONFIG, keep_period=0) as checkpoints:
    assert checkpoints.last_step("latest") == 8
    assert checkpoints.record("latest")["iou"] == 0.08
    assert int(checkpoints.resume(state).step) == 8
    checkpoints.save("latest", state.replace(step=state.step + 12), {"iou": 0.12})
  assert "latest/12: is not a whole checkpoint" in caplog.text
  assert (where / "damaged" / "latest_12_0").is_dir()
  assert checkpoint.restore(tmp_path, 12).record["iou"] == 0.12


def test_where_every_latest_is_damaged_the_run_resumes_from_the_best(tmp_path):
  state, where = save_several(tmp_path)
  damage(where / "latest" / "12")
  damage(where / "latest" / "8")
  with checkpoint.Checkpoints(tmp_path, CONFIG, keep_period=0) as checkpoints:
    assert int(checkpoints.resume(state).step) == 6
  assert checkpoint.available(tmp_path) == [("best", 6), ("latest", 6)]


def test_where_every_checkpoint_is_damaged_the_run_does_not_begin_again(
  tmp_path,
):
  _, where = save_several(tmp_path)
  for path in (*where.glob("latest/*"), *where.glob("best/*")):
    damage(path)
  with pytest.raises(ValueError, match=r"none of the checkpoints \(6 \(best\), 12"):
    checkpoint.Checkpoints(tmp_path, CONFIG, keep_period=0)


@pytest.mark.parametrize(
  "error",
  [
    PermissionError(13, "Permission denied"),
    OSError(5, "Input/output error"),
    RuntimeError("Unable to initialize backend 'cuda'"),
  ],
)
def test_a_checkpoint_that_cannot_be_read_is_not_taken_for_a_damaged_one(
  error, tmp_path, monkeypatch
):
  _, where = save_several(tmp_path)
  before = sorted(where.rglob("*"))

  def fail(*args, **kwargs):
    raise error

  monkeypatch.setattr(integrity.ocp.Checkpointer, "restore", fail)
  for read in (
    lambda: checkpoint.Checkpoints(tmp_path, CONFIG, keep_period=0),
    lambda: checkpoint.restore(tmp_path),
  ):
    with pytest.raises((OSError, RuntimeError), match=str(error.args[-1])) as raised:
      read()
    assert "remove" not in str(raised.value)
  assert sorted(where.rglob("*")) == before


def test_an_error_of_tensorstore_over_a_closed_file_is_not_taken_for_damage(
  tmp_path, monkeypatch
):
  _, where = save_several(tmp_path)
  closed, opened = where / "latest" / "12" / "state" / "_METADATA", pathlib.Path.open

  def open_file(self, *args, **kwargs):
    if self == closed:
      raise PermissionError(13, "Permission denied", str(self))
    return opened(self, *args, **kwargs)

  def restore(*args, **kwargs):
    raise ValueError("PERMISSION_DENIED: Error opening a file")

  monkeypatch.setattr(integrity.ocp.Checkpointer, "restore", restore)
  monkeypatch.setattr(pathlib.Path, "open", open_file)
  with pytest.raises(OSError, match=r"latest/12: cannot be read .*Permission denied"):
    integrity.read(where / "latest" / "12")


def test_a_platform_that_is_not_there_is_named_and_no_checkpoint_blamed(tmp_path):
  save_several(tmp_path)
  program = """
import sys
from occnet_jax.train import checkpoint
checkpoint.restore(sys.argv[1])
"""
  absent = {**os.environ, "JAX_PLATFORMS": "abacus"}
  done = subprocess.run(
    [sys.executable, "-c", program, str(tmp_path)],
    env=absent,
    capture_output=True,
    text=True,
  )
  last = done.stderr.strip().splitlines()[-1]
  assert last.startswith("RuntimeError: JAX finds no backend of JAX_PLATFORMS='abacus'")
