"""Cameras against their definitions and closed forms."""

import numpy as np
import pytest

from occnet_jax.geometry import cameras
from tests.helpers import parity


def _project(points, azimuth=0.0, elevation=0.0, distance=2.0, side=137):
  matrices = cameras.world_matrix(azimuth, elevation, distance)
  return cameras.project(
    np.asarray(points, float), matrices, cameras.camera_matrix(side)
  )


def test_the_lens_is_that_of_the_reference():
  matrix = cameras.camera_matrix(137)
  np.testing.assert_allclose(matrix[0, 0], 149.84375)
  np.testing.assert_allclose(matrix[:2, 2], 68.5)
  np.testing.assert_allclose(cameras.camera_matrix(274)[:2], 2 * matrix[:2])


@pytest.mark.parametrize("elevation", [-90.0, -30.0, 0.0, 27.5, 90.0])
@pytest.mark.parametrize("azimuth", [0.0, 100.0, 359.0])
def test_a_camera_looks_at_the_origin_from_its_distance(azimuth, elevation):
  matrix = cameras.world_matrix(azimuth, elevation, 1.5)
  np.testing.assert_allclose(matrix[:, :3] @ matrix[:, :3].T, np.eye(3), atol=1e-12)
  np.testing.assert_allclose(np.linalg.det(matrix[:, :3]), 1)
  pixels, depth = _project([[0, 0, 0]], azimuth, elevation, 1.5)
  np.testing.assert_allclose(pixels, [[68.5, 68.5]])
  np.testing.assert_allclose(depth, 1.5)


@pytest.mark.parametrize(
  ("azimuth", "elevation", "place"),
  [(0.0, 0.0, (0, 0, -2)), (90.0, 0.0, (2, 0, 0)), (0.0, 90.0, (0, 2, 0))],
)
def test_azimuth_starts_before_the_shape_and_goes_by_x(azimuth, elevation, place):
  matrix = cameras.world_matrix(azimuth, elevation, 2.0)
  np.testing.assert_allclose(matrix @ [*place, 1], 0, atol=1e-12)


def test_from_the_front_up_is_up_and_the_right_hand_of_the_shape_is_on_the_left():
  """Facing -z with y up, the right hand of the shape is at +x."""
  (up, hand, face), depth = _project([[0, 0.3, 0], [0.3, 0, 0], [0, 0, -0.3]])
  focal = 137 * 35 / 32
  np.testing.assert_allclose(up, (68.5, 68.5 - focal * 0.3 / 2))
  np.testing.assert_allclose(hand, (68.5 - focal * 0.3 / 2, 68.5))
  np.testing.assert_allclose(face, (68.5, 68.5))
  np.testing.assert_allclose(depth, (2, 2, 1.7))


@pytest.mark.parametrize("elevation", [-90.0, -20.0, 0.0, 40.0, 90.0])
def test_the_vertical_stays_vertical(elevation):
  pixels, _ = _project([[0, 0.1, 0], [0, -0.1, 0]], 33.0, elevation)
  np.testing.assert_allclose(pixels[:, 0], 68.5)
  if abs(elevation) < 90:
    assert pixels[0, 1] < pixels[1, 1]


def test_rays_of_pixels_lead_back_to_the_points():
  rng = np.random.default_rng(0)
  points = rng.random((50, 3)) - 0.5
  world_mat, camera_mat = (
    cameras.world_matrix(70.0, 25.0, 2.0),
    cameras.camera_matrix(64),
  )
  pixels, depth = cameras.project(points, world_mat, camera_mat)
  place, directions = cameras.pixel_rays(pixels, world_mat, camera_mat)
  np.testing.assert_allclose(np.linalg.norm(place), 2)
  np.testing.assert_allclose(place + depth[:, None] * directions, points, atol=1e-12)


@pytest.mark.parametrize("margin", [0.0, 0.05])
def test_at_the_closest_distance_the_farthest_point_touches_the_margin(margin):
  points = np.random.default_rng(1).random((50, 3)) - 0.5
  least = cameras.closest_distance(points, 40.0, 28.0, margin=margin)
  pixels, depth = _project(points, 40.0, 28.0, least, side=100)
  assert (depth > 0).all()
  border = np.minimum(pixels, 100 - pixels).min()
  np.testing.assert_allclose(border, 100 * margin, atol=1e-9)


def test_cameras_of_a_file_s_frame_become_those_of_the_reference():
  given, out = parity.load("p2m_camera", "in/"), parity.load("p2m_camera", "out/")
  for i, (loc, scale) in enumerate(zip(given["loc"], given["scale"], strict=True)):
    ours = cameras.cube_world_matrix(given["world_mat"][i], loc, float(scale))
    # The reference's frame has the file's unit of length, so that its R is no rotation.
    np.testing.assert_allclose(scale * ours, out["world_mat"][i], atol=1e-6)
    np.testing.assert_allclose(ours[:, :3], given["world_mat"][i][:, :3], atol=1e-6)
    whole = cameras.square_camera_matrix(given["camera_mat"][i], (0, 0, 137, 137))
    np.testing.assert_allclose(whole, out["camera_mat"][i], atol=1e-5)
    pixels, _ = cameras.project(given["points"][i], ours, whole)
    np.testing.assert_allclose(pixels, out["projected"][i], atol=1e-5)


@pytest.mark.parametrize("box", [(0, 0, 137, 137), (20, 5, 84, 69), (63, 127, 73, 137)])
def test_the_sides_of_a_part_of_a_picture_are_minus_one_and_one(box):
  left, top, right, bottom = box
  camera = cameras.camera_matrix(137)
  matrix = cameras.square_camera_matrix(camera, box)
  for pixel, place in (
    ((left, top), (-1, -1)),
    ((right, bottom), (1, 1)),
    (((left + right) / 2, bottom), (0, 1)),
  ):
    seen = np.linalg.inv(camera) @ [*pixel, 1.0]
    np.testing.assert_allclose(matrix @ seen, [*place, 1], atol=1e-9)
