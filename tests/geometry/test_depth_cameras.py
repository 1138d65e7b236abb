"""Camera and pose files in the forms that programs write, and what is wrong in them."""

import math

import numpy as np
import pytest

from occnet_jax.geometry.depth_cameras import read_camera, read_poses
from tests.helpers.depth import write_json

FOCUS = {"fx": 600.0, "fy": 601.0, "cx": 320.5, "cy": 239.0}
ROWS = [[600.0, 0, 320.5], [0, 601.0, 239.0], [0, 0, 1]]
BY_ROW = [600.0, 0, 320.5, 0, 601.0, 239.0, 0, 0, 1]
BY_COLUMN = [600.0, 0, 0, 0, 601.0, 0, 320.5, 239.0, 1]
SIZE = {"width": 640, "height": 480}
TURN = [[0.0, -1, 0, 5], [1, 0, 0, 6], [0, 0, 1, 7], [0, 0, 0, 1]]


@pytest.mark.parametrize(
  "content",
  [
    FOCUS,
    {"K": ROWS},
    {"camera_matrix": ROWS},
    {"K": BY_ROW, "D": [0.0] * 5, "distortion_model": "plumb_bob"},  # ROS 1
    {"k": BY_ROW, "d": [], "binning_x": 0},  # ROS 2
    {"intrinsic_matrix": BY_COLUMN},  # Open3D
    {"intrinsic_matrix": ROWS},
  ],
)
def test_every_form_of_the_intrinsics_is_the_same_camera(tmp_path, content):
  path = write_json(tmp_path / "camera.json", content | SIZE)
  camera = read_camera(path)
  assert camera[:4] == (600, 601, 320.5, 239) and camera.size == (640, 480)
  assert (camera.scale, camera.near, camera.far) == (None, 0, math.inf)
  camera = read_camera(write_json(path, content | {"depth_scale": 1000}))
  assert camera.size is None and camera.scale == 1000


def test_a_range_of_depths_may_be_given(tmp_path):
  content = FOCUS | {"depth_range": [0.2, 1.5]}
  camera = read_camera(write_json(tmp_path / "camera.json", content))
  assert (camera.near, camera.far) == (0.2, 1.5)


@pytest.mark.parametrize(
  ("content", "words"),
  [
    ({"intrinsic_matrix": BY_ROW}, "want the last one 0 0 1, so transpose it"),
    ({"K": BY_COLUMN}, "want the last one 0 0 1, so transpose it"),
    ({"K": np.transpose(ROWS).tolist()}, "so transpose it"),
    ({"K": [[600, 2.5, 320], [0, 600, 240], [0, 0, 1]]}, r"skew of 2\.5; want 0"),
    ({"K": BY_ROW[:8]}, r"K has shape \(8,\); want 3 x 3"),
    ({"K": [[1, 2], [3]]}, "want numbers"),
    (FOCUS | {"K": ROWS}, "intrinsics in fx and K of its entries"),
    ({"camera_to_world": {}}, r"in none of its entries \(camera_to_world\); want one"),
    ([FOCUS], "a list; want an object"),
    (FOCUS | {"fx": -1.0}, r"fx, fy are -1\.0, 601\.0; want them above 0"),
    (FOCUS | {"cx": "320"}, "cx is '320'; want a number"),
    (FOCUS | {"cy": math.nan}, "cy is nan; want finite numbers"),
    ({"fx": 1.0, "fy": 1.0, "cx": 1.0}, "cy is None; want a number"),
    (FOCUS | {"width": 640}, "height is None"),
    (FOCUS | {"width": 640, "height": 0}, "want whole numbers above 0"),
    (FOCUS | {"depth_scale": 0}, "depth_scale is 0"),
    (FOCUS | {"depth_scale": True}, "depth_scale is True; want a number"),
    (FOCUS | {"depth_range": [2, 1]}, r"depth_range is \[2, 1\]; want \[near, far\]"),
    (FOCUS | {"depth_range": 2}, "depth_range is 2; want"),
    (FOCUS | {"D": [0.1, 0, 0, 0, 0]}, "a lens distortion; want 0: undistort"),
    (FOCUS | {"k1": 0.1}, "k1 is 0.1, a lens distortion"),
    (FOCUS | {"distortion": {"k1": 0, "p1": -0.2}}, "a lens distortion"),
  ],
)
def test_a_camera_that_is_wrong_is_one_sentence(tmp_path, content, words):
  path = write_json(tmp_path / "camera.json", content)
  with pytest.raises(ValueError, match=words) as raised:
    read_camera(path)
  assert str(raised.value).startswith(f"{path}: ") and "\n" not in str(raised.value)


