"""Scans of a ball, a cup and a wall, whose points, sides and labels are known."""

import numpy as np
import pytest

from configs import base
from occnet_jax import config as config_lib
from occnet_jax.data import batches, inputs, scans, source, transforms
from occnet_jax.geometry import frames
from occnet_jax.types import Batch

PLAIN = config_lib.parse(base.get_config().to_dict()).data
EXACT = PLAIN.scan._replace(points=(400, 400), sigma=0.0, outliers=0.0, unevenness=0.0)
RADII = np.array([0.5, 0.4, 0.3])


def ellipsoid(n, seed=0):
  """Points of an ellipsoid, uniform over the sphere it comes from, and normals."""
  unit = np.random.default_rng(seed).standard_normal((n, 3))
  unit /= np.linalg.norm(unit, axis=1, keepdims=True)
  normals = unit / RADII
  normals /= np.linalg.norm(normals, axis=1, keepdims=True)
  return (unit * RADII).astype(np.float32), normals.astype(np.float32)


def heights(points):
  """How far out points are, 1 on the ellipsoid."""
  return np.linalg.norm(points / RADII, axis=1)


def draw(seed=0, n=20_000, **changes):
  surface, normals = ellipsoid(n)
  rng = np.random.default_rng(seed)
  return scans.draw(surface, normals, rng, EXACT._replace(**changes))


def back(scan, points):
  """From the scan's frame to that of the shape."""
  return (points - scan.offset) @ np.linalg.inv(scan.matrix).T


@pytest.mark.parametrize("changes", [{}, {"cut": 1.0}, {"viewed": 1.0}])
def test_points_of_a_scan_lie_on_the_moved_shape_with_its_normals(changes):
  scan = draw(turned=1.0, extent=0.9, **changes)
  on_shape = back(scan, scan.cloud)
  np.testing.assert_allclose(heights(on_shape), 1, atol=1e-4)
  turn = scan.matrix * (1 / np.linalg.norm(scan.matrix[0]))
  np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-5)
  assert np.linalg.det(turn) == pytest.approx(1, abs=1e-5)
  normals = on_shape / RADII**2
  normals /= np.linalg.norm(normals, axis=1, keepdims=True)
  np.testing.assert_allclose(scan.normals, normals @ turn.T, atol=1e-3)
  assert np.ptp(scan.cloud, axis=0).max() == pytest.approx(0.9, abs=1e-5)
  np.testing.assert_allclose(scan.cloud.min(0) + scan.cloud.max(0), 0, atol=1e-5)


def test_an_upright_scan_turns_about_the_vertical_axis_alone():
  upright = [draw(seed, turned=0.0).matrix for seed in range(5)]
  assert all(matrix[1, 0] == matrix[1, 2] == 0 for matrix in upright)
  assert len({matrix[0, 0] for matrix in upright}) == 5
  assert all(abs(draw(seed, turned=1.0).matrix[1, 0]) > 1e-3 for seed in range(5))


def test_numbers_of_points_are_log_uniform_between_their_limits():
  counts = [len(draw(seed, n=2000, points=(100, 1600)).cloud) for seed in range(300)]
  assert min(counts) < 120
  assert 1400 < max(counts) <= 1600
  assert np.median(counts) == pytest.approx(400, rel=0.15)


def test_noise_reaches_its_largest_deviation_and_is_smaller_mostly():
  deviations = []
  for seed in range(200):
    scan = draw(seed, sigma=0.04, turned=0.0)
    deviations.append((heights(back(scan, scan.cloud)) - 1).std())
  # Heights are in units of the radius, .4 in the mean.
  assert 0.07 < max(deviations) < 0.14
  assert np.median(deviations) < 0.4 * max(deviations)


def test_outliers_are_off_the_shape_without_normals_and_do_not_move_its_box():
  with_outliers = 0
  for seed in range(40):
    scan = draw(seed, points=(3000, 3000), outliers=0.03, turned=0.0)
    stray = (scan.normals == 0).all(1)
    assert stray.mean() < 0.04
    np.testing.assert_allclose(heights(back(scan, scan.cloud[~stray])), 1, atol=1e-4)
    with_outliers += stray.any()
    # Only outliers within two cells of the shape, at both ends, pass for a part of it.
    assert 1 - 4 * 1.1 / 16 < np.ptp(scan.cloud[~stray], axis=0).max() <= 1
  assert 10 < with_outliers < 30  # half of the scans


