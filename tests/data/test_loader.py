import itertools
import os
import subprocess
import sys
import types

import numpy as np
import pytest

from occnet_jax.config import parse
from occnet_jax.data import batches as batches_lib
from occnet_jax.data import loader
from occnet_jax.data.example_batch import example_batch
from occnet_jax.train import loop
from tests.helpers import ROOT

SOURCE = [{"index": np.int32(i)} for i in range(10)]


def label(example, rng):
  return {"index": example["index"], "draw": rng.random(2)}


def batches(start, count, workers=0, seed=0, shapes=SOURCE, batch_size=4):
  endless = loader.train_batches(
    shapes, label, batch_size=batch_size, seed=seed, start=start, workers=workers
  )
  return list(itertools.islice(endless, count))


def assert_same(a, b):
  for x, y in zip(a, b, strict=True):
    for name in ("index", "draw"):
      np.testing.assert_array_equal(x[name], y[name])


def test_a_loader_that_starts_late_gives_the_batches_of_those_steps():
  assert_same(batches(0, 9)[5:], batches(5, 4))


def test_worker_processes_change_nothing():
  assert_same(batches(3, 6), batches(3, 6, workers=2))


def test_every_epoch_holds_every_shape_once_in_a_new_order():
  order = np.concatenate([b["index"] for b in batches(0, 5)])  # two epochs of ten
  for epoch in (order[:10], order[10:]):
    assert sorted(epoch) == list(range(10))
  assert list(order[:10]) != list(order[10:])


def test_draws_differ_between_epochs_and_seeds():
  draws = np.concatenate([b["draw"] for b in batches(0, 5)])
  assert len(np.unique(draws)) == draws.size
  assert batches(0, 1, seed=1)[0]["draw"][0, 0] not in draws


def test_a_split_smaller_than_a_batch_still_fills_it():
  assert batches(0, 1, shapes=SOURCE[:2])[0]["index"].shape == (4,)


def test_batches_of_a_single_shape_have_new_draws_each():
  drawn = batches(0, 5, shapes=SOURCE[:1], batch_size=1)
  assert len({float(batch["draw"][0, 0]) for batch in drawn}) == 5
  assert_same(drawn[3:], batches(3, 2, shapes=SOURCE[:1], batch_size=1))


def test_the_shapes_of_a_batch_are_known_without_reading_them():
  for step, batch in enumerate(batches(0, 6)):
    indices = loader.batch_indices(10, batch_size=4, seed=0, step=step)
    np.testing.assert_array_equal(indices, batch["index"])


class Counted:
  """Shapes that count how often one is read."""

  def __init__(self, shapes):
    self.shapes, self.reads = shapes, 0

  def __len__(self):
    return len(self.shapes)

  def __getitem__(self, index):
    self.reads += 1
    return self.shapes[index]


def test_one_batch_is_that_of_its_step_and_reads_nothing_ahead():
  for step, batch in enumerate(batches(0, 6)):
    shapes = Counted(SOURCE)
    alone = loader.read_batch(shapes, label, batch_size=4, seed=0, step=step)
    assert_same([alone], [batch])
    assert shapes.reads == 4


@pytest.mark.parametrize("kind", ["cloud", "voxels", "index", "none"])
def test_an_example_batch_has_the_shapes_of_training_and_reads_nothing(
  kind, tiny_config, monkeypatch
):
  tiny_config["data"] |= {"inputs": kind, "placement": "stream"}
  settings = parse(tiny_config)
  data = batches_lib.place_train(settings.data, batches_lib.open_train(settings.data))
  batch = next(batches_lib.train_batches(settings, data, 0))
  example = example_batch(settings.data, 8)
  assert {name: (x.shape, x.dtype) for name, x in batch.items()} == {
    name: (x.shape, x.dtype) for name, x in example.items()
  }


def test_training_reads_no_shape_to_know_the_shapes_of_its_arrays(
  tiny_config, tmp_path, monkeypatch
):
  split = Counted(batches_lib.open_train(parse(tiny_config).data))
  monkeypatch.setattr(batches_lib, "open_train", lambda data: split)
  tiny_config["data"]["placement"] = "host"
  tiny_config["train"].update(steps=0)
  loop.train(tiny_config, tmp_path)
  assert split.reads == len(split)  # once each, into memory


def test_an_empty_split_is_an_error():
  with pytest.raises(ValueError, match="train split is empty"):
    batches(0, 1, shapes=[])


def test_evaluation_meets_every_shape_once_and_draws_the_same_each_time():
  def run():
    return list(loader.evaluation_batches(SOURCE, label, batch_size=4, seed=0, limit=0))

  indices = np.concatenate([b["index"][:count] for b, count in run()])
  assert list(indices) == list(range(10))
  assert [b["index"].shape for b, _ in run()] == [(4,)] * 3
  assert_same([b for b, _ in run()], [b for b, _ in run()])


def test_a_limit_spreads_over_the_split():
  assert list(loader.evenly_spaced(10, 4)) == [0, 3, 6, 9]
  assert list(loader.evenly_spaced(3, 4)) == [0, 1, 2]
  assert list(loader.evenly_spaced(3, 0)) == [0, 1, 2]


PROGRAM = """
from occnet_jax.data import loader

def transform(index, rng):
  return {"index": index}

if __name__ == "__main__":
  batches = loader.train_batches(
    list(range(10)), transform, batch_size=4, seed=0, start=0, workers=1
  )
  print(next(batches)["index"].shape)
"""


def test_a_program_that_parses_no_flags_gets_batches(tmp_path):
  (tmp_path / "program.py").write_text(PROGRAM)
  done = subprocess.run(
    [sys.executable, str(tmp_path / "program.py")],
    capture_output=True,
    text=True,
    env={**os.environ, "PYTHONPATH": str(ROOT)},
  )
  assert done.stdout == "(4,)\n", done.stderr


@pytest.mark.parametrize(
  ("soft", "hard", "after"), [(64, 4096, 192), (1024, 4096, 1024), (64, -1, 192)]
)
def test_workers_may_open_the_files_that_they_need(monkeypatch, soft, hard, after):
  limits = [(soft, hard)]
  system = types.SimpleNamespace(
    RLIM_INFINITY=-1,
    RLIMIT_NOFILE=7,
    getrlimit=lambda kind: limits[-1],
    setrlimit=lambda kind, pair: limits.append(pair),
  )
  monkeypatch.setattr(loader, "resource", system)
  loader.allow_open_files(8)
  assert limits[-1] == (after, hard)


def test_too_few_open_files_for_the_workers_are_a_sentence(monkeypatch):
  monkeypatch.setattr(loader.resource, "getrlimit", lambda kind: (64, 64))
  with pytest.raises(
    ValueError, match=r"workers=8 processes need about 192 open files"
  ):
    loader.train_batches([{}] * 8, dict, batch_size=8, seed=0, start=0, workers=8)
