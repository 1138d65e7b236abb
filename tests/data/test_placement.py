import itertools
import time

import jax
import numpy as np
import pytest

from occnet_jax.config import parse
from occnet_jax.data import batches as batches_lib
from occnet_jax.data import loader, placement
from occnet_jax.train import checkpoint, loop, metric_log

VARIANTS = {
  "cloud": {},
  "partial cloud": {"cloud_share": 0.5},
  "noise, stretch": {"float16_noise": 1e-3, "random_stretch": 0.3},
  "voxels": {"inputs": "voxels"},
  "index": {"inputs": "index"},
  "none": {"inputs": "none"},
  "surface": {"inputs": "cloud", "targets": ("surface", "distances")},
}


def place(config):
  data = parse(config).data
  return batches_lib.place_train(data, batches_lib.open_train(data))


def batches(config, where, start=0, count=3):
  config["data"]["placement"] = where
  data = place(config)
  assert data.placement == where
  drawn = itertools.islice(batches_lib.train_batches(parse(config), data, start), count)
  if data.gather_fn is None:
    return list(drawn)
  return [data.gather_fn(data.device_arrays, batch) for batch in drawn]


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_placement_gives_the_same_batches(tiny_config, variant):
  tiny_config["data"] |= VARIANTS[variant]
  streamed = batches(tiny_config, "stream", start=4)
  for where, tolerance in (("host", 0), ("device", 1e-6)):
    placed = batches(tiny_config, where, start=4)
    for batch, other in zip(streamed, placed, strict=True):
      assert batch.keys() == other.keys()
      for name in batch:
        np.testing.assert_allclose(batch[name], other[name], rtol=0, atol=tolerance)


def test_points_from_the_device_and_several_steps_a_call_train_the_same_network(
  tiny_config, tiny_run, tmp_path
):
  assert place(tiny_config).placement in ("host", "stream")  # where tiny_run's were
  tiny_config["data"]["placement"] = "device"
  tiny_config["train"]["steps_per_call"] = 2
  loop.train(tiny_config, tmp_path)
  losses = []
  for workdir in (tiny_run, tmp_path):
    rows = metric_log.read(workdir / "logs" / "metrics.jsonl")
    losses.append(metric_log.curve(rows, "train/loss")[1])
    assert ("latest", 12) in checkpoint.available(workdir)
  assert len(losses[0]) == 6
  np.testing.assert_allclose(*losses, rtol=1e-3)


def test_intervals_that_a_call_of_several_steps_would_pass_over_are_an_error(
  tiny_config, tmp_path
):
  tiny_config["train"]["steps_per_call"] = 4
  with pytest.raises(ValueError, match=r"log_every is 2; want a multiple of .*=4"):
    loop.train(tiny_config, tmp_path)


class Examples:
  """Shapes of so many points each, which note when they are read."""

  seconds = 0.0  # that a read takes

  def __init__(self, points):
    self.points, self.reads = points, []

  def __len__(self):
    return len(self.points)

  def __getitem__(self, index):
    self.reads.append(index)
    time.sleep(self.seconds)
    points = np.full((self.points[index], 3), index, np.float16)
    return {"index": index, "points": {"points": points}}


def test_a_split_in_memory_is_read_once():
  examples = Examples([5, 5, 5])
  in_memory = placement.read_all(examples, False)
  assert [in_memory[i]["index"] for i in (2, 0, 2, 2)] == [2, 0, 2, 2]
  assert sorted(examples.reads) == [0, 1, 2]


def test_arrays_for_the_device_hold_every_shape_in_its_row():
  outlines, arrays = placement.read_stacked(Examples([5] * 9), False)
  rows = np.arange(9, dtype=np.float16)
  np.testing.assert_array_equal(
    arrays["points"]["points"], np.broadcast_to(rows[:, None, None], (9, 5, 3))
  )
  assert [outline["index"] for outline in outlines] == list(range(9))
  assert outlines[3]["points"]["points"].shape == (5, 3)


