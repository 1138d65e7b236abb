import io

import numpy as np
import pytest
from PIL import Image

from configs import base
from occnet_jax import config as config_lib
from occnet_jax.data import images, input_arrays, inputs, transforms
from occnet_jax.data.inputs import HOST
from occnet_jax.data.transforms import Draws
from occnet_jax.geometry import cameras

DATA = config_lib.parse(base.get_config().to_dict()).data._replace(
  cloud_points=30, image_side=32, image_views=3, voxel_side=8
)


def subsample(labelled, *, seed=0, **settings):
  rng = np.random.default_rng(seed)
  drawn = transforms.draw_points(labelled, rng, **{"float16_noise": 0.0} | settings)
  return transforms.take_points(labelled, drawn)


def observe(**changed):
  return inputs.make(DATA._replace(**changed))


def make_example(n=1003, seed=0):
  rng = np.random.default_rng(seed)
  points = rng.uniform(-0.55, 0.55, (n, 3)).astype(np.float16)
  inside = points[:, 0] > 0
  surface = rng.standard_normal((500, 3)).astype(np.float16)
  example = {
    "points": {"points": points, "occupancies": np.packbits(inside)},
    "pointcloud": {"points": surface},
  }
  return example, inside


def test_all_points_come_in_their_order_with_their_occupancies():
  example, inside = make_example()
  out = subsample(example["points"], count=0, float16_noise=0.0)
  np.testing.assert_array_equal(out["occupancies"], inside)
  np.testing.assert_array_equal(out["points"], example["points"]["points"])
  assert out["points"].dtype == np.float32


def test_a_subsample_keeps_points_and_occupancies_together():
  example, _ = make_example()
  out = subsample(example["points"], count=5000, float16_noise=0.0)
  assert out["points"].shape == (5000, 3)
  np.testing.assert_array_equal(out["occupancies"], out["points"][:, 0] > 0)
  # With replacement: more points than there are, nearly all of them drawn.
  assert 900 < len(np.unique(out["points"], axis=0)) <= 1003


def test_float16_noise_has_its_deviation_and_spares_float32():
  example, _ = make_example()
  for dtype, deviation in ((np.float16, 1e-2), (np.float32, 0.0)):
    example["points"]["points"] = np.zeros((8, 3), dtype)
    out = subsample(example["points"], count=4000, float16_noise=1e-2)
    np.testing.assert_allclose(out["points"].std(), deviation, rtol=0.05)


def test_the_cloud_has_its_size_and_its_noise():
  example = {"pointcloud": {"points": np.ones((10, 3), np.float16)}}
  observation = observe(cloud_points=3000)
  drawn = observation.draw(example, np.random.default_rng(0), False)
  cloud = observation.observe(example, drawn, lambda points: points, HOST)
  assert cloud.shape == (3000, 3)
  assert cloud.dtype == np.float32
  np.testing.assert_allclose(cloud.mean(), 1, atol=5e-4)
  np.testing.assert_allclose(cloud.std(), 0.005, rtol=0.05)


def test_the_same_generator_gives_the_same_shape():
  example, _ = make_example()
  settings = {"draws": Draws(points=64), "observation": observe()}
  a, b, c = (
    transforms.make_example(example, np.random.default_rng(seed), **settings)
    for seed in (1, 1, 2)
  )
  for name, shape in (("points", (64, 3)), ("occupancies", (64,)), ("inputs", (30, 3))):
    assert a[name].shape == shape
    np.testing.assert_array_equal(a[name], b[name])
  assert np.abs(a["points"] - c["points"]).max() > 0


def test_a_share_of_the_points_comes_from_near_the_surface():
  example, _ = make_example()
  near = {"points": np.full((9, 3), 7, np.float16), "occupancies": np.packbits([1] * 9)}
  example["points_surface"] = near
  out = transforms.make_example(
    example,
    np.random.default_rng(0),
    draws=Draws(points=40, near_fraction=0.25),
    observation=observe(),
  )
  assert out["points"].shape == (40, 3)
  from_near = (out["points"] == 7).all(1)
  assert from_near.sum() == 10
  assert out["occupancies"][from_near].all()


def boxes(seed, **settings):
  """A box of labelled points and its surface, deformed."""
  rng = np.random.default_rng(0)
  half = np.array([0.5, 0.3, 0.2])
  surface = rng.uniform(-half, half, (20_000, 3)).astype(np.float16)
  points = rng.uniform(-0.55, 0.55, (4000, 3)).astype(np.float16)
  inside = (np.abs(points) < half).all(1)
  example = {
    "points": {"points": points, "occupancies": np.packbits(inside)},
    "pointcloud": {"points": surface},
  }
  out = transforms.make_example(
    example,
    np.random.default_rng(seed),
    draws=Draws(points=0, **settings),
    observation=observe(cloud_points=20_000, cloud_sigma=0.0),
  )
  return out, half