def test_a_cut_leaves_a_cap_of_at_least_its_smallest_share():
  surface, _ = ellipsoid(5000)
  sizes = []
  for seed in range(100):
    rows = scans.cut_off(surface, np.random.default_rng(seed), 0.6)
    sizes.append(len(rows) / len(surface))
    # A plane parts them from the others: found by a perceptron on the two sets.
    kept = np.isin(np.arange(len(surface)), rows)
    normal = surface[kept].mean(0) - surface[~kept].mean(0) if not kept.all() else None
    assert normal is None or (surface[kept] @ normal).mean() > 0
  assert 0.6 <= min(sizes) < 0.63
  assert max(sizes) > 0.97


def test_density_changes_from_one_end_to_the_other():
  ratios = []
  for seed in range(60):
    scan = draw(seed, points=(4000, 4000), unevenness=3.0, turned=0.0)
    on_ball = back(scan, scan.cloud) / RADII
    ratios.append(np.linalg.norm(on_ball.mean(0)))
  assert np.mean(np.array(ratios) < 0.05) == pytest.approx(0.5, abs=0.2)
  assert max(ratios) > 0.3


def test_a_camera_sees_the_side_of_a_ball_that_faces_it():
  surface, _ = ellipsoid(20_000)
  surface /= RADII.astype(np.float32)
  surface *= 0.5
  direction = np.array([[0.0, 0.6, 0.8]], np.float32)
  seen = scans.visible(surface, 2 * surface, direction)
  # A ray from distance 2.5 touches a ball of radius .5 at the height .5 * .5 / 2.5.
  facing = surface @ direction[0] > 0.1
  assert not seen[~facing].any()
  assert seen[facing].mean() > 0.98


def test_a_wall_hides_what_is_behind_it_from_its_own_camera_alone():
  grid = np.stack(np.meshgrid(*[np.linspace(-0.5, 0.5, 120)] * 2), -1).reshape(-1, 2)
  front, behind = (np.insert(grid, 2, z, axis=1) for z in (0.2, -0.2))
  surface = np.concatenate([front, behind]).astype(np.float32)
  normals = np.zeros_like(surface)
  normals[:, 2] = 1.0
  ahead = np.array([[0.0, 0.0, 1.0]], np.float32)
  seen = scans.visible(surface, normals, ahead)
  assert seen[: len(front)].all()
  # Of the plane behind, what lies beyond the shadow's edge alone can be seen.
  assert seen[len(front) :].mean() < 0.15
  both = np.concatenate([ahead, [[0.8, 0.0, 0.6]]]).astype(np.float32)
  assert scans.visible(surface, normals, both).sum() > seen.sum()


def example(n=4000):
  rng = np.random.default_rng(1)
  points = rng.uniform(-0.55, 0.55, (n, 3)).astype(np.float32)
  labelled = {"points": points, "occupancies": np.packbits(heights(points) < 1)}
  surface, normals = ellipsoid(3000)
  cloud = {"points": surface, "normals": normals}
  return {"points": labelled, "points_surface": labelled, "pointcloud": cloud}


def make(*, draws=None, seed=0, **changes) -> Batch:
  scan = EXACT._replace(points=(200, 300), turned=1.0)
  data = PLAIN._replace(scan=scan, targets=("cloud_normals",), **changes)
  draws = draws or batches.make_draws(data, 500, train=True)
  rng = np.random.default_rng(seed)
  observation = inputs.make(data)
  return transforms.make_example(example(), rng, observation=observation, draws=draws)


@pytest.mark.parametrize("stretch", [0.0, 0.5])
def test_labels_move_with_their_scan(stretch):
  """The points of the scan tell where the shape is, and labels agree with that."""
  batch = make(random_stretch=stretch, near_fraction=0.3)
  rows = np.isfinite(batch["inputs"]).all(1)
  cloud = batch["inputs"][rows]
  assert 200 <= rows.sum() <= 300
  assert np.isnan(batch["inputs"][~rows]).all()
  assert (np.abs(batch["points"]) <= 0.5501).all()
  # The quadric of the moved ellipsoid, through all points of the scan.
  x, y, z = cloud.T.astype(np.float64)
  terms = np.stack([x * x, y * y, z * z, x * y, x * z, y * z, x, y, z], 1)
  quadric, *_ = np.linalg.lstsq(terms, np.ones(len(x)), rcond=None)
  x, y, z = batch["points"].T.astype(np.float64)
  terms = np.stack([x * x, y * y, z * z, x * y, x * z, y * z, x, y, z], 1)
  values = terms @ quadric
  clear = np.abs(values - 1) > 0.02
  assert clear.mean() > 0.9
  np.testing.assert_array_equal(batch["occupancies"][clear] > 0, values[clear] < 1)
  normals = batch["cloud_normals"][rows]
  np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1, atol=1e-4)
  assert ((normals * cloud).sum(1) > 0).all()


