"""A user's cloud: the checks that it passes, and its frame (host, numpy).

Shape letters: b clouds, n points, m after padding, k columns.
"""

import os
from typing import Any

import numpy as np
from jaxtyping import Float

from occnet_jax.config import ScanSettings
from occnet_jax.geometry import frames, pointcloud_io, scan_checks
from occnet_jax.geometry.colours import Cloud

SMALLEST_PADDED = 64  # points of a cloud that `pad_clouds` pads
READER = "occnet_jax.read_cloud(path)"
FRAME_POINTS = 1_000_000  # of a larger cloud, by which its frame is measured
# A cloud is refused whose box is so many times as long as the box of the points that
# are not alone: the object would be a speck in the cube.
FAR_AWAY = 4.0


def as_cloud(observed: Any) -> Float[np.ndarray, "n 3"]:
  """A user's cloud in float64.

  Raises:
    ValueError: another object than real numbers (n, 3) or a `Cloud`, or a cloud with
      NaN, too few points or no extent, or many in one place.
  """
  check_array(observed, READER)
  observed = observed.points if isinstance(observed, Cloud) else observed
  try:
    cloud = np.asarray(observed)
    if cloud.dtype.kind in "cmMSU":  # NumPy would make numbers of them, with a warning
      raise TypeError(cloud.dtype)
    cloud = cloud.astype(np.float64)
  except (TypeError, ValueError) as error:
    dtype = getattr(observed, "dtype", None)
    what = f"an array of {dtype}" if dtype else f"a {type(observed).__name__}"
    raise ValueError(f"{what} in place of a cloud; want numbers (n, 3)") from error
  if cloud.ndim != 2 or cloud.shape[1] != 3:
    raise ValueError(f"a cloud of shape {cloud.shape}; want (n, 3)")
  pointcloud_io.check_cloud(cloud)
  return cloud


def pad_clouds(
  clouds: Float[np.ndarray, "b n k"], usual: int
) -> Float[np.ndarray, "b m k"]:
  """Clouds with rows of NaN, so that few sizes are compiled.

  The sizes are 64, 256, 1024, ..., `usual`, and from there twice as many each time.
  Clouds of less than 64 points stay.

  Args:
    clouds: clouds of one number of points, with or without normals.
    usual: points of a cloud that the network was trained with.
  """
  count = clouds.shape[1]
  if count < SMALLEST_PADDED:
    return clouds
  padded = SMALLEST_PADDED if count <= usual else usual
  while padded < count:
    padded = min(4 * padded, usual) if count <= usual else 2 * padded
  return np.pad(clouds, ((0, 0), (0, padded - count), (0, 0)), constant_values=np.nan)


def check_array(observed: Any, reader: str) -> None:
  """Raises ValueError for the path of a file; the message names what reads it."""
  if isinstance(observed, str | os.PathLike):
    raise ValueError(
      f"{os.fspath(observed)!r} is a path, want an array; read the file: {reader}"
    )


def frame(
  cloud: Float[np.ndarray, "n 3"],
  scan: ScanSettings | None,
  rng: np.random.Generator,
) -> tuple[Float[np.ndarray, "3"], float]:
  """Centre of the cube's frame, and the length of a cube unit there.

  Args:
    cloud: the cloud, in any unit.
    scan: what the network's clouds had in training, where they were scans; their box
      leaves out points that are alone.
    rng: generator of the draw of points by which a large cloud is measured.

  Raises:
    ValueError: some points are far away from the others, or, for a scan, what
      `scan_checks.check_scan` refuses.
  """
  if scan:
    return _scan_frame(cloud, scan, rng)
  loc, scale = frames.cloud_frame(cloud)
  _check_far_away(cloud, scale)
  return loc, scale


def _check_far_away(cloud: Float[np.ndarray, "n 3"], scale: float) -> None:
  """Raises ValueError for points so far from the others that these nearly vanish."""
  loc, inner = frames.robust_frame(_few(cloud, np.random.default_rng(0)))
  if scale <= FAR_AWAY * inner:
    return
  offset = np.abs(cloud - loc).max(1)
  far = np.count_nonzero(offset > inner)
  place = cloud[offset.argmax()].round(3).tolist()
  raise ValueError(
    f"the cloud: {far} of {len(cloud)} points lie far away from the others, such as "
    f"{place}, so that these fill 1/{scale / inner:.0f} of the cube's side; remove them"
  )


def _few(
  cloud: Float[np.ndarray, "n 3"], rng: np.random.Generator
) -> Float[np.ndarray, "m 3"]:
  """At most FRAME_POINTS points, drawn at random: a box needs no more of them."""
  if len(cloud) <= FRAME_POINTS:
    return cloud
  return cloud[rng.choice(len(cloud), FRAME_POINTS, replace=False)]


def _scan_frame(
  cloud: Float[np.ndarray, "n 3"], scan: ScanSettings, rng: np.random.Generator
) -> tuple[Float[np.ndarray, "3"], float]:
  """The frame of a scan, by the box of the points that are not alone."""
  cloud = _few(cloud, rng)
  loc, scale = frames.robust_frame(cloud)
  inside = (np.abs(frames.to_frame(cloud, loc, scale)) <= 0.5).all(1)
  few, many = scan.points
  trained = f"clouds of {few} to {many} points"
  scan_checks.check_scan(cloud[inside], few // 3, trained)
  return loc, scale / scan.extent
