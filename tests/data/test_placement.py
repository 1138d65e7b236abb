import itertools

import jax
import numpy as np
import pytest

from occnet_jax.config import parse
from occnet_jax.data import batches as batches_lib
from occnet_jax.data import loader, placement
from occnet_jax.train import checkpoint, loop, metric_log

VARIANTS = {
  "cloud": {},
  "noise, stretch": {"float16_noise": 1e-3, "random_stretch": 0.3},
  "voxels": {"inputs": "voxels"},
  "index": {"inputs": "index"},
  "none": {"inputs": "none"},
}


def place(config):
  data = parse(config).data
  return batches_lib.place_train(data, batches_lib.open_train(data))


def batches(config, wanted, start=0, count=3):
  config["data"]["placement"] = wanted
  feed = place(config)
  assert feed.placement == wanted
  found = batches_lib.train_batches(parse(config), feed, start)
  found = list(itertools.islice(found, count))
  return (
    [feed.gather_fn(feed.resident, batch) for batch in found]
    if feed.gather_fn
    else found
  )


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_residence_gives_the_same_batches(tiny_config, variant):
  tiny_config["data"] |= VARIANTS[variant]
  streamed = batches(tiny_config, "stream", start=4)
  for wanted, tolerance in (("host", 0), ("device", 1e-6)):
    found = batches(tiny_config, wanted, start=4)
    for batch, other in zip(streamed, found, strict=True):
      assert batch.keys() == other.keys()
      for name in batch:
        np.testing.assert_allclose(batch[name], other[name], rtol=0, atol=tolerance)


def test_points_from_the_device_and_several_steps_a_call_train_the_same_network(
  tiny_config, tmp_path
):
  tiny_config["train"] |= {"validate_every": 4, "steps": 8}
  losses = []
  for wanted, together in (("stream", 1), ("device", 2)):
    tiny_config["data"]["placement"] = wanted
    tiny_config["train"]["steps_per_call"] = together
    loop.train(tiny_config, tmp_path / wanted)
    rows = metric_log.read(tmp_path / wanted / "logs" / "metrics.jsonl")
    losses.append(metric_log.curve(rows, "train/loss")[1])
    assert ("latest", 8) in checkpoint.available(tmp_path / wanted)
  assert len(losses[0]) == 4
  np.testing.assert_allclose(*losses, rtol=1e-3)


def test_intervals_that_a_call_of_several_steps_would_pass_over_are_an_error(
  tiny_config, tmp_path
):
  tiny_config["train"]["steps_per_call"] = 4
  with pytest.raises(ValueError, match=r"log_every is 2; want a multiple of .*=4"):
    loop.train(tiny_config, tmp_path)


def test_what_is_kept_is_read_once():
  reads = []

  class Counted:
    def __len__(self):
      return 3

    def __getitem__(self, index):
      reads.append(index)
      return {"index": index}

  kept = placement.read_all(Counted(), False)
  assert [kept[i]["index"] for i in (2, 0, 2, 2)] == [2, 0, 2, 2]
  assert sorted(reads) == [0, 1, 2]


def test_the_nearest_place_with_room_is_chosen(tiny_config, monkeypatch):
  examples = batches_lib.open_train(parse(tiny_config).data)
  one = examples[0]
  size = one["points"]["points"].nbytes + one["points"]["occupancies"].nbytes
  size = (size + one["pointcloud"]["points"].nbytes) * len(examples)

  class Free:
    available = 0

  class Accelerator:
    platform = "gpu"

    def memory_stats(self):
      return {"bytes_limit": self.limit}

  monkeypatch.setattr(placement.psutil, "virtual_memory", lambda: Free)
  monkeypatch.setattr(placement.jax, "local_device_count", lambda: 1)
  assert placement.choose_placement(examples, True) == "stream"
  Free.available = 2.6 * size
  assert placement.choose_placement(examples, True) == "host"
  monkeypatch.setattr(placement.jax, "local_devices", lambda: [Accelerator()])
  Accelerator.limit = 2.4 * size
  assert placement.choose_placement(examples, True) == "host"
  Accelerator.limit = 2.6 * size
  assert placement.choose_placement(examples, True) == "device"
  assert placement.choose_placement(examples, False) == "host"


def test_what_a_device_cannot_draw_is_an_error_that_names_the_way_out(tiny_config):
  tiny_config["data"] |= {"placement": "device", "sampling": "equal"}
  with pytest.raises(ValueError, match=r"need the host; set it to host or stream"):
    place(tiny_config)
  tiny_config["data"] |= {"placement": "disk"}
  with pytest.raises(ValueError, match=r"'disk'; want one of: auto, stream"):
    place(tiny_config)


def test_the_device_gets_draws_alone(tiny_config):
  tiny_config["data"]["placement"] = "device"
  feed = place(tiny_config)
  batch = next(batches_lib.train_batches(parse(tiny_config), feed, 0))
  sent = sum(array.nbytes for array in jax.tree.leaves(batch))
  assert sent < 8 * 4 * (128 + 32 * 4 + 2)
  assert loader.batch_indices(
    len(feed.examples), batch_size=8, seed=tiny_config["seed"], step=0
  ).tolist() == list(batch["shape"])
