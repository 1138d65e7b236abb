"""A DICOM series as a volume (host, numpy).

DICOM keeps a slice in a file, or, in its enhanced form, all slices as frames of one,
which says in functional groups what holds for all of them and for each (PS3.3,
C.7.6.16). Where a slice lies is said by the centre of its first pixel and the
directions of its rows and columns, in millimetres, x to the patient's left and y to his
back (LPS); the result is turned into RAS+ as in NIfTI. Slices are sorted by their
place, not by their name or number. Shape letters: h w sides of a slice, n slices.
"""

import collections
import os
import pathlib
import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Float32

from occnet_jax.geometry import extras

TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
UNEVEN = 0.02  # of the distance of slices: by how much it may vary
PARALLEL = 1e-3  # by how much the directions of slices may differ
_PLACE = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing")
_SHARED, _PER_FRAME = (
  "SharedFunctionalGroupsSequence",
  "PerFrameFunctionalGroupsSequence",
)
_TAGS = [
  *("SeriesInstanceUID", "SeriesDescription", "Rows", "Columns", "SliceThickness"),
  *("SamplesPerPixel", "NumberOfFrames", *_PLACE, _SHARED, _PER_FRAME),
]
_GROUPS = {  # functional group: what is taken from it
  "PlanePositionSequence": ("ImagePositionPatient",),
  "PlaneOrientationSequence": ("ImageOrientationPatient",),
  "PixelMeasuresSequence": ("PixelSpacing", "SliceThickness"),
  "PixelValueTransformationSequence": ("RescaleSlope", "RescaleIntercept"),
}


class Slice(NamedTuple):
  """A slice of a series.

  Attributes:
    file: where it is.
    header: what is said of it.
    frame: its index in a file of several; None for a file of one.
  """

  file: pathlib.Path
  header: Any
  frame: int | None = None


def is_dicom(path: str | os.PathLike) -> bool:
  """Whether a file starts as DICOM files do."""
  path = pathlib.Path(path)
  if not path.is_file():
    return False
  with open(path, "rb") as stream:
    return stream.read(132)[128:] == b"DICM"


def series_of(path: str | os.PathLike) -> str:
  """What tells the series of a file from others; "" if the file does not say."""
  pydicom = extras.load("pydicom", path, "pydicom", "medical")
  tags = ["SeriesInstanceUID"]
  header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=tags)
  return str(header.get("SeriesInstanceUID", ""))


def read_series(
  path: str | os.PathLike,
) -> tuple[Float32[np.ndarray, "w h n"], Float[np.ndarray, "4 4"]]:
  """Numbers of a series, rescaled, and the map from indices to millimetres in RAS+.

  A tilted gantry shears the map.

  Args:
    path: a directory that holds one series at any depth, or a file of a series, whose
      other files lie beside it.

  Raises:
    ValueError: no series or several; slices that are missing, doubled, of several sizes
      or directions, or in colour. Other exceptions, too, mean that a file is broken.
    MissingLibrary: pydicom is not installed.
  """
  path = pathlib.Path(path)
  pydicom = extras.load("pydicom", path, "pydicom", "medical")
  with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of headers that break some rule
    series = _find_series(pydicom, path)
    series = [each for file in series for each in _frames_of(pydicom, file)]
    ordered, affine = _place(series)
    first = ordered[0].header
    shape = (int(first.Columns), int(first.Rows), len(ordered))
    held = sum(file.stat().st_size for file in {each.file for each in ordered})
    if np.prod(shape, dtype=np.float64) > 1000 * held:
      raise ValueError(f"promises {shape} voxels in {held:,} bytes")
    values = np.empty(shape, np.float32)
    opened: tuple[pathlib.Path | None, Any, Any] = (None, None, None)
    for index, each in enumerate(ordered):
      if each.file != opened[0]:  # frames of one file are read together
        opened = (each.file, *_read_pixels(pydicom, each.file))
      values[:, :, index] = _rescale(each, *opened[1:], shape[:2])
  return values, TO_RAS @ affine


def _find_series(pydicom: Any, path: pathlib.Path) -> list[Slice]:
  """The files of the one series in a directory, or of that of a file."""
  folder = path if path.is_dir() else path.parent
  candidates = sorted(folder.rglob("*") if path.is_dir() else folder.iterdir())
  groups: dict[str, list[Slice]] = collections.defaultdict(list)
  for file in candidates:
    if not file.is_file() or file.name.startswith(".") or not is_dicom(file):
      continue
    header = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=_TAGS)
    if "Rows" in header:  # else an index (DICOMDIR), a report or a plan
      groups[str(header.get("SeriesInstanceUID", ""))].append(Slice(file, header))
  if path.is_file():
    for slices in groups.values():
      if any(each.file == path for each in slices):
        return slices
    raise ValueError("holds no picture of a DICOM series")
  if not groups:
    raise ValueError("holds no DICOM series; want NIfTI, NRRD or DICOM files")
  if len(groups) > 1:
    listed = [
      f"{slices[0].file.relative_to(folder)} ({len(slices)} slices, "
      f"{slices[0].header.get('SeriesDescription', 'no description')})"
      for slices in sorted(groups.values(), key=len, reverse=True)
    ]
    raise ValueError(
      f"holds {len(groups)} series; name a file of the one that is meant: "
      f"{', '.join(listed[:5])}{', ...' if len(listed) > 5 else ''}"
    )
  return next(iter(groups.values()))


