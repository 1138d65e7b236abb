"""Windows drawn from shapes, and the settings that do not go with them."""

import numpy as np
import pytest

from configs import base
from occnet_jax import config as config_lib
from occnet_jax.data import batches, crops, inputs, placement, transforms
from occnet_jax.data.transforms import Draws

DATA = config_lib.parse(base.get_config().to_dict()).data._replace(
  cloud_points=200, cloud_sigma=0.0, crop=(0.2, 0.05), points=64
)


@pytest.fixture
def example():
  rng = np.random.default_rng(0)
  points = rng.uniform(-0.55, 0.55, (8000, 3)).astype(np.float16)
  surface = rng.uniform((-0.5, -0.3, -0.1), (0.5, 0.3, 0.1), (4000, 3))
  # Inside is what lies above a plane, so that labels say whether rows were kept.
  return {
    "points": {"points": points, "occupancies": np.packbits(points[:, 1] > 0.05)},
    "pointcloud": {"points": surface.astype(np.float16)},
  }


def draw(example, seed):
  transform = placement.HostTransform(
    inputs.make(DATA), batches.make_draws(DATA, DATA.points, train=True)
  )
  return transform(example, np.random.default_rng(seed))


def test_a_window_has_its_points_about_the_origin_with_their_labels(example):
  centres = []
  for seed in range(40):
    rng = np.random.default_rng(seed)
    drawn = transforms.draw_example(
      example,
      rng,
      observation=inputs.make(DATA),
      draws=Draws(64, train=True, window=crops.Window(0.2, 0.05)),
    )
    centre = drawn["centre"]
    batch = draw(example, seed)
    assert batch["points"].shape == (64, 3) and batch["inputs"].shape == (200, 3)
    assert np.abs(batch["points"]).max() <= 0.1 + 1e-6
    stored = batch["points"] + centre
    np.testing.assert_array_equal(batch["occupancies"], stored[:, 1] > 0.05)
    # The cloud is that of the whole shape, in the frame of the window.
    assert (np.abs(batch["inputs"] + centre) <= [0.501, 0.301, 0.101]).all()
    centres.append(centre)
  centres = np.array(centres)
  np.testing.assert_allclose(centres / 0.05, np.rint(centres / 0.05), atol=1e-5)
  # Uniform in the box of the cloud, up to half a cell.
  assert (np.abs(centres) <= np.array([0.525, 0.325, 0.125]) + 1e-6).all()
  assert (np.ptp(centres, axis=0) > [0.7, 0.35, 0.05]).all()


def test_a_shape_with_labelled_points_in_one_place_only_is_not_lost(example):
  """Published code drops an example in whose window no point lies."""
  points = np.full((8, 3), 0.41, np.float32)
  example["points"] = {"points": points, "occupancies": np.array([255], np.uint8)}
  batch = draw(example, 0)
  assert np.abs(batch["points"]).max() <= 0.1 and batch["occupancies"].all()


def test_evaluation_scores_windows_and_generates_from_whole_clouds(example):
  scored = batches.evaluation_transform(DATA, 32, targets=True)
  batch = scored(example, np.random.default_rng(1))
  assert np.abs(batch["points"]).max() <= 0.1 + 1e-6
  again = scored(example, np.random.default_rng(1))
  np.testing.assert_array_equal(batch["points"], again["points"])
  whole = batches.evaluation_transform(DATA, 0)(example, np.random.default_rng(1))
  assert len(whole["points"]) == 8000
  np.testing.assert_array_equal(whole["points"], example["points"]["points"])


@pytest.mark.parametrize(
  ("fields", "message"),
  [
    ({"inputs": "voxels"}, r"data\.crop is .*goes with inputs='cloud'"),
    ({"near_fraction": 0.5}, r"without targets, near_fraction and random_stretch"),
    ({"random_stretch": 0.5}, r"without targets, near_fraction and random_stretch"),
    ({"targets": ("surface",)}, r"without targets, near_fraction"),
    ({"sampling": "equal"}, r"and sampling='uniform'"),
    ({"crop": (0.1,)}, r"crop is \(0\.1,\); want the side of the middle"),
    ({"crop": (0.1, 0.2)}, r"that of a cell, at most as large"),
    ({"points": 0}, r"number of points .* is 0 for all of them; want a number"),
    ({"placement": "device"}, r"'device', but .*config\.data\.crop need the host"),
  ],
)
def test_settings_that_do_not_go_with_windows_are_one_sentence(fields, message):
  data = DATA._replace(**fields)
  with pytest.raises(ValueError, match=message):
    observation = inputs.make(data)
    draws = batches.make_draws(data, data.points, train=True)
    placement.place(data.placement, [None], observation, draws)
    raise AssertionError("nothing was refused")
