"""Pictures against closed forms of perspective, and their way to the reader."""

import io
import subprocess
import sys

import numpy as np
import pytest
import trimesh
from PIL import Image
from scipy.spatial import ConvexHull

from occnet_jax.data import images
from occnet_jax.geometry import cameras, rendering
from occnet_jax.geometry.solids import Solid


def _solid(*meshes):
  mesh = trimesh.util.concatenate(meshes)
  return Solid(np.array(mesh.vertices), np.array(mesh.faces, np.int64))


def _box(extents, centre=(0, 0, 0)):
  return trimesh.creation.box(extents).apply_translation(centre)


def _rng(seed=0):
  return np.random.default_rng(seed)


def _shoot(solid, azimuth=0.0, elevation=0.0, distance=2.5, side=100):
  """One picture from a chosen place, in one channel."""
  world_mat = cameras.world_matrix(azimuth, elevation, distance)
  camera_mat = cameras.camera_matrix(side)
  return rendering.render(rendering.Scene(solid), world_mat, camera_mat, side)[..., 0]


BALL = _solid(trimesh.creation.icosphere(5, 0.5))
CUBE = _solid(_box((1, 1, 1)))


def test_a_ball_covers_the_disc_of_perspective():
  """A ball of radius r at distance d is a disc of radius f r / sqrt(d^2 - r^2)."""
  side = 548
  shot = rendering.render_views(BALL, _rng(), views=4, side=side)
  for image, world_mat in zip(shot.images, shot.world_mat, strict=True):
    distance = np.linalg.norm(world_mat[:, 3])
    radius = side * 35 / 32 * 0.5 / np.sqrt(distance**2 - 0.5**2)
    rows, columns = np.nonzero(image[..., 0] < 255)
    assert 80 < radius < 200
    np.testing.assert_allclose(len(rows), np.pi * radius**2, rtol=0.015)
    np.testing.assert_allclose((rows.mean() + 0.5, columns.mean() + 0.5), 274, atol=0.2)


def test_a_box_covers_the_hull_of_its_projected_corners():
  corners = np.array([0.5, 0.3, 0.2]) * (np.indices((2, 2, 2)).reshape(3, -1).T * 2 - 1)
  shot = rendering.render_views(_solid(_box((1, 0.6, 0.4))), _rng(), views=6, side=137)
  centres = np.stack(np.meshgrid(*[np.arange(137) + 0.5] * 2), -1).reshape(-1, 2)
  for image, world_mat, camera_mat in zip(*shot, strict=True):
    covered = (image[..., 0] < 255).ravel()
    pixels, _ = cameras.project(corners, world_mat, camera_mat)
    faces = ConvexHull(pixels).equations
    outside = (centres @ faces[:, :2].T + faces[:, 2]).max(1)  # pixels off the hull
    assert covered[outside < 0].all() and not covered[outside > 0.75].any()
    assert np.count_nonzero(outside < 0) > 1000


def test_the_background_is_white_and_the_shape_is_grey_and_not_white():
  image = rendering.render_views(BALL, _rng(), views=1).images[0]
  assert image.shape == (137, 137, 3) and image.dtype == np.uint8
  assert (image[[0, -1]] == 255).all() and (image[:, [0, -1]] == 255).all()
  assert (image == image[..., :1]).all()
  inner = image[50:87, 50:87]
  assert inner.max() < 235 and inner.min() > 40 and np.ptp(inner) > 40


def test_the_whole_shape_is_in_view_however_bulky():
  """From 1.14 diagonals away a cube or a ball would be cut off."""
  for solid in (CUBE, _solid(_box((1, 1, 0.01))), _solid(_box((0.05, 1, 0.05)))):
    shot = rendering.render_views(solid, _rng(3), views=64, side=40)
    for world_mat, camera_mat in zip(shot.world_mat, shot.camera_mat, strict=True):
      pixels, depth = cameras.project(solid.vertices, world_mat, camera_mat)
      assert pixels.min() > 0 and pixels.max() < 40 and depth.min() > 0
    assert ((shot.images < 255).sum((1, 2, 3)) > 0).all()


