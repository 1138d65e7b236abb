"""Checkpoints of a small state, whole and damaged."""

from occnet_jax.train import checkpoint
from tests.helpers.training import make_run

CONFIG = {"name": "test", "model": {"hidden_size": 16}}


def save(workdir, state, kind="latest", record=None):
  with checkpoint.Checkpoints(workdir, CONFIG, keep_period=0) as checkpoints:
    checkpoints.save(kind, state, record or {"level": 0.3, "iou": 0.5})


def save_several(workdir):
  _, _, state = make_run()
  with checkpoint.Checkpoints(workdir, CONFIG, keep_period=0) as checkpoints:
    for kind, step in (("latest", 4), ("best", 6), ("latest", 8), ("latest", 12)):
      now = state.replace(step=state.step + step)
      checkpoints.save(kind, now, {"level": 0.3, "iou": step / 100})
  return state, workdir / "checkpoints"


def damage(path):
  """Flips a bit in the middle of what a checkpoint's arrays are listed in."""
  file = path / "state" / "manifest.ocdbt"
  content = bytearray(file.read_bytes())
  content[len(content) // 2] ^= 1
  file.write_bytes(content)
