import hashlib
import os
import pathlib
import resource
import shutil
import subprocess
import sys

import jax
import numpy as np
import optax
import pytest

from occnet_jax.models import registry
from occnet_jax.train import checkpoint, integrity
from occnet_jax.train import state as state_lib
from occnet_jax.train import step as step_lib
from tests.helpers.training import MODEL, assert_close, make_batch, make_run

CONFIG = {"name": "test", "model": {"hidden_size": 16}}


def save(workdir, state, kind="latest", record=None):
  with checkpoint.Checkpoints(workdir, CONFIG, keep_period=0) as checkpoints:
    checkpoints.save(kind, state, record or {"level": 0.3, "iou": 0.5})


def test_a_saved_state_comes_back_whole(tmp_path):
  _, _, state = make_run(optax.adam(1e-3), ema=True)
  save(tmp_path, state.replace(step=state.step + 7))
  _, _, fresh = make_run(optax.adam(1e-3), ema=True)
  with checkpoint.Checkpoints(tmp_path, CONFIG, keep_period=0) as checkpoints:
    resumed = checkpoints.resume(jax.tree.map(np.zeros_like, fresh))
    assert checkpoints.record("latest") == {"step": 7, "level": 0.3, "iou": 0.5}
    assert checkpoints.record("best") is None
  assert int(resumed.step) == 7
  assert jax.tree.structure(resumed) == jax.tree.structure(state)
  assert_close(resumed.replace(step=0), state.replace(step=0), rtol=0, atol=0)


def test_nothing_saved_leaves_the_fresh_state(tmp_path):
  _, _, state = make_run()
  with checkpoint.Checkpoints(tmp_path, CONFIG, keep_period=0) as checkpoints:
    assert checkpoints.resume(state) is state


