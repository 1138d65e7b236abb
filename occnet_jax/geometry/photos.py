"""Photographs and masks, made like the rendered pictures of the training (host).

Networks were trained on rendered pictures of one object on a white background.

Shape letters: h, w sides of a photograph, s of a square one, c channels, k pictures.
"""

import math
import os
import pathlib
import re
import warnings
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image, ImageOps

from occnet_jax import unreadable

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".webp")
# In pictures of `geometry.rendering` the longer side of an object's bounding box takes
# 0.61 of the picture's on average: 24 views each of 8 shapes of the 13 synthetic
# categories; 9 of 10 pictures lie between 0.42 and 0.81.
MARGIN = 0.195
# Pixels of the white square around a picture: what Pillow admits for the picture.
MAX_PIXELS = 2 * 89_478_485
_BLOCK = 2**20  # pixels that are blended at a time: a float takes four times a byte


class TooLarge(ValueError):
  """A picture that would take gigabytes."""


def read_photo(path: str | os.PathLike) -> UInt8[np.ndarray, "h w c"]:
  """A photograph as viewers show it: c is 3, or 4 if it has transparency.

  Its EXIF orientation is applied; grey, palette, CMYK and 16-bit pictures become RGB of
  8 bits. An animation gives its first picture.

  Raises:
    ValueError: there is no such file, or it cannot be decoded.
  """
  image = _load(path)
  if image.mode.startswith("I"):  # grey of 16 bits
    values = np.asarray(image).astype(np.float32) / 257  # 65535 is white
    image = Image.fromarray(np.rint(values).clip(0, 255).astype(np.uint8))
  return np.array(image.convert("RGBA" if image.has_transparency_data else "RGB"))


def read_mask(path: str | os.PathLike) -> Bool[np.ndarray, "h w"]:
  """The pixels of the object in a mask: those whose value is not 0.

  Any label of a label map counts, also one that stands for "unknown"; the index of a
  palette counts, and any channel of RGB. A mask that is transparent somewhere is read
  by its transparency.

  Raises:
    ValueError: there is no such file, or it cannot be decoded.
  """
  image = _load(path)
  if "A" in image.getbands():
    alpha = np.asarray(image.getchannel("A"))
    if alpha.min() < 255:
      return alpha > 0
    image = image.convert("RGB")
  values = np.asarray(image) != 0
  return values if values.ndim == 2 else values.any(2)


def find_masks(
  masks: str | os.PathLike, source: pathlib.Path, paths: Sequence[pathlib.Path]
) -> dict[pathlib.Path, pathlib.Path]:
  """The mask file of each photograph; whether it exists is not checked.

  Args:
    masks: a folder with a PNG of the same relative name for each photograph; or, if
      `source` is a photograph, its mask file.
    source: a photograph, or the folder of all photographs.
    paths: files of the photographs.

  Raises:
    ValueError: there is no such folder, or it is a file and `source` a folder.
  """
  masks = pathlib.Path(masks)
  if not masks.exists():
    raise ValueError(f"{masks}: no such folder or file of masks")
  if masks.is_dir():
    root = source if source.is_dir() else source.parent
    return {p: (masks / p.relative_to(root)).with_suffix(".png") for p in paths}
  if source.is_dir():
    raise ValueError(f"{masks}: is one file for the folder {source}; want a folder too")
  return dict.fromkeys(paths, masks)


def read_squares(
  paths: Sequence[pathlib.Path], masks: Sequence[pathlib.Path] = ()
) -> list[UInt8[np.ndarray, "_ _ 3"]]:
  """Photographs prepared by `prepare_photo`, all with masks or all without.

  Args:
    paths: files of the photographs.
    masks: their mask files, or none.

  Raises:
    ValueError: a file cannot be used; the message names it.
  """
  squares = []
  for path, mask_path in zip(paths, masks or [None] * len(paths), strict=True):
    if mask_path is not None and not mask_path.is_file():
      raise ValueError(
        f"{path}: has no mask {mask_path}, want one for every photograph"
      )
    image = read_photo(path)
    mask = None if mask_path is None else read_mask(mask_path)
    try:
      squares.append(prepare_photo(image, mask))
    except ValueError as error:
      raise ValueError(f"{mask_path or path}: {error}") from error
  return squares


