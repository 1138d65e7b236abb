"""Checkpoints: what is saved, kept and restored, and when."""

import hashlib
import os
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
from tests.helpers.checkpoints import CONFIG, save, save_several
from tests.helpers.training import MODEL, assert_close, make_batch, make_run


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
