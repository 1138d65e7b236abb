"""Clouds that a network cannot use, and paths in place of arrays."""

import pathlib

import numpy as np
import pytest
import trimesh

from occnet_jax.config import ScanSettings
from occnet_jax.data import user_clouds, user_inputs
from occnet_jax.geometry import pointcloud_io

BOX = trimesh.creation.box((1, 1.5, 0.5))
CLOUD = np.array(trimesh.sample.sample_surface(BOX, 5000, seed=0)[0])
CLOUD[:, 2] += 3
SCAN = ScanSettings(
  points=(300, 5000),
  sigma=0.02,
  outliers=0.02,
  unevenness=2.0,
  turned=0.5,
  cut=0.0,
  kept=0.5,
  viewed=0.0,
  extent=1.0,
)


@pytest.mark.parametrize("scan", [None, SCAN])
def test_many_points_in_one_place_are_counted_and_refused(scan, tmp_path):
  cloud = np.vstack([CLOUD, np.zeros((500, 3))])
  cloud = np.random.default_rng(0).permutation(cloud)
  message = r"500 of 5,500 points lie at \[0\.0, 0\.0, 0\.0\].*remove them"
  with pytest.raises(ValueError, match=message):
    user_inputs.prepare(cloud, "cloud", (300, 3), scan=scan)
  np.save(tmp_path / "a.npy", cloud)
  with pytest.raises(ValueError, match=message):
    pointcloud_io.read_cloud(tmp_path / "a.npy")


def test_they_are_found_in_a_large_cloud_whatever_their_order():
  cloud = np.vstack([np.tile(CLOUD, (40, 1)), np.full((6_000, 3), 7.0)])
  cloud[:200_000] += np.random.default_rng(0).normal(size=(200_000, 3))
  with pytest.raises(ValueError, match=r"6,000 of 206,000 points lie at \[7"):
    pointcloud_io.check_cloud(cloud)


def test_vertices_that_a_mesh_repeats_are_no_such_points():
  corners = np.asarray(trimesh.creation.icosphere(3).triangles).reshape(-1, 3)
  pointcloud_io.check_cloud(corners)  # each six times
  pointcloud_io.check_cloud(np.repeat(CLOUD[:40], 9, axis=0))


@pytest.mark.parametrize("count", [1, 30])
def test_points_far_away_are_named_before_the_object_shrinks_to_a_speck(count):
  far = np.random.default_rng(0).normal(size=(count, 3)) * [5, 5, 5] + [0, 0, 40]
  cloud = np.vstack([CLOUD, far])
  with pytest.raises(ValueError, match=rf"{count} of {5000 + count} points .*remove"):
    user_inputs.prepare(cloud, "cloud", (300, 3))
  inputs, loc, scale = user_inputs.prepare(cloud, "cloud", (300, 3), normalise=False)
  assert inputs.shape == (300, 3) and scale == 1 and not loc.any()


@pytest.mark.parametrize("cloud", [CLOUD, CLOUD[:30], CLOUD * [1, 40, 1]])
def test_a_cloud_of_one_object_keeps_the_frame_of_its_box(cloud):
  loc, scale = user_clouds.frame(cloud, None, np.random.default_rng(0))
  np.testing.assert_allclose(loc, (cloud.min(0) + cloud.max(0)) / 2)
  assert scale == np.ptp(cloud, axis=0).max()


@pytest.mark.parametrize("kind", user_inputs.ACCEPTED)
@pytest.mark.parametrize("as_path", [str, pathlib.Path])
def test_a_path_in_place_of_an_array_says_how_the_file_is_read(kind, as_path):
  path = as_path("scan.ply")
  with pytest.raises(ValueError, match=r"'scan\.ply' is a path, .*: .*occnet_jax\."):
    user_inputs.prepare(path, kind, (300, 3))


def test_a_path_in_place_of_a_scene_says_how_the_file_is_read():
  with pytest.raises(ValueError, match=r"read the file: occnet_jax\.read_cloud"):
    user_clouds.as_cloud("scan.ply")


@pytest.mark.parametrize(
  ("count", "padded"),
  [
    (63, 63),
    (64, 64),
    (65, 256),
    (1025, 4096),
    (4097, 9000),
    (9000, 9000),
    (9001, 18000),
    (40000, 72000),
  ],
)
def test_clouds_are_padded_to_few_sizes(count, padded):
  clouds = np.random.default_rng(0).standard_normal((2, count, 3))
  made = user_clouds.pad_clouds(clouds, 9000)
  assert made.shape == (2, padded, 3)
  np.testing.assert_array_equal(made[:, :count], clouds)
  assert np.isnan(made[:, count:]).all()