def test_validation_draws_scans_and_the_test_takes_plain_clouds_in_the_shapes_frame():
  data = PLAIN._replace(scan=EXACT._replace(points=(50, 60)), cloud_points=70)
  rng = np.random.default_rng(0)
  validated = batches.evaluation_transform(data, 40, targets=True)(example(), rng)
  assert validated["inputs"].shape == (60, 3)
  assert np.isnan(validated["inputs"][-1]).all() or len(validated["inputs"]) == 60
  tested = batches.evaluation_transform(data, 0)(example(), rng)
  assert tested["inputs"].shape == (70, 3)
  np.testing.assert_allclose(heights(tested["inputs"]), 1, atol=0.1)
  np.testing.assert_array_equal(tested["points"], example()["points"]["points"])


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"scan": EXACT._replace(points=(300,))}, r"points is \(300,\); want the fewest"),
    ({"scan": EXACT._replace(points=(9, 3))}, r"points is \(9, 3\); want the fewest"),
    ({"scan": EXACT._replace(kept=0.0)}, r"kept=0\.0.* want kept and extent above 0"),
    ({"scan": EXACT._replace(cut=0.7, viewed=0.6)}, r"at most 1 as the sum of cut"),
    ({"scan": EXACT, "inputs": "voxels"}, r"which goes with inputs='cloud'"),
    ({"targets": ("cloud_normals",)}, r"has 'cloud_normals', which scans have alone"),
  ],
)
def test_settings_that_no_scan_has_are_one_sentence(changes, message):
  with pytest.raises(ValueError, match=message):
    inputs.make(PLAIN._replace(**changes))


def test_points_alone_do_not_change_the_box_of_a_cloud():
  surface, _ = ellipsoid(3000)
  surface = surface.astype(np.float64)
  np.testing.assert_array_equal(
    frames.robust_frame(surface)[0], frames.cloud_frame(surface)[0]
  )
  far = np.array([[3.0, 0, 0], [0, -2, 1], [0.1, 0.2, 9]])
  loc, scale = frames.robust_frame(np.concatenate([surface, far]))
  np.testing.assert_allclose(loc, 0, atol=1e-2)
  assert scale == pytest.approx(1, abs=0.01)
  # A thin rod on a plate is a part of the shape.
  rng = np.random.default_rng(0)
  plate = rng.uniform(-0.3, 0.3, (2000, 3)) * [1, 0, 1]
  rod = np.stack([0 * (t := rng.uniform(0, 1, 120)), t, 0 * t], 1)
  rod += rng.normal(0, 0.01, rod.shape) * [1, 0, 1]
  assert frames.robust_frame(np.concatenate([plate, rod]))[1] > 0.95


def test_a_mixture_takes_shapes_as_often_as_it_says(tiny_data):
  fields = {"category": True, "id": True}
  joined = source.open_mixture(tiny_data, ((str(tiny_data), 3),), "train", fields)
  alone = source.open_split(tiny_data, "train", fields)
  n = len(alone)
  assert len(joined) == 2 * n
  np.testing.assert_array_equal(np.bincount(source.epoch_of(joined)), [1] * n + [3] * n)
  for index in (0, n - 1, n, 2 * n - 1):
    assert joined[index] == {**alone[index % n], "index": index}
  with pytest.raises(IndexError):
    joined[2 * n]
  assert source.epoch_of(source.open_mixture(tiny_data, (), "train", fields)) is None
  with pytest.raises(ValueError, match=r"takes shapes 0 times; want a whole number"):
    source.open_mixture(tiny_data, ((str(tiny_data), 0),), "train", fields)


def test_the_loader_draws_an_epoch_of_a_mixture(tiny_data):
  config = base.get_config()
  config.data.update(dir=str(tiny_data), points=8, cloud_points=5)
  config.data.mixture = ((str(tiny_data), 2),)
  config.train.batch_size = 4
  settings = config_lib.parse(config.to_dict())
  examples = batches.open_train(settings.data)
  split = batches.place_train(settings.data, examples)
  steps = len(split.epoch) // 4
  drawn = batches.train_batches(settings, split, 0)
  indices = []
  for step, batch in zip(range(steps), drawn, strict=False):
    named = batches.shapes_of_batch(settings, len(examples), step)
    indices += [shape["index"] for shape in named]
    alone = next(batches.read_host_batches(settings, examples, step))
    np.testing.assert_array_equal(batch["inputs"], alone["inputs"])
    # A box and an ellipsoid differ in their labels: those of the named shape.
    for k, shape in enumerate(named):
      stored = examples[shape["index"]]["points"]
      found = (stored["points"] == batch["points"][k, :1]).all(1)
      assert found.any()
  np.testing.assert_array_equal(np.bincount(indices), np.bincount(split.epoch))
