"""Stored images of a shape, decoded one at a time (host).

The views of a stored example are a nested dict: images, a sequence of v image files as
bytes, and the cameras world_mat (v, 3, 4) and camera_mat (v, 3, 3) as of
`geometry.cameras`.
"""

import io
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from occnet_jax.geometry import cameras

FIELDS = {"images": True, "world_mat": True, "camera_mat": True}


def count_views(views: dict[str, Any]) -> int:
  """v, the number of images."""
  return len(views["images"])


def choose_views(
  views: dict[str, Any], count: int, rng: np.random.Generator, train: bool
) -> list[int]:
  """So many views of a shape: random ones in training, else the first.

  Raises:
    ValueError: it has fewer.
  """
  total = count_views(views)
  if total < count:
    raise ValueError(
      f"{total} views of a shape, want {count}; lower config.data.image_views or "
      "prepare more"
    )
  chosen = rng.choice(total, count, replace=False) if train else range(count)
  return [int(i) for i in chosen]


def decode_view(views: dict[str, Any], index: int) -> UInt8[np.ndarray, "h w 3"]:
  """Decodes one image to RGB.

  Grey is copied to all three channels; transparent pixels get a white background.

  Args:
    views: the stored views, of which the others are not decoded.
    index: index of the image, from 0.

  Raises:
    ValueError: there is no such image, it cannot be decoded, or its channels are not
      8-bit grey or RGB, with or without alpha.
  """
  count = count_views(views)
  if not 0 <= index < count:
    raise ValueError(
      f"view {index} of {count}; choose one from 0 to {count - 1}, or prepare more"
    )
  try:
    image = Image.open(io.BytesIO(views["images"][index]))
    image.load()
  except Exception as error:  # a parser may raise anything on broken bytes
    raise ValueError(
      f"view {index} cannot be decoded ({type(error).__name__}: {error}); prepare the "
      "data again"
    ) from error
  if image.mode == "P":  # a palette, of GIF or PNG
    image = image.convert("RGBA")
  if image.mode not in ("L", "LA", "RGB", "RGBA"):
    raise ValueError(
      f"view {index} has the channels {image.mode!r}, want 8-bit grey or RGB, with or "
      "without alpha; store it as PNG or JPEG in RGB"
    )
  if image.has_transparency_data:
    image = image.convert("RGBA")
    white = Image.new("RGBA", image.size, "white")
    image = Image.alpha_composite(white, image)
  return np.array(image.convert("RGB"))


def fit_image(
  image: UInt8[np.ndarray, "h w 3"],
  side: int,
  rng: np.random.Generator | None = None,
  smallest: float = 1.0,
) -> Float[np.ndarray, "side side 3"]:
  """A square image of values in [0, 1], as the network takes it.

  Args:
    image: RGB values from 0 to 255.
    side: side length of the result in pixels. The shorter side is scaled to it and the
      centre kept, as in the reference.
    rng: generator of the random crop; None for the centre.
    smallest: smallest share of the image's area that a random square crop has, where
      the image's shorter side admits it; 1 for no crop (the reference's augmented
      model has 0.75).
  """
  height, width = image.shape[:2]
  return scale_box(image, choose_box(width, height, rng, smallest), side)


def choose_box(
  width: int, height: int, rng: np.random.Generator | None, smallest: float
) -> tuple[int, int, int, int]:
  """Left, top, right and lower border of the square that `fit_image` keeps.

  Args:
    width, height: of the image, in pixels.
    rng, smallest: as in `fit_image`.
  """
  if rng is not None and smallest < 1:
    area = width * height * rng.uniform(smallest, 1)
    edge = min(width, height, round(area**0.5))
    left, top = (int(rng.integers(size - edge + 1)) for size in (width, height))
  else:
    edge = min(width, height)
    left, top = (width - edge) // 2, (height - edge) // 2
  return left, top, left + edge, top + edge


def scale_box(
  image: UInt8[np.ndarray, "h w 3"], box: tuple[int, int, int, int], side: int
) -> Float[np.ndarray, "side side 3"]:
  """A part of an image, scaled to that side; values in [0, 1]."""
  picture = Image.fromarray(image)
  picture = picture.resize((side, side), Image.Resampling.BILINEAR, box=box)
  return np.asarray(picture, np.float32) / 255


def fit_view(
  image: UInt8[np.ndarray, "h w 3"],
  world_mat: Float[np.ndarray, "3 4"],
  camera_mat: Float[np.ndarray, "3 3"],
  side: int,
  rng: np.random.Generator | None = None,
  smallest: float = 1.0,
) -> dict[str, np.ndarray]:
  """An image as `fit_image` gives it and its camera, as networks take both.

  Args:
    image: RGB values from 0 to 255.
    world_mat: extrinsic matrix of `geometry.cameras`; its R may hold a scale.
    camera_mat: intrinsic matrix to the pixels of `image`.
    side, rng, smallest: as in `fit_image`.

  Returns:
    {"image": (side, side, 3), "world_mat": (3, 4), "camera_mat": (3, 3)}, the last from
    the camera's frame to the square, whose sides are -1 and 1.

  Raises:
    ValueError: matrices that are not finite or that no camera has.
  """
  for name, matrix in (("world_mat", world_mat[:, :3]), ("camera_mat", camera_mat)):
    determinant = float(np.linalg.det(np.asarray(matrix, np.float64)))
    if not np.isfinite(determinant) or determinant == 0:
      raise ValueError(
        f"the camera of an image has a {name} of determinant {determinant}, want that "
        "of a camera; prepare the data with cameras, or name a config of images alone"
      )
  height, width = image.shape[:2]
  box = choose_box(width, height, rng, smallest)
  fitted = cameras.square_camera_matrix(np.asarray(camera_mat, np.float64), box)
  return {
    "image": scale_box(image, box, side),
    "world_mat": np.asarray(world_mat, np.float32),
    "camera_mat": fitted.astype(np.float32),
  }
