"""Clouds that no network can complete are refused, all others pass."""

import numpy as np
import pytest
import trimesh

from occnet_jax.geometry import scan_checks


def sphere(n, x=0.0):
  points = np.random.default_rng(0).standard_normal((n, 3))
  points /= np.linalg.norm(points, axis=1, keepdims=True)
  return points + np.array([x, 0, 0])


def grid(n, *sides):
  return np.random.default_rng(0).uniform(0, 1, (n, 3)) * sides


@pytest.mark.parametrize(
  ("cloud", "message"),
  [
    (sphere(99), r"99 points, want at least 100; the network was trained with much"),
    (grid(500, 7, 5, 0) @ np.linalg.qr(np.vander([1, 2, 3]))[0], "lie on a plane"),
    (grid(500, 7, 5, 0.003), "lie on a plane"),
    (grid(500, 7, 0, 0) + 40, "lie on a line"),
    (grid(3000, 1000, 1000, 4), "lie on a plane"),
    (np.r_[sphere(500), sphere(500, 300)], "2 groups"),
    (np.r_[sphere(500), sphere(400, 20)], r"2 groups .* around \[\S+, "),
    (np.r_[sphere(500), sphere(400, 30), sphere(90, -30)], "3 groups"),
  ],
)
def test_a_cloud_of_no_object_is_one_sentence(cloud, message):
  with pytest.raises(ValueError, match=message):
    scan_checks.check_scan(cloud, 100, "much")


@pytest.mark.parametrize(
  "cloud",
  [
    sphere(100),
    grid(300, 1, 1, 1),
    grid(3000, 7, 5, 0.1),  # a board
    grid(300, 9, 0.1, 0.1),  # a rod
    np.r_[sphere(300), sphere(300, 3)],  # a dumb-bell without its bar
    np.r_[sphere(900), sphere(20, 20)],  # and some points that are alone
  ],
)
def test_thin_sparse_and_broken_things_pass(cloud):
  for scale in (1e-6, 1, 1e6):
    scan_checks.check_scan(scale * cloud, 100, "much")


def test_the_share_of_a_mesh_that_no_point_shows_is_that_of_its_area():
  box = trimesh.creation.box((2, 1, 1))
  whole = grid(4000, 2, 1, 1) - [1, 0.5, 0.5]
  axis = np.arange(4000) % 3
  side = np.where(np.arange(4000) // 3 % 2, 0.5, -0.5) * np.array([2, 1, 1])[axis]
  whole[np.arange(4000), axis] = side
  mesh = box.subdivide_to_size(0.05)
  assert scan_checks.share_far_from(whole, mesh) < 0.01
  half = whole[whole[:, 0] < 0]
  assert scan_checks.share_far_from(half, mesh) == pytest.approx(0.5, abs=0.06)