def test_a_shape_with_another_number_of_points_is_named_before_the_rest_is_read():
  examples = Examples([5] * 20 + [4] + [5] * 10_000)
  examples.seconds = 1e-3  # so that the threads take turns
  with pytest.raises(
    ValueError, match=r"shape 20 .* points/points of shape \(4, 3\) .*host or stream"
  ):
    placement.read_stacked(examples, False)
  assert len(examples.reads) < 10_000


def test_an_empty_split_cannot_be_placed_on_the_device():
  with pytest.raises(ValueError, match="the train split is empty"):
    placement.read_stacked(Examples([]), False)


def test_the_nearest_place_with_room_is_chosen(tiny_config, monkeypatch):
  examples = batches_lib.open_train(parse(tiny_config).data)
  one = examples[0]
  size = one["points"]["points"].nbytes + one["points"]["occupancies"].nbytes
  size = (size + one["pointcloud"]["points"].nbytes) * len(examples)

  class Accelerator:
    platform = "gpu"

    def memory_stats(self):
      return {"bytes_limit": self.limit}

  def set_free(free):
    monkeypatch.setattr(placement.host_memory, "available", lambda: free)

  set_free(0)
  assert placement.choose_placement(examples, True) == "stream"
  set_free(2.6 * size)
  assert placement.choose_placement(examples, True) == "host"
  monkeypatch.setattr(placement.jax, "local_devices", lambda: [Accelerator()])
  Accelerator.limit = 2.4 * size
  assert placement.choose_placement(examples, True) == "host"
  Accelerator.limit = 2.6 * size
  assert placement.choose_placement(examples, True) == "device"
  assert placement.choose_placement(examples, False) == "host"


def test_free_memory_is_shared_by_the_processes_of_a_machine_not_by_devices(
  tiny_config, monkeypatch
):
  examples = batches_lib.open_train(parse(tiny_config).data)
  size = len(examples) * np.mean([placement.nbytes(e) for e in (examples[0],)])
  monkeypatch.setattr(placement.host_memory, "available", lambda: 4 * size)
  monkeypatch.setattr(placement.jax, "local_device_count", lambda: 8)
  assert placement.choose_placement(examples, True) == "host"

  elsewhere = np.zeros(1, np.uint32)
  monkeypatch.setattr(placement.jax, "process_count", lambda: 3)
  for neighbours, where in ((1, "host"), (2, "stream")):
    monkeypatch.setattr(
      placement.multihost_utils,
      "process_allgather",
      lambda own, n=neighbours: np.stack([own] * n + [elsewhere] * (3 - n)),
    )
    assert placement.choose_placement(examples, True) == where


def test_what_a_device_cannot_draw_is_an_error_that_names_the_way_out(tiny_config):
  tiny_config["data"] |= {"placement": "device", "sampling": "equal"}
  with pytest.raises(ValueError, match=r"need the host; set it to host or stream"):
    place(tiny_config)
  tiny_config["data"] |= {"placement": "stream", "sampling": "evenly"}
  with pytest.raises(ValueError, match=r"'evenly'; want one of: uniform, equal"):
    place(tiny_config)
  tiny_config["data"] |= {"placement": "disk"}
  with pytest.raises(ValueError, match=r"'disk'; want one of: auto, stream"):
    place(tiny_config)


def test_the_device_gets_draws_alone(tiny_config):
  tiny_config["data"]["placement"] = "device"
  data = place(tiny_config)
  batch = next(batches_lib.train_batches(parse(tiny_config), data, 0))
  sent = sum(array.nbytes for array in jax.tree.leaves(batch))
  assert sent < 8 * 4 * (128 + 32 * 4 + 2)
  assert loader.batch_indices(
    len(data.examples), batch_size=8, seed=tiny_config["seed"], step=0
  ).tolist() == list(batch["shape"])