def prepare_photo(
  image: UInt8[np.ndarray, "h w c"],
  mask: Bool[np.ndarray, "_ _"] | None = None,
  *,
  margin: float = MARGIN,
) -> UInt8[np.ndarray, "s s 3"]:
  """A photograph like the rendered pictures of the training, its aspect kept.

  With a mask, the background becomes white, and the bounding box of the object is
  centred in a white square. Without one, the whole photograph is.

  Args:
    image: RGB or RGBA picture.
    mask: (h, w) pixels of the object. None takes the transparency, if there is any; the
      bounding box then holds the pixels that are at least half as opaque as the most
      opaque one.
    margin: blank share of the square's side along both borders of the longer side, for
      photographs with a mask.

  Raises:
    ValueError: the image has other channels, the mask no object or another size, or the
      margin leaves no room.
  """
  if image.ndim != 3 or image.shape[2] not in (3, 4) or image.dtype != np.uint8:
    raise ValueError(
      f"a photograph of shape {image.shape} and type {image.dtype}, want (h, w, 3) or "
      "(h, w, 4) of uint8; convert it to RGB or RGBA first"
    )
  if not 0 <= margin < 0.5:
    raise ValueError(f"margin is {margin}, want at least 0 and less than 0.5")
  check_square(image.shape[1], image.shape[0], "a photograph")
  is_masked, colours = mask is not None, image[..., :3]
  if image.shape[2] == 4:
    alpha, colours = image[..., 3:], _on_white(image)
    if not is_masked and alpha.min() < 255:
      mask = alpha[..., 0] >= max(alpha.max() / 2, 1)
  if mask is None:
    return _centre(colours, max(colours.shape[:2]))
  _check_mask(mask, image)
  if is_masked:
    colours = np.where(mask[..., None], colours, np.uint8(255))
  rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
  colours = colours[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
  return _centre(colours, round(max(colours.shape[:2]) / (1 - 2 * margin)))


def check_square(width: int, height: int, name: str) -> None:
  """Raises TooLarge for a picture around which a white square would take gigabytes.

  Args:
    width, height: of the picture, in pixels.
    name: subject of the message.
  """
  if max(width, height) ** 2 > MAX_PIXELS:
    raise TooLarge(
      f"{name}: has {width:,} x {height:,} pixels, want at most "
      f"{int(MAX_PIXELS**0.5):,} along a side; cut it, or scale it down"
    )


def contact_sheet(pictures: UInt8[np.ndarray, "k s s 3"]) -> UInt8[np.ndarray, "h h 3"]:
  """Square pictures, row by row in the smallest white square that holds them."""
  count, side = pictures.shape[:2]
  columns = math.ceil(math.sqrt(count))
  cells = np.full((columns**2, side, side, 3), 255, np.uint8)
  cells[:count] = pictures
  rows = cells.reshape(columns, columns, side, side, 3).swapaxes(1, 2)
  return rows.reshape(columns * side, columns * side, 3)


def _on_white(image: UInt8[np.ndarray, "h w 4"]) -> UInt8[np.ndarray, "h w 3"]:
  """The colours of a picture with transparency on white, a few rows at a time."""
  colours = np.empty((*image.shape[:2], 3), np.uint8)
  step = max(1, _BLOCK // image.shape[1])
  for start in range(0, len(image), step):
    rows = image[start : start + step]
    share = rows[..., 3:] / np.float32(255)
    colours[start : start + step] = np.rint(share * rows[..., :3] + (1 - share) * 255)
  return colours


def _check_mask(mask: Bool[np.ndarray, "..."], image: UInt8[np.ndarray, "..."]) -> None:
  if mask.shape != image.shape[:2]:
    (height, width), (own_height, own_width) = image.shape[:2], mask.shape
    raise ValueError(
      f"a mask of {own_width} x {own_height} pixels, want {width} x {height} as the "
      "photograph has (turned as its EXIF orientation says); scale the mask to that"
    )
  if not mask.any():
    raise ValueError(
      "the mask is empty, want at least one pixel of an object (other than 0, or not "
      "transparent); draw it again, or leave it out"
    )


def _centre(
  colours: UInt8[np.ndarray, "h w 3"], side: int
) -> UInt8[np.ndarray, "s s 3"]:
  """A picture in the middle of a white square."""
  height, width = colours.shape[:2]
  top, left = (side - height) // 2, (side - width) // 2
  square = np.full((side, side, 3), 255, np.uint8)
  square[top : top + height, left : left + width] = colours
  return square


def too_many_pixels(path: pathlib.Path, error: Exception) -> ValueError:
  """The error for an image that Pillow refuses to decode for its size."""
  size = re.search(r"\d+", str(error))
  pixels = f"{int(size[0]):,}" if size else "too many"
  return ValueError(
    f"{path}: has {pixels} pixels, want at most {2 * Image.MAX_IMAGE_PIXELS:,}; scale "
    "it down"
  )


def _load(path: str | os.PathLike) -> Image.Image:
  """The first picture of a file, with its EXIF orientation applied."""
  path = pathlib.Path(path)
  if not path.is_file():
    raise ValueError(f"{path}: no such file")
  try:
    with warnings.catch_warnings():  # Pillow's of large pictures, which are judged here
      warnings.simplefilter("ignore", Image.DecompressionBombWarning)
      opened = Image.open(path)
    with opened as image:
      check_square(*image.size, str(path))
      image.load()
      return ImageOps.exif_transpose(image)
  except TooLarge:
    raise
  except Image.DecompressionBombError as error:
    raise too_many_pixels(path, error) from error
  except Exception as error:  # whatever a parser may raise on broken bytes
    reason = unreadable.reason(path, error)
    raise ValueError(
      f"{path}: cannot be decoded ({reason}); want a whole PNG, JPEG, WebP or BMP "
      "file, save it again"
    ) from error