def test_cameras_are_drawn_as_by_choy():
  shot = rendering.render_views(_solid(_box((1, 0.1, 0.1))), _rng(), views=300, side=2)
  place = -np.einsum("vji,vj->vi", shot.world_mat[..., :3], shot.world_mat[..., 3])
  distance = np.linalg.norm(place, axis=1)
  elevation = np.degrees(np.arcsin(place[:, 1] / distance))
  assert 25 <= elevation.min() < 25.2 and 29.8 < elevation.max() <= 30
  ratio = distance / np.linalg.norm((1, 0.1, 0.1)) / 1.75
  assert 0.65 <= ratio.min() < 0.67 and 0.98 < ratio.max() <= 1
  azimuth = np.degrees(np.arctan2(place[:, 0], -place[:, 2])) % 360
  assert np.histogram(azimuth, 6, (0, 360))[0].min() > 30


def test_views_are_a_function_of_the_seed():
  first, same = (rendering.render_views(BALL, _rng(5), views=3, side=50) for _ in "ab")
  for one, two in zip(first, same, strict=True):
    np.testing.assert_array_equal(one, two)
  other = rendering.render_views(BALL, _rng(6), views=3, side=50)
  assert (first.world_mat != other.world_mat).any()


@pytest.mark.parametrize(
  ("azimuth", "centre", "where"),
  [
    (0.0, (0, 0.4, 0), "up"),
    (0.0, (0, -0.4, 0), "down"),
    (0.0, (0.4, 0, 0), "left"),
    (180.0, (0.4, 0, 0), "right"),
    (90.0, (0, 0, -0.4), "right"),
    (270.0, (0, 0, -0.4), "left"),
  ],
)
def test_a_box_off_the_centre_appears_on_its_side(azimuth, centre, where):
  rows, columns = np.nonzero(_shoot(_solid(_box((0.1,) * 3, centre)), azimuth) < 255)
  away = 100 * 35 / 32 * 0.4 / 2.5
  row, column = {
    "up": (-away, 0),
    "down": (away, 0),
    "left": (0, -away),
    "right": (0, away),
  }[where]
  np.testing.assert_allclose(rows.mean() + 0.5 - 50, row, atol=0.5)
  np.testing.assert_allclose(columns.mean() + 0.5 - 50, column, atol=0.5)


def test_what_is_nearer_hides_what_is_behind():
  plate, ball = _box((1, 1, 0.02), (0, 0, -0.3)), trimesh.creation.icosphere(3, 0.2)
  alone, both = _solid(plate), _solid(plate, ball)
  np.testing.assert_array_equal(_shoot(alone), _shoot(both))
  assert (_shoot(alone, 180.0) != _shoot(both, 180.0)).any()


def test_a_face_turned_to_the_light_is_brighter_and_a_shadow_darkens():
  floor, plate = _box((1, 0.1, 1), (0, -0.45, 0)), _box((0.3, 0.02, 0.3), (0, 0.3, 0))
  image = _shoot(CUBE, 0.0, 40.0, 3.0)
  assert image[30, 50] > image[65, 50] + 20  # the top and the front
  bare, shaded = (
    _shoot(_solid(*parts), 0.0, 30.0).astype(int) for parts in ([floor], [floor, plate])
  )
  seen = (_shoot(_solid(plate), 0.0, 30.0) == 255) & (bare < 255)  # of the floor
  assert (shaded[seen] <= bare[seen]).all()
  assert np.count_nonzero(shaded[seen] < bare[seen] - 20) > 50


def test_edges_are_smoothed_over_four_samples():
  turn = trimesh.transformations.rotation_matrix(np.radians(10), (0, 0, 1))
  image = _shoot(_solid(_box((1, 1, 0.2)).apply_transform(turn))).astype(int)
  quarters = 4 * (255 - image) / (255 - image[50, 50])  # the front has one shade
  for share in (1, 2, 3):
    assert np.count_nonzero(np.abs(quarters - share) < 0.1) > 5


@pytest.mark.parametrize("name", ["views", "side"])
def test_less_than_one_is_refused(name):
  with pytest.raises(ValueError, match=f"{name} is 0, want at least 1"):
    rendering.render_views(BALL, _rng(), **{name: 0})


def test_an_encoded_view_is_decoded_exactly():
  image = rendering.render_views(BALL, _rng(), views=1).images[0]
  encoded = rendering.encode(image)
  assert len(encoded) < 6000
  views = {"images": [b"", encoded]}
  assert images.count_views(views) == 2
  np.testing.assert_array_equal(images.decode_view(views, 1), image)