def test_a_stretched_shape_keeps_its_labels_and_its_largest_extent():
  factors = []
  for seed in range(30):
    out, half = boxes(seed, stretch=0.25)
    stretched = np.abs(out["inputs"]).max(0)
    factors.append(stretched / half)
    assert abs(stretched.max() - 0.5) < 0.01
    guessed = (np.abs(out["points"]) < stretched).all(1)
    assert (guessed == out["occupancies"].astype(bool)).mean() > 0.99
  factors = np.array(factors)
  assert (factors > 0.78).all() and (factors < 1.27).all()
  assert factors[:, 1:].std(0).min() > 0.08


def test_a_partial_cloud_is_the_lower_end_of_the_shape_along_some_axis():
  rng = np.random.default_rng(0)
  surface = rng.uniform(-0.5, 0.5, (20_000, 3)).astype(np.float16)
  observation = observe(cloud_points=5000, cloud_sigma=0.0, cloud_share=0.6)
  axes, shares = set(), []
  for seed in range(20):
    rng = np.random.default_rng(seed)
    example = {"pointcloud": {"points": surface}}
    drawn = observation.draw(example, rng, train=True)
    cloud = observation.observe(example, drawn, lambda points: points, inputs.HOST)
    cut = [axis for axis in range(3) if cloud[:, axis].max() < 0.49]
    assert len(cut) <= 1
    if cut:
      axes.update(cut)
      shares.append(cloud[:, cut[0]].max() + 0.5)
      # Uniform over what stays: the mean is the middle, and few points come twice.
      np.testing.assert_allclose(cloud.mean(0)[cut[0]], shares[-1] / 2 - 0.5, atol=0.02)
      assert len(np.unique(cloud, axis=0)) > 3900
  assert axes == {0, 1, 2}
  assert 0.59 < min(shares) < 0.7 and max(shares) > 0.9


def test_a_cloud_of_no_share_of_the_shape_is_an_error():
  with pytest.raises(ValueError, match=r"cloud_share is 0\.0; want a share above 0"):
    observe(inputs="cloud", cloud_share=0.0)


def test_equal_sampling_takes_outside_first_and_as_many_inside():
  example, _ = make_example()
  out = subsample(
    example["points"],
    count=101,
    sampling="equal",
  )
  np.testing.assert_array_equal(out["occupancies"], [0] * 51 + [1] * 50)
  np.testing.assert_array_equal(out["points"][:, 0] > 0, out["occupancies"] == 1)


def test_equal_sampling_of_an_empty_shape_takes_what_there_is():
  example, _ = make_example()
  example["points"]["occupancies"][:] = 0
  out = subsample(
    example["points"],
    count=10,
    sampling="equal",
  )
  assert out["points"].shape == (10, 3) and not out["occupancies"].any()


def positions(side=64):
  """An image whose red is the column and whose green the row."""
  rows, columns = np.mgrid[:side, :side]
  blue = np.zeros_like(rows)
  return np.stack([columns, rows, blue], -1).astype(np.uint8)


def window(square):
  """Left, top, right and bottom of what a resized crop of `positions` shows."""
  columns, rows = 255 * square[..., 0], 255 * square[..., 1]
  return np.array([columns.min(), rows.min(), columns.max(), rows.max()])


def test_a_random_crop_keeps_its_share_of_the_area_and_stays_inside():
  image, windows = positions(), []
  for seed in range(200):
    square = images.fit_image(image, 64, np.random.default_rng(seed), 0.5)
    windows.append(window(square))
  left, top, right, bottom = np.array(windows).T
  assert min(left.min(), top.min()) >= 0 and max(right.max(), bottom.max()) <= 63
  edge = right - left + 1
  np.testing.assert_allclose(bottom - top + 1, edge, atol=1)
  share = (edge / 64) ** 2
  # Uniform between a half and one, but for a pixel at either edge of a window.
  assert 0.45 < share.min() < 0.55 and 0.95 < share.max() <= 1
  np.testing.assert_allclose(share.mean(), 0.75, atol=0.04)
  # Small crops lie anywhere: at the left as well as at the right.
  small = edge < 52
  assert left[small].min() < 3 and right[small].max() > 60


