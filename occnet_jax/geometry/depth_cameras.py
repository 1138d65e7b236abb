"""Camera and pose files of depth images: JSON of the common forms (host).

Frames:
  camera   OpenCV's: x right, y down, z forward; the camera looks along +z
  picture  pixels, x right and y down; the centre of the pixel of row 0 and column 0 is
           at (0, 0), so the pixel of column u and depth z is at x = (u - cx) z / fx
  world    any right-handed frame that the poses share

`geometry.cameras`, for rendered pictures, has centres of pixels at + 1/2 instead.
"""

import json
import os
import pathlib
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from occnet_jax import unreadable

Pose = Float[np.ndarray, "4 4"]
_FOCUS = ("fx", "fy", "cx", "cy")
_MATRICES = ("K", "k", "camera_matrix", "intrinsic_matrix")  # ROS 1 and 2, any, Open3D
_COLUMN_MAJOR = "intrinsic_matrix"  # as Open3D writes it, which has the columns in turn
_DISTORTIONS = (
  *("D", "d", "coeffs", "dist_coeffs", "distortion", "distortion_coefficients"),
  *("k1", "k2", "k3", "k4", "k5", "k6", "p1", "p2"),
)
_POSES = ("camera_to_world", "world_to_camera")
_TOLERANCE = 1e-3  # of rotations, which files give with few digits


class Camera(NamedTuple):
  """Intrinsics of a pinhole camera, and what its depths mean.

  Attributes:
    fx, fy: focal lengths in pixels.
    cx, cy: principal point in pixels, column and row.
    size: (width, height) of its images in pixels; None for any.
    scale: stored numbers in a unit of length: 1000 for millimetres and a cloud in
      metres. None if the file has none.
    near, far: depths that count, in the unit of the cloud.
  """

  fx: float
  fy: float
  cx: float
  cy: float
  size: tuple[int, int] | None = None
  scale: float | None = None
  near: float = 0.0
  far: float = np.inf


def read_camera(path: str | os.PathLike) -> Camera:
  """The camera of a JSON file.

  Its intrinsics are fx, fy, cx and cy; or `K` or `camera_matrix`, 3 x 3 or 9 numbers
  row by row, as in ROS's camera_info; or Open3D's `intrinsic_matrix`, 9 numbers column
  by column. `width` and `height`, `depth_scale` and `depth_range` ([near, far]) may be
  left out. Other entries are ignored.

  Raises:
    ValueError: the file is missing or broken, has none or several of these forms, a
      matrix that is transposed or has a skew, or lens distortion.
  """
  path = pathlib.Path(path)
  data = _read_json(path)
  if not isinstance(data, dict):
    raise ValueError(
      f"{path}: a {type(data).__name__}; want an object with fx fy cx cy"
    )
  _check_distortion(path, data)
  focus = _read_focus(path, data)
  if not min(focus[:2]) > 0:
    raise ValueError(f"{path}: fx, fy are {focus[0]}, {focus[1]}; want them above 0")
  size, scale, limits = None, None, [0.0, np.inf]
  if "width" in data or "height" in data:
    width, height = (_number(path, data, name) for name in ("width", "height"))
    if width != int(width) or height != int(height) or min(width, height) < 1:
      raise ValueError(f"{path}: {width} x {height} pixels; want whole numbers above 0")
    size = int(width), int(height)
  if "depth_scale" in data:
    scale = _number(path, data, "depth_scale")
    if not scale > 0:
      raise ValueError(
        f"{path}: depth_scale is {scale}; want the stored numbers in a unit of length, "
        "such as 1000 for millimetres and metres"
      )
  if "depth_range" in data:
    limits = _array(path, data["depth_range"], "depth_range")
    if limits.shape != (2,) or not 0 <= limits[0] < limits[1]:
      raise ValueError(
        f"{path}: depth_range is {data['depth_range']}; want [near, far] with "
        "0 <= near < far, in the unit of the cloud"
      )
  return Camera(*focus, size, scale, *map(float, limits))


def read_poses(path: str | os.PathLike) -> dict[str, Pose]:
  """Matrices from the camera to the world, by the names of the images.

  The JSON file is {"camera_to_world": {name: 4 x 4 row by row}}, or a list of
  {"file": name, "camera_to_world": 4 x 4}. With `world_to_camera` in place of
  `camera_to_world` the matrices are inverted. Lengths are in the unit of the cloud.

  Raises:
    ValueError: the file is missing, broken or of another form, names an image twice, or
      has a matrix that is not a rotation and a translation.
  """
  path = pathlib.Path(path)
  poses = {}
  for name, direction, rows in _pose_entries(path, _read_json(path)):
    if name in poses:
      raise ValueError(f"{path}: two poses of {name}; want one")
    matrix = _array(path, rows, f"the pose of {name}")
    check_pose(matrix, f"{path}: the pose of {name}")
    is_inverse = direction == "world_to_camera"
    poses[name] = np.linalg.inv(matrix) if is_inverse else matrix
  if not poses:
    raise ValueError(f"{path}: no poses; want one for every image")
  return poses