def _encode(array, mode, kind="PNG"):
  stream = io.BytesIO()
  Image.fromarray(np.asarray(array, np.uint8)).convert(mode).save(stream, kind)
  return stream.getvalue()


def test_grey_and_transparent_pictures_become_rgb_before_white():
  colours = np.array([[[200, 40, 0, 255], [200, 40, 0, 0], [200, 40, 0, 51]]])
  solid = {"images": [_encode(colours[..., :3], "RGB"), _encode(colours, "RGBA")]}
  np.testing.assert_array_equal(images.decode_view(solid, 0), colours[..., :3])
  blended = images.decode_view(solid, 1)
  want = [(200, 40, 0), (255,) * 3, (244, 212, 204)]  # 0.2 c + 0.8 * 255
  np.testing.assert_allclose(blended[0].astype(int), want, atol=1)
  grey = {"images": [_encode([[0, 7], [100, 255]], "L"), _encode([[9]], "LA")]}
  np.testing.assert_array_equal(
    images.decode_view(grey, 0), np.repeat([[[0], [7]], [[100], [255]]], 3, 2)
  )
  np.testing.assert_array_equal(images.decode_view(grey, 1), [[[9, 9, 9]]])


def test_a_jpeg_and_a_palette_can_be_read():
  image = np.full((8, 8, 3), (0, 204, 102))  # a colour of the web palette
  for encoded in (_encode(image, "RGB", "JPEG"), _encode(image, "P", "GIF")):
    decoded = images.decode_view({"images": [encoded]}, 0).astype(int)
    np.testing.assert_allclose(decoded, image, atol=3)


@pytest.mark.parametrize(
  ("encoded", "message"),
  [
    (b"", "view 0 cannot be decoded .*prepare the data again"),
    (b"no picture", "view 0 cannot be decoded"),
    (
      rendering.encode(np.zeros((40, 40, 3), np.uint8))[:-30],
      "view 0 cannot be decoded",
    ),
    (_encode(np.zeros((4, 4, 3)), "CMYK", "JPEG"), "channels 'CMYK', want 8-bit grey"),
  ],
)
def test_a_picture_that_is_none_is_refused_in_words(encoded, message):
  with pytest.raises(ValueError, match=message):
    images.decode_view({"images": [encoded]}, 0)


@pytest.mark.parametrize("index", [-1, 2])
def test_a_view_that_is_not_there_is_refused(index):
  with pytest.raises(ValueError, match=f"view {index} of 2; choose one from 0 to 1"):
    images.decode_view({"images": [b"", b""]}, index)


def test_a_drawing_without_faces_is_white():
  image = rendering.draw(np.zeros((0, 3)), np.zeros((0, 3), np.int64), 20)
  assert image.shape == (20, 20, 3) and image.dtype == np.uint8 and (image == 255).all()


def test_drawings_of_the_unit_cube_frame_compare_in_size():
  big, small = (
    rendering.draw(factor * BALL.vertices, BALL.faces, 200) for factor in (1.0, 0.5)
  )
  areas = [np.count_nonzero(image[..., 0] < 255) for image in (big, small)]
  assert 4 < areas[0] / areas[1] < 5  # perspective makes the nearer surface larger


def test_a_fitted_drawing_is_the_same_wherever_the_mesh_lies():
  vertices = CUBE.vertices * [1, 0.5, 0.25]
  near, far = (
    rendering.draw(v, CUBE.faces, 100, azimuth=330.0, fit=True)
    for v in (vertices, 8 * vertices + [64, 0, -32])  # powers of two: without rounding
  )
  np.testing.assert_array_equal(near, far)
  rows, columns = np.nonzero(near[..., 0] < 255)
  border = min(rows.min(), columns.min(), 99 - rows.max(), 99 - columns.max())
  assert 5 <= border <= 7  # six of a hundred pixels stay free


def test_the_renderer_is_imported_where_a_scene_is_made_only():
  code = (
    "import sys\nfrom data_prep.watertight import solid\n"
    "from occnet_jax.geometry import rendering\n"
    "assert rendering.is_available() and 'embreex' not in sys.modules\n"
  )
  subprocess.run([sys.executable, "-c", code], check=True)