def _frames_of(pydicom: Any, whole: Slice) -> list[Slice]:
  """The frames of an enhanced file, each with what its functional groups say of it; or
  the file itself.

  Raises:
    ValueError: several frames without functional groups, so without a place.
  """
  count = int(whole.header.get("NumberOfFrames", 1) or 1)
  per_frame = whole.header.get(_PER_FRAME)
  if not per_frame and count <= 1:
    return [whole]
  if not per_frame or len(per_frame) != count:
    raise ValueError(
      f"{whole.file.name} has {count} frames but says of {len(per_frame or ())} where "
      "they lie; convert it to NIfTI, for example by dcm2niix"
    )
  shared = (whole.header.get(_SHARED) or [pydicom.Dataset()])[0]
  frames = []
  for index, own in enumerate(per_frame):
    header = pydicom.Dataset()
    for tag in ("Rows", "Columns", "SamplesPerPixel"):
      setattr(header, tag, whole.header.get(tag))
    for group, tags in _GROUPS.items():
      for content in (shared.get(group), own.get(group)):
        for tag in tags if content else ():
          if content[0].get(tag) is not None:
            setattr(header, tag, content[0].get(tag))
    frames.append(Slice(whole.file, header, index))
  return frames


def _place(
  series: Sequence[Slice],
) -> tuple[list[Slice], Float[np.ndarray, "4 4"]]:
  """The slices in their order in space, and the map from their indices to LPS."""
  first = series[0].header
  for file, header, _ in series:
    if int(header.get("SamplesPerPixel", 1)) != 1:
      raise ValueError(f"{file.name} is in colour; want a CT or MRI")
    if lacking := [tag for tag in _PLACE if header.get(tag) is None]:
      raise ValueError(f"{file.name} has no {lacking[0]}; want slices with their place")
    if (header.Rows, header.Columns) != (first.Rows, first.Columns):
      raise ValueError(
        f"slices of {first.Columns} x {first.Rows} and of {header.Columns} x "
        f"{header.Rows} pixels; want one size"
      )
  directions = _numbers(series, "ImageOrientationPatient")
  sizes = _numbers(series, "PixelSpacing")
  if np.ptp(directions, axis=0).max() > PARALLEL or np.ptp(sizes, axis=0).max() > 1e-3:
    raise ValueError("slices of several directions or pixel sizes; want parallel ones")
  along_row, along_column = directions[0].reshape(2, 3)
  normal = np.cross(along_row, along_column)
  positions = _numbers(series, "ImagePositionPatient")
  order = np.argsort(positions @ normal, kind="stable")
  positions = positions[order]
  if len(series) > 1:
    _check_gaps(np.diff(positions @ normal))
    step = (positions[-1] - positions[0]) / (len(positions) - 1)
  else:
    step = normal * float(first.get("SliceThickness", None) or 1.0)
  affine = np.eye(4)
  # The first number is the distance of rows, so the step along a column.
  affine[:3, 0] = along_row * sizes[0, 1]
  affine[:3, 1] = along_column * sizes[0, 0]
  affine[:3, 2], affine[:3, 3] = step, positions[0]
  return [series[i] for i in order], affine


def _numbers(series: Sequence[Slice], tag: str) -> Float[np.ndarray, "n _"]:
  return np.array([[float(x) for x in each.header[tag].value] for each in series])


def _check_gaps(gaps: Float[np.ndarray, " gaps"]) -> None:
  """Raises ValueError for slices that are doubled or missing."""
  usual = float(np.median(gaps))
  if gaps.min() <= UNEVEN * max(usual, 1e-6):
    raise ValueError(
      "has several slices at one place, as of several phases or echoes; keep those of "
      "one"
    )
  odd = int(np.abs(gaps - usual).argmax())
  if abs(gaps[odd] - usual) > UNEVEN * usual:
    raise ValueError(
      f"slices {odd + 1} and {odd + 2} are {gaps[odd]:.3f} mm apart, others "
      f"{usual:.3f}; want all slices of an even series"
    )


def _read_pixels(pydicom: Any, file: pathlib.Path) -> tuple[np.ndarray, Any]:
  """Numbers of a file as they are stored, (h, w) or (n, h, w), and its header."""
  header = pydicom.dcmread(file)
  try:
    return header.pixel_array, header
  except (RuntimeError, NotImplementedError) as error:  # compression without a decoder
    raise ValueError(
      f"{file.name}: its compression needs another package: pip install "
      f"pylibjpeg[all] ({error})"
    ) from error


def _rescale(
  each: Slice, pixels: np.ndarray, header: Any, shape: tuple[int, ...]
) -> Float32[np.ndarray, "w h"]:
  """The numbers of a slice in the unit of the series."""
  if each.frame is not None:
    frames = pixels if pixels.ndim == 3 else pixels[None]  # one frame has two axes
    pixels, header = frames[each.frame], each.header
  if pixels.shape != shape[::-1]:
    raise ValueError(
      f"{each.file.name}: pixels of shape {pixels.shape}; want {shape[::-1]}"
    )
  slope = float(header.get("RescaleSlope", None) or 1)
  return (pixels * slope + float(header.get("RescaleIntercept", None) or 0)).T.astype(
    np.float32
  )
