"""Two processes on one machine, joined over the loopback, against one."""

import itertools
import socket
import subprocess
import sys

import numpy as np
import pytest
import trimesh

from configs import base
from occnet_jax.cli import stages
from occnet_jax.data import loader
from occnet_jax.evaluation import evaluate, resume_log
from occnet_jax.train import checkpoint, metric_log, multihost
from tests.helpers import ROOT

CONFIG = {
  "model.encoder": "pointnet_simple",
  "data.points": 128,
  "data.cloud_points": 32,
  "model.encoder_hidden_size": 16,
  "model.c_dim": 16,
  "model.hidden_size": 16,
  "optim.name": "sgd",  # Adam makes steps of gradients that are rounding alone
  "optim.ema_decay": 0.9,
  "optim.ema_batches": 2,
  "train.steps": 8,
  "train.batch_size": 8,
  "train.log_every": 2,
  "train.save_every": 4,
  "train.validate_every": 4,
  "train.preview_shapes": 0,
  "val.batch_size": 3,
  "test.shapes": 3,
  "test.samples": 1000,
  "generation.resolution_0": 8,
  "generation.upsampling_steps": 1,
  "report.shapes": 1,
}


def start(workdir, fields, mode, *flags):
  return subprocess.Popen(
    [
      sys.executable,
      str(ROOT / "main.py"),
      f"--mode={mode}",
      f"--config={ROOT / 'configs' / 'base.py'}",
      f"--workdir={workdir}",
      *(f"--config.{name}={value}" for name, value in fields.items()),
      *flags,
    ],
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
  )


def finish(process):
  out, _ = process.communicate(timeout=300)
  assert process.returncode == 0, out
  return out


def free_port():
  with socket.socket() as sock:
    sock.bind(("localhost", 0))
    return sock.getsockname()[1]


@pytest.fixture(scope="module")
def runs(tiny_data, tmp_path_factory):
  """The same run by one process, which is this one, and by two."""
  folder = tmp_path_factory.mktemp("hosts")
  fields = {**CONFIG, "data.dir": str(tiny_data)}
  config = base.get_config()
  config.update_from_flattened_dict(fields)
  for mode, stage in {"train": stages.train, "generate": stages.generate}.items():
    stage(config.to_dict(), folder / "one")
    together = [f"--coordinator=localhost:{free_port()}", "--processes=2"]
    pair = [
      start(folder / "two", fields, mode, *together, f"--process={i}") for i in range(2)
    ]
    for process in pair:
      finish(process)
  return folder / "one", folder / "two"


def test_two_processes_train_what_one_does(runs):
  rows = [metric_log.read(run / "logs" / "metrics.jsonl") for run in runs]
  assert [row["step"] for row in rows[0]] == [row["step"] for row in rows[1]]
  for one, two in zip(*rows, strict=True):
    assert one.keys() == two.keys()
    for name in ("train/loss", "train/gradient_norm", "val/loss", "val/iou", "val/tau"):
      if name in one:
        np.testing.assert_allclose(one[name], two[name], rtol=1e-4, atol=1e-5)
  saved = [checkpoint.restore(run, 8) for run in runs]
  for name in ("params", "batch_stats"):
    kernels = [each.state[name]["decoder"]["bn"] for each in saved]
    flat = [np.concatenate([np.ravel(x) for x in _leaves(each)]) for each in kernels]
    np.testing.assert_allclose(*flat, rtol=1e-3, atol=1e-4)
  assert saved[0].record["level"] == saved[1].record["level"]


def test_two_processes_make_the_meshes_that_one_does(runs):
  names = [sorted(p.relative_to(run) for p in run.glob("meshes/*/*")) for run in runs]
  assert names[0] == names[1]
  made = [resume_log.read(run / evaluate.GENERATED)[1] for run in runs]
  assert sorted(row["index"] for row in made[0]) == sorted(
    row["index"] for row in made[1]
  )
  assert len(made[1]) == 3
  assert not list(runs[1].glob("meshes/generated.jsonl.*"))
  for name in names[0]:
    meshes = [trimesh.load_mesh(run / name) for run in runs]
    assert abs(meshes[0].volume - meshes[1].volume) < 1e-3


def test_parts_of_batches_make_up_the_batch():
  source = [{"index": np.int32(i)} for i in range(10)]

  def label(example, rng):
    return {"index": example["index"], "draw": rng.random(2)}

  settings = {"batch_size": 4, "seed": 0, "start": 3, "workers": 0}
  whole = loader.train_batches(source, label, **settings)
  parts = [loader.train_batches(source, label, **settings, part=(i, 2)) for i in (0, 1)]
  for _ in range(5):
    batch, halves = next(whole), [next(part) for part in parts]
    for name in batch:
      np.testing.assert_array_equal(
        batch[name], np.concatenate([half[name] for half in halves])
      )
  with pytest.raises(ValueError, match=r"batch of 4 shapes in 3 processes"):
    loader.train_batches(source, label, **settings, part=(0, 3))


def test_parts_of_an_evaluation_hold_every_shape_once():
  source = [{"index": np.int32(i)} for i in range(10)]
  settings = {"batch_size": 4, "seed": 0, "limit": 0}
  indices = [
    batch["index"][:count].tolist()
    for i in range(3)
    for batch, count in loader.evaluation_batches(
      source, lambda example, rng: example, **settings, part=(i, 3)
    )
  ]
  assert sorted(itertools.chain(*indices)) == list(range(10))


def test_a_part_without_a_shape_has_a_batch_of_which_none_counts():
  source = [{"index": np.int32(7)}]
  settings = {"batch_size": 2, "seed": 0, "limit": 0, "part": (1, 2)}
  (batch,) = loader.evaluation_batches(source, lambda e, rng: e, **settings)
  assert batch[0]["index"].tolist() == [7, 7] and batch[1] == 0


def test_a_process_index_beyond_the_number_of_processes_is_an_error():
  with pytest.raises(ValueError, match=r"process 2 of 2 at 'here:1'"):
    multihost.initialize("here:1", 2, 2)
  with pytest.raises(ValueError, match=r"host:port of process 0"):
    multihost.initialize("here", 2, 0)


def _leaves(tree):
  if isinstance(tree, dict):
    return [leaf for key in sorted(tree) for leaf in _leaves(tree[key])]
  return [np.asarray(tree)]
