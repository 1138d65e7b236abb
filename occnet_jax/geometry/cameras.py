"""Pinhole cameras around the unit cube, and projection (host, numpy).

Frames:
  world    the shape's: y up, the shape faces -z, its bounding box is centred at 0
  camera   x right, y down, z forward; the camera looks along +z from its origin
  picture  pixels, x right and y down from the upper left corner; the pixel of row i
           and column j covers [j, j + 1] x [i, i + 1], so its centre is at + 1/2

      world            camera            picture
        y                 z (view)       0---- x (columns)
        |                /               |
        0--- x          0--- x           |
       /                |                y (rows)
      z                 y

Azimuth 0 views the shape from the front, from -z, and azimuth 90 from +x; elevation is
measured upward from the ground. The lens is that of Choy et al. 2016 (3D-R2N2), as in
the matrices of the reference's cameras.npz: a focal length of 35 mm and a sensor of
32 mm.

Shape letters: n points, h side of the picture.
"""

import numpy as np
from jaxtyping import Float

FOCAL = 35 / 32  # focal length in widths of the picture


def camera_matrix(side: int) -> Float[np.ndarray, "3 3"]:
  """Intrinsic matrix: from the camera frame to the pixels of a square picture.

  Args:
    side: h; 137 gives a focal length of 149.84 pixels and the centre 68.5.
  """
  focal, centre = FOCAL * side, side / 2
  return np.array([[focal, 0, centre], [0, focal, centre], [0, 0, 1]], np.float64)


def world_matrix(
  azimuth: float, elevation: float, distance: float
) -> Float[np.ndarray, "3 4"]:
  """Extrinsic matrix [R | t] of a camera that looks at the origin, upright.

  A point p of the world is at R p + t in the camera frame.

  Args:
    azimuth: direction in degrees; 0 is in front of the shape, at -z, and 90 at +x.
    elevation: degrees above the ground, from -90 to 90.
    distance: distance of the camera from the origin, in the unit of the world.
  """
  sin_a, cos_a = np.sin(np.radians(azimuth)), np.cos(np.radians(azimuth))
  sin_e, cos_e = np.sin(np.radians(elevation)), np.cos(np.radians(elevation))
  right = np.array([-cos_a, 0, -sin_a])
  forward = -np.array([sin_a * cos_e, sin_e, -cos_a * cos_e])
  down = np.cross(forward, right)
  return np.column_stack([np.stack([right, down, forward]), [0, 0, distance]])


def project(
  points: Float[np.ndarray, "n 3"],
  world_mat: Float[np.ndarray, "3 4"],
  camera_mat: Float[np.ndarray, "3 3"],
) -> tuple[Float[np.ndarray, "n 2"], Float[np.ndarray, "n"]]:
  """Pixels and depths of points.

  Args:
    points: positions in the world frame.
    world_mat: extrinsic matrix by `world_matrix`.
    camera_mat: intrinsic matrix by `camera_matrix`.

  Returns:
    pixels (n, 2), column first, and depth (n,) along the view, in the unit of the
    world. Pixels are meaningless where the depth is not above 0.
  """
  homogeneous = (points @ world_mat[:, :3].T + world_mat[:, 3]) @ camera_mat.T
  return homogeneous[:, :2] / homogeneous[:, 2:], homogeneous[:, 2]


def pixel_rays(
  pixels: Float[np.ndarray, "n 2"],
  world_mat: Float[np.ndarray, "3 4"],
  camera_mat: Float[np.ndarray, "3 3"],
) -> tuple[Float[np.ndarray, "3"], Float[np.ndarray, "n 3"]]:
  """Rays through pixels: the inverse of `project`.

  Args:
    pixels: positions in the picture, column first.
    world_mat: extrinsic matrix by `world_matrix`.
    camera_mat: intrinsic matrix by `camera_matrix`.

  Returns:
    origin (3,), the camera's position in the world, and directions (n, 3):
    origin + depth * direction is the point of that depth which projects to the pixel.
  """
  rotation, offset = world_mat[:, :3], world_mat[:, 3]
  homogeneous = np.column_stack([pixels, np.ones(len(pixels))])
  directions = homogeneous @ np.linalg.inv(camera_mat).T @ rotation
  return -rotation.T @ offset, directions


def cube_world_matrix(
  world_mat: Float[np.ndarray, "*v 3 4"], loc: Float[np.ndarray, "3"], scale: float
) -> Float[np.ndarray, "*v 3 4"]:
  """Extrinsic matrices for a shape that was moved to the unit cube.

  Args:
    world_mat: matrices of the file's frame, in which p of the cube is scale * p + loc.
    loc, scale: the cube's centre and length there.

  Returns:
    matrices [R | (R loc + t) / scale], whose camera frame is in units of the cube, so
    that R stays a rotation and pixels stay as they are.
  """
  moved = np.array(world_mat, np.float64)
  moved[..., 3] = (moved[..., :3] @ loc + moved[..., 3]) / scale
  return moved


def square_camera_matrix(
  camera_mat: Float[np.ndarray, "3 3"], box: tuple[int, int, int, int]
) -> Float[np.ndarray, "3 3"]:
  """Intrinsic matrix to a square part of a picture, whose sides become -1 and 1.

  Args:
    camera_mat: intrinsic matrix to the pixels of the picture.
    box: left, top, right and lower border of the part, in pixels.
  """
  left, top, right, _ = box
  to_unit = 2 / (right - left)
  crop = [
    [to_unit, 0, -1 - to_unit * left],
    [0, to_unit, -1 - to_unit * top],
    [0, 0, 1],
  ]
  return np.array(crop) @ camera_mat


def closest_distance(
  points: Float[np.ndarray, "n 3"],
  azimuth: float,
  elevation: float,
  *,
  margin: float = 0.0,
) -> float:
  """The least distance at which a camera has every point within its picture.

  Args:
    points: positions in the world frame.
    azimuth, elevation: direction of the camera, as in `world_matrix`.
    margin: blank share of the picture's side along every border.
  """
  x, y, z = world_matrix(azimuth, elevation, 0.0)[:, :3] @ points.T
  # In view: FOCAL * |x| <= (1/2 - margin) * (distance + z), and the same for y.
  return float((np.maximum(np.abs(x), np.abs(y)) * FOCAL / (0.5 - margin) - z).max())