def check_pose(matrix: np.ndarray, name: str = "the pose") -> None:
  """Raises ValueError for a matrix that is no rotation and translation, 4 x 4.

  Args:
    matrix: the pose, row by row.
    name: subject of the messages.
  """
  if matrix.shape != (4, 4):
    raise ValueError(f"{name} has shape {matrix.shape}; want 4 x 4, row by row")
  if not np.allclose(matrix[3], [0, 0, 0, 1], rtol=0):
    raise ValueError(
      f"{name} has the last row {matrix[3].tolist()}; want 0 0 0 1, and the offset "
      "in the last column: transpose it if it is column by column"
    )
  rotation = matrix[:3, :3]
  lengths = np.linalg.norm(rotation, axis=0)
  if np.abs(lengths - 1).max() > _TOLERANCE:
    raise ValueError(
      f"{name} is scaled: its axes have lengths {np.round(lengths, 4).tolist()}; want "
      "1, so divide them by it and put the unit into depth_scale"
    )
  if np.abs(rotation.T @ rotation - np.eye(3)).max() > _TOLERANCE:
    raise ValueError(f"{name} has axes that are not orthogonal; want a rotation")
  if np.linalg.det(rotation) < 0:
    raise ValueError(
      f"{name} is mirrored: its determinant is -1, want 1; flip one of the axes, so "
      "that the camera has x right, y down, z forward"
    )


def _pose_entries(path: pathlib.Path, data: Any) -> Iterable[tuple[str, str, Any]]:
  """Name of the image, direction and matrix of every pose in a file."""
  if isinstance(data, dict):
    directions = [name for name in _POSES if name in data]
    if len(directions) == 1 and isinstance(data[directions[0]], dict):
      return [(name, *directions, rows) for name, rows in data[directions[0]].items()]
  elif isinstance(data, list):
    entries = [_listed_pose(entry) for entry in data]
    if all(entries):
      return entries
  raise ValueError(
    f'{path}: is no file of poses; want {{"camera_to_world": {{name of the image: '
    '4 x 4}}, "world_to_camera" likewise, or a list of {"file", "camera_to_world"}'
  )


def _listed_pose(entry: Any) -> tuple[str, str, Any] | None:
  if not isinstance(entry, dict) or not isinstance(entry.get("file"), str):
    return None
  directions = [name for name in _POSES if name in entry]
  if len(directions) != 1:
    return None
  return entry["file"], directions[0], entry[directions[0]]


def _read_focus(path: pathlib.Path, data: dict[str, Any]) -> list[float]:
  """fx, fy, cx, cy."""
  forms = [name for name in (_FOCUS[0], *_MATRICES) if name in data]
  if len(forms) != 1:
    raise ValueError(
      f"{path}: intrinsics in {' and '.join(forms) or 'none'} of its entries "
      f"({', '.join(data) or 'none'}); want one of fx fy cx cy, K, camera_matrix, or "
      "Open3D's intrinsic_matrix"
    )
  (name,) = forms
  if name == _FOCUS[0]:
    return [_number(path, data, key) for key in _FOCUS]
  matrix = _array(path, data[name], name)
  if matrix.shape == (9,):
    matrix = matrix.reshape(3, 3)
    matrix = matrix.T if name == _COLUMN_MAJOR else matrix
  if matrix.shape != (3, 3):
    raise ValueError(f"{path}: {name} has shape {matrix.shape}; want 3 x 3")
  if matrix[2].tolist() != [0, 0, 1] or matrix[1, 0]:
    raise ValueError(
      f"{path}: {name} has the rows {matrix.tolist()}; want the last one 0 0 1, so "
      f"transpose it: 9 numbers are row by row, but in {_COLUMN_MAJOR} column by column"
    )
  if matrix[0, 1]:
    raise ValueError(f"{path}: {name} has a skew of {matrix[0, 1]}; want 0: rectify")
  return [float(matrix[index]) for index in ((0, 0), (1, 1), (0, 2), (1, 2))]


def _check_distortion(path: pathlib.Path, data: dict[str, Any]) -> None:
  for name in _DISTORTIONS:
    value = data.get(name)
    if value is None:
      continue
    value = list(value.values()) if isinstance(value, dict) else value
    if _array(path, value, name).any():
      raise ValueError(
        f"{path}: {name} is {value}, a lens distortion; want 0: undistort the images "
        "first, and give the camera matrix of the result"
      )


def _number(path: pathlib.Path, data: dict[str, Any], name: str) -> float:
  value = data.get(name)
  if isinstance(value, bool) or not isinstance(value, int | float):
    raise ValueError(f"{path}: {name} is {value!r}; want a number")
  return float(_array(path, value, name))


def _array(path: pathlib.Path, value: Any, name: str) -> Float[np.ndarray, "..."]:
  """Finite numbers as an array."""
  try:
    array = np.asarray(value, np.float64)
  except (TypeError, ValueError, OverflowError) as error:
    raise ValueError(f"{path}: {name} is {value!r}; want numbers") from error
  if not np.isfinite(array).all():
    raise ValueError(f"{path}: {name} is {value!r}; want finite numbers")
  return array


def _read_json(path: pathlib.Path) -> Any:
  if not path.is_file():
    raise ValueError(f"{path}: no such file")
  try:
    return json.loads(path.read_text(encoding="utf-8-sig"))
  except (ValueError, RecursionError) as error:  # also of text that is no UTF-8
    raise ValueError(
      f"{path}: cannot be read ({unreadable.reason(path, error)})"
    ) from error