def test_files_that_are_no_json_are_one_sentence(tmp_path):
  path = tmp_path / "camera.json"
  for read in (read_camera, read_poses):
    with pytest.raises(ValueError, match=r"none\.json: no such file"):
      read(tmp_path / "none.json")
    for content in (b"{", b"\xff\xfe\xfa", b"[" * 100_000):
      path.write_bytes(content)
      with pytest.raises(
        ValueError, match=r"cannot be read \((is no JSON|has bytes|is broken)"
      ):
        read(path)


def test_poses_of_every_form_lead_from_the_camera_to_the_world(tmp_path):
  inverse = np.linalg.inv(TURN).tolist()
  for content in (
    {"camera_to_world": {"a.png": TURN}},
    {"world_to_camera": {"a.png": inverse}},
    [{"file": "a.png", "camera_to_world": TURN}],
    [{"file": "a.png", "world_to_camera": inverse, "time": 3}],
  ):
    poses = read_poses(write_json(tmp_path / "poses.json", content))
    assert list(poses) == ["a.png"]
    # A quarter turn about z takes x to y.
    np.testing.assert_allclose(poses["a.png"] @ [1, 0, 0, 1], [5, 7, 7, 1], atol=1e-12)


@pytest.mark.parametrize(
  ("rows", "words"),
  [
    (np.transpose(TURN).tolist(), "want 0 0 0 1, and the offset in the last column"),
    (np.diag([1, 1, -1, 1]).tolist(), "is mirrored: its determinant is -1, want 1"),
    (np.diag([2, 2, 2, 1]).tolist(), r"is scaled: its axes have lengths \[2.0, 2.0"),
    (np.diag([1, 1, 0, 1]).tolist(), "is scaled"),
    ([[1, 0.6, 0, 0], [0, 0.8, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], "not orthogonal"),
    (TURN[:3], r"has shape \(3, 4\); want 4 x 4"),
    ([1, "a"], "want numbers"),
    (None, "want finite numbers"),
  ],
)
def test_a_matrix_that_is_no_pose_is_one_sentence(tmp_path, rows, words):
  content = {"camera_to_world": {"b.png": TURN, "a.png": rows}}
  with pytest.raises(ValueError, match=words) as raised:
    read_poses(write_json(tmp_path / "poses.json", content))
  message = str(raised.value)
  assert "poses.json: " in message and "a.png" in message and "\n" not in message


@pytest.mark.parametrize(
  "content",
  [
    {"a.png": TURN},
    {"camera_to_world": {}, "world_to_camera": {}},
    {"camera_to_world": [TURN]},
    [TURN],
    [{"camera_to_world": TURN}],
    [{"file": "a.png", "camera_to_world": TURN, "world_to_camera": TURN}],
    3,
  ],
)
def test_another_form_of_poses_is_refused(tmp_path, content):
  with pytest.raises(ValueError, match="is no file of poses; want"):
    read_poses(write_json(tmp_path / "poses.json", content))


def test_two_poses_of_an_image_or_none_at_all_are_refused(tmp_path):
  twice = [{"file": "a.png", "camera_to_world": TURN}] * 2
  with pytest.raises(ValueError, match=r"two poses of a\.png; want one"):
    read_poses(write_json(tmp_path / "poses.json", twice))
  for none in ([], {"world_to_camera": {}}):
    with pytest.raises(ValueError, match="no poses; want one for every image"):
      read_poses(write_json(tmp_path / "poses.json", none))