def image_example(side=64):
  buffer = io.BytesIO()
  Image.fromarray(positions(side)).save(buffer, "PNG")
  return {"views": {"images": [buffer.getvalue()]}}


def test_the_crop_of_the_config_is_made_in_training_alone():
  example = image_example()
  for crop, train, whole in (
    (0.5, True, False),
    (0.5, False, True),
    (1.0, True, True),
  ):
    observation = observe(inputs="image", image_side=64, image_crop=crop)
    drawn = observation.draw(example, np.random.default_rng(3), train)
    square = observation.observe(example, drawn, lambda points: points, HOST)
    assert np.array_equal(window(square), [0, 0, 63, 63]) == whole


def test_surface_points_come_with_their_normals_and_as_many_as_query_points():
  example, _ = make_example()
  surface = example["pointcloud"]["points"]
  example["pointcloud"]["normals"] = 2 * surface  # tells whose normal it is
  observation = observe(inputs="none", targets=("surface",))
  assert transforms.fields(observation)["pointcloud"] == {
    "points": True,
    "normals": True,
  }
  for count, drawn in ((40, 40), (0, 500)):
    batch = transforms.make_example(
      example,
      np.random.default_rng(0),
      observation=observation,
      draws=Draws(points=count),
    )
    assert batch["surface"].shape == (drawn, 3)
    assert batch["surface"].dtype == batch["normals"].dtype == np.float32
    np.testing.assert_array_equal(batch["normals"], 2 * batch["surface"])
    assert np.isin(batch["surface"], surface.astype(np.float32)).all()
  np.testing.assert_array_equal(batch["surface"], surface.astype(np.float32))


def test_an_unknown_target_is_named():
  with pytest.raises(ValueError, match=r"\['normal'\]; want some of: distances, surf"):
    observe(targets=("normal",))


def camera_example():
  """A picture whose colours are positions, and the camera that took it."""
  matrices = {
    "world_mat": cameras.world_matrix(30.0, 20.0, 1.5)[None],
    "camera_mat": cameras.camera_matrix(64)[None],
  }
  return {"views": image_example()["views"] | matrices}


@pytest.mark.parametrize("train", [False, True])
def test_a_camera_projects_to_what_the_crop_of_its_image_shows(train):
  example = camera_example()
  observation = observe(inputs="image_camera", image_side=64, image_crop=0.3)
  for seed in range(5):
    drawn = observation.draw(example, np.random.default_rng(seed), train)
    view = observation.observe(example, drawn, lambda points: points, HOST)
    assert {k: v.shape for k, v in view.items()} == {
      k: v.shape for k, v in observation.spec.items()
    }
    np.testing.assert_allclose(
      view["world_mat"], example["views"]["world_mat"][0], rtol=1e-6
    )
    points = np.random.default_rng(seed).uniform(-0.15, 0.15, (50, 3))
    stored = [example["views"][name][0] for name in ("world_mat", "camera_mat")]
    pixels, _ = cameras.project(points, *stored)
    places, _ = cameras.project(points, view["world_mat"], view["camera_mat"])
    pixels, places = (x[np.abs(places).max(1) < 0.9] for x in (pixels, places))
    assert len(pixels)
    rows, columns = (32 * (places + 1)).T.astype(int)[::-1]
    shown = 255 * view["image"][rows, columns, :2]  # the pixel there, column first
    np.testing.assert_allclose(shown + 0.5, pixels, atol=1.1)


def test_a_view_without_a_camera_is_refused():
  example = camera_example()
  example["views"]["world_mat"] = np.zeros((1, 3, 4))
  observation = observe(inputs="image_camera", image_side=64)
  with pytest.raises(ValueError, match=r"world_mat of determinant 0\.0, want that of"):
    observation.draw(example, np.random.default_rng(0), False)


def test_an_image_without_its_camera_is_no_input():
  spec = observe(inputs="image_camera").spec
  inputs = input_arrays.batch_of_one(spec)
  checked = input_arrays.as_batch(inputs, "image_camera", spec)
  assert {name: array.shape[0] for name, array in checked.items()} == dict.fromkeys(
    spec, 1
  )
  with pytest.raises(ValueError, match=r"are ndarray; want a dict of image, world_mat"):
    input_arrays.as_batch(inputs["image"], "image_camera", spec)
  with pytest.raises(ValueError, match=r"shape \(1, 3, 3\); want \(b, 3, 4\): world"):
    wrong = inputs | {"world_mat": inputs["camera_mat"]}
    input_arrays.as_batch(wrong, "image_camera", spec)