def test_what_two_devices_saved_one_device_restores(tmp_path):
  method = registry.build(MODEL, axis_name=step_lib.AXIS)
  _, optimizer, state = make_run()
  step = step_lib.data_parallel(step_lib.make_step(method, optimizer))
  batch = step_lib.split_over_devices(make_batch(0), 2)
  state, _ = step(step_lib.replicate(state), batch, 0, None)
  assert len(state.params["encoder"]["fc_c"]["bias"].devices()) == 2
  save(tmp_path, state)
  np.save(tmp_path / "wanted.npy", state.params["encoder"]["fc_c"]["bias"])
  program = f"""
import jax, numpy as np
from occnet_jax.train import checkpoint, integrity
assert jax.local_device_count() == 1
bias = checkpoint.restore({str(tmp_path)!r}).state["params"]["encoder"]["fc_c"]["bias"]
np.testing.assert_array_equal(bias, np.load({str(tmp_path / "wanted.npy")!r}))
"""
  one_device = {**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=1"}
  subprocess.run([sys.executable, "-c", program], check=True, env=one_device)


def test_the_best_checkpoint_is_preferred_and_a_step_can_be_named(tmp_path):
  _, _, state = make_run()
  save(tmp_path, state.replace(step=state.step + 5), "best")
  save(tmp_path, state.replace(step=state.step + 9), "latest")
  assert checkpoint.restore(tmp_path).record["step"] == 5
  assert checkpoint.restore(tmp_path, 9).record["step"] == 9
  assert checkpoint.restore(tmp_path).config == CONFIG
  with pytest.raises(ValueError, match=r"no checkpoint of step 7; .* 5 \(best\), 9"):
    checkpoint.restore(tmp_path, 7)


def test_beside_the_newest_two_one_of_every_period_is_kept(tmp_path):
  _, _, state = make_run()
  with checkpoint.Checkpoints(tmp_path, CONFIG, keep_period=4) as checkpoints:
    for step in (2, 4, 6, 8, 10, 12, 14):
      checkpoints.save("latest", state.replace(step=state.step + step), {})
  kept = [step for _, step in checkpoint.available(tmp_path)]
  assert kept == [14, 12, 8, 4]


def test_a_directory_without_checkpoints_is_an_error(tmp_path):
  with pytest.raises(ValueError, match="holds no checkpoint"):
    checkpoint.restore(tmp_path)


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


def damage(path):
  """Flips a bit in the middle of what a checkpoint's arrays are listed in."""
  file = path / "state" / "manifest.ocdbt"
  content = bytearray(file.read_bytes())
  content[len(content) // 2] ^= 1
  file.write_bytes(content)


def save_several(workdir):
  _, _, state = make_run()
  with checkpoint.Checkpoints(workdir, CONFIG, keep_period=0) as checkpoints:
    for kind, step in (("latest", 4), ("best", 6), ("latest", 8), ("latest", 12)):
      now = state.replace(step=state.step + step)
      checkpoints.save(kind, now, {"level": 0.3, "iou": step / 100})
  return state, workdir / "checkpoints"


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


def test_a_checkpoint_larger_than_the_disk_is_refused_before_it_is_begun(tmp_path):
  state, _ = save_several(tmp_path)
  petabyte = np.broadcast_to(np.float32(0), (2**48,))
  with (
    checkpoint.Checkpoints(tmp_path, CONFIG, keep_period=0) as checkpoints,
    pytest.raises(OSError, match=r"needs 107374\d{4}\.\d MiB of disk and .* are f"),
  ):
    checkpoints.require_space(state.replace(params=petabyte))


@pytest.mark.parametrize("kind", ["latest", "best"])
def test_a_workdir_that_was_removed_is_not_made_anew(tmp_path, kind):
  _, _, state = make_run()
  with checkpoint.Checkpoints(tmp_path / "run", {}, keep_period=0) as checkpoints:
    checkpoints.save(kind, state, {})
    checkpoints.wait()
    shutil.rmtree(tmp_path / "run")
    with pytest.raises(OSError, match=r"latest: was removed during the training"):
      checkpoints.save(kind, state.replace(step=state.step + 1), {})
  assert not (tmp_path / "run").exists()


def test_a_write_that_fails_in_the_background_is_raised_and_damages_nothing(tmp_path):
  state, _ = save_several(tmp_path)
  before = checkpoint.available(tmp_path)
  soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
  with pytest.raises(OSError, match=r"could not be written \(.*too large"):  # noqa: SIM117
    with checkpoint.Checkpoints(tmp_path, CONFIG, keep_period=0) as checkpoints:
      resource.setrlimit(resource.RLIMIT_FSIZE, (2**14, hard))
      try:
        checkpoints.save("latest", state.replace(step=state.step + 16), {"iou": 0.0})
        checkpoints.wait()
      finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
  assert checkpoint.available(tmp_path) == before
  assert checkpoint.restore(tmp_path, 12).record["iou"] == 0.12


def test_a_state_of_another_structure_names_what_does_not_fit(tmp_path):
  _, _, state = make_run()
  save(tmp_path, state)
  other = state.replace(params={**state.params, "more": np.zeros(3)})
  with (
    checkpoint.Checkpoints(tmp_path, CONFIG, keep_period=0) as checkpoints,
    pytest.raises(ValueError, match=r"does not fit this config: .*more.* is missing"),
  ):
    checkpoints.resume(other)
  wider = jax.tree.map(lambda a: np.zeros((*np.shape(a), 2)), state.params)
  with pytest.raises(ValueError, match=r"has shape .*, want .* and \d+ more"):
    state_lib.refill(wider, jax.device_get(state.params))


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


def test_a_step_that_is_saved_again_stays_until_the_new_one_is_complete(
  tmp_path, monkeypatch
):
  state, _ = save_several(tmp_path)
  again = state.replace(step=state.step + 12)

  def fail(*args, **kwargs):
    raise OSError("the disk is gone")

  with monkeypatch.context() as patch:
    patch.setattr(integrity, "write", fail)
    with (
      checkpoint.Checkpoints(tmp_path, CONFIG, keep_period=0) as checkpoints,
      pytest.raises(OSError, match=r"could not be written \(the disk is gone\)"),
    ):
      checkpoints.save("latest", again, {"iou": 0.9})
  assert checkpoint.restore(tmp_path, 12).record["iou"] == 0.12
  with checkpoint.Checkpoints(tmp_path, CONFIG, keep_period=0) as checkpoints:
    checkpoints.save("latest", again, {"iou": 0.9})
  assert checkpoint.restore(tmp_path, 12).record["iou"] == 0.9
  assert checkpoint.available(tmp_path) == [("best", 6), ("latest", 12), ("latest", 8)]


def test_arrays_of_old_states_do_not_stay_in_memory(tmp_path):
  state, _ = save_several(tmp_path)
  with checkpoint.Checkpoints(tmp_path, CONFIG, keep_period=0) as checkpoints:
    assert int(checkpoints.resume(state).step) == 12
    for kind in checkpoint.KINDS:
      assert jax.tree.leaves(checkpoints._newest[kind].state) == []
      assert checkpoints.record(kind)["level"] == 0.3


def test_a_process_that_does_not_write_neither_saves_nor_resumes(tmp_path, monkeypatch):
  _, _, state = make_run()
  monkeypatch.setattr(checkpoint.multihost, "is_main_process", lambda: False)
  with checkpoint.Checkpoints(tmp_path, CONFIG, keep_period=0) as checkpoints:
    checkpoints.require_space(state)
    checkpoints.save("latest", state, {})
    checkpoints.check()
    assert checkpoints.last_step("latest") == -1
    assert checkpoints.record("best") is None
    assert checkpoints.resume(state) is state
  assert checkpoint.available(tmp_path) == []


def test_the_digest_differs_for_other_names_types_shapes_and_bytes():
  def digest(state):
    return integrity.digest(state, {}, {})

  a = np.arange(6, dtype=np.float32)
  trees = [
    {"a": a},
    {"b": a},
    {"a": a.reshape(2, 3)},
    {"a": a.view(np.int32)},
    {"a": a[::-1]},
    {"a": a.astype(jax.numpy.bfloat16)},
    {"a": a[:0]},
    {"a": a[0]},
  ]
  assert len({digest(tree) for tree in trees}) == len(trees)
  strided = np.stack([a, a], -1)[:, 0]  # equal, in another place of memory
  assert digest({"a": strided}) == digest({"a": a})
  # Earlier versions computed this, and their checkpoints must still be valid.
  sha = hashlib.sha256(b"['a'] float32 (6,)\n" + a.tobytes() + b"[{}, {}]")
  assert digest({"a": a}) == sha.hexdigest()


def test_a_platform_that_is_not_there_is_named_and_no_checkpoint_blamed(tmp_path):
  save_several(tmp_path)
  program = """
import sys
from occnet_jax.train import checkpoint
checkpoint.restore(sys.argv[1])
"""
  cuda = {**os.environ, "JAX_PLATFORMS": "cuda"}
  done = subprocess.run(
    [sys.executable, "-c", program, str(tmp_path)],
    env=cuda,
    capture_output=True,
    text=True,
  )
  if done.returncode == 0:
    pytest.skip("wants a machine without the platform cuda; this one has a GPU")
  last = done.stderr.strip().splitlines()[-1]
  assert last.startswith("RuntimeError: JAX finds no backend of JAX_PLATFORMS='cuda'")
