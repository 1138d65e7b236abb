"""Published files of convolutional occupancy networks, made from recorded weights."""

import numpy as np
import pytest

import occnet_jax
from configs import convonet
from occnet_jax.interop import runs
from occnet_jax.interop.torch_format import file
from tests.helpers import parity

CASE = "conv_cloud_3plane"


def make_config(**fields):
  config = convonet.get_config("shapenet_3plane")
  small = {
    "data.cloud_points": 300,
    "model.plane_resolution": 16,
    "model.c_dim": 16,
    "model.encoder_hidden_size": 16,
    "model.unet_depth": 3,
    "model.unet_filters": 8,
    "model.hidden_size": 16,
  }
  config.update_from_flattened_dict({**small, **fields})
  return config.to_dict()


def write(path, case):
  weights = parity.state_dict(parity.SPEC[case])
  file.write(path, {"model": weights, "epoch_it": 3, "it": 1234, "loss_val_best": 0.5})
  return path


def test_an_imported_network_gives_the_recorded_logits(tmp_path):
  source = write(tmp_path / "published.pt", CASE)
  runs.import_torch(make_config(), tmp_path / "run", str(source))
  model = occnet_jax.restore(tmp_path / "run")
  assert model.record["step"] == 1234 and model.record["iou"] == 0.5
  given = parity.load(CASE, "in/")
  logits = model.decode(model.encode(given["inputs"]), given["p"])
  expected = parity.load(CASE, "eval/")["logits"]
  np.testing.assert_allclose(logits, expected, atol=1e-5 * np.abs(expected).max())


def test_a_file_of_another_depth_is_one_sentence(tmp_path):
  source = write(tmp_path / "published.pt", CASE)
  with pytest.raises(ValueError, match=r"lacks encoder\.unet.*use the config that it"):
    config = make_config(**{"model.unet_depth": 4})
    runs.import_torch(config, tmp_path / "run", str(source))
