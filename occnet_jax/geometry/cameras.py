"""Pinhole cameras around the unit cube, and where they see a point (host, numpy).

Frames:
  world    of the shape: y up, the shape faces -z, its bounding box is centred at 0
  camera   x right, y down, z forward; the camera looks along +z from its origin
  picture  pixels, x right and y down from the upper left corner; the pixel of row i
           and column j covers [j, j + 1] x [i, i + 1], so its centre is at + 1/2

Azimuth 0 looks the shape in the face, from -z, and 90 stands at +x; elevation is
measured from the ground up. The lens is that of Choy et al. 2016 (3D-R2N2), as the
matrices of the reference's cameras.npz: a focal length of 35 mm before a sensor of
32 mm.

Shape letters: n points, h side of the picture.
"""

import numpy as np
from jaxtyping import Float

FOCAL = 35 / 32  # focal length in widths of the picture


def camera_matrix(side: int) -> Float[np.ndarray, "3 3"]:
  """From the camera frame to the pixels of a square picture.

  Args:
    side: h; 137 gives f = 149.84 and the centre 68.5.
  """
  focal, centre = FOCAL * side, side / 2
  return np.array([[focal, 0, centre], [0, focal, centre], [0, 0, 1]], np.float64)


def world_matrix(
  azimuth: float, elevation: float, distance: float
) -> Float[np.ndarray, "3 4"]:
  """[R | t] of a camera that looks at the origin, its picture upright.

  A point p of the world is at R p + t in the camera frame.

  Args:
    azimuth: degrees; 0 before the shape, at -z, and 90 at +x.
    elevation: degrees above the ground, from -90 to 90.
    distance: of the camera from the origin, in the unit of the world.
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
  """Where points appear in the picture, and how far in front of the camera they are.

  Args:
    points: in the world frame.
    world_mat: of `world_matrix`.
    camera_mat: of `camera_matrix`.

  Returns:
    pixels (n, 2), column first, and depth (n,) along the view, in the unit of the
    world. Pixels mean nothing where the depth is not above 0.
  """
  seen = (points @ world_mat[:, :3].T + world_mat[:, 3]) @ camera_mat.T
  return seen[:, :2] / seen[:, 2:], seen[:, 2]


def pixel_rays(
  pixels: Float[np.ndarray, "n 2"],
  world_mat: Float[np.ndarray, "3 4"],
  camera_mat: Float[np.ndarray, "3 3"],
) -> tuple[Float[np.ndarray, "3"], Float[np.ndarray, "n 3"]]:
  """What pixels look at: the inverse of `project`.

  Returns:
    The camera's place in the world and directions (n, 3); place + depth * direction
    is the point of that depth that is seen there.
  """
  rotation, offset = world_mat[:, :3], world_mat[:, 3]
  flat = np.column_stack([pixels, np.ones(len(pixels))])
  directions = flat @ np.linalg.inv(camera_mat).T @ rotation
  return -rotation.T @ offset, directions


def closest_distance(
  points: Float[np.ndarray, "n 3"],
  azimuth: float,
  elevation: float,
  *,
  margin: float = 0.0,
) -> float:
  """The least distance at which a camera has every point within its picture.

  Args:
    points: in the world frame.
    azimuth, elevation: of `world_matrix`.
    margin: left free along every border, as a share of the picture's side.
  """
  x, y, z = world_matrix(azimuth, elevation, 0.0)[:, :3] @ points.T
  # In view: FOCAL * |x| <= (1/2 - margin) * (distance + z), and the same for y.
  return float((np.maximum(np.abs(x), np.abs(y)) * FOCAL / (0.5 - margin) - z).max())
