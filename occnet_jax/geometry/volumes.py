"""CT, MRI and other volumes on disk, in millimetres (host, numpy).

Volumes are indexed (x, y, z) as their files index them, and an affine map places the
voxels: a point of the world is `affine @ (i, j, k, 1)`, where whole indices are the
centres of voxels. The world is the patient's in millimetres, x to the patient's right
hand, y to the front and z upwards (RAS+, that of NIfTI); DICOM's and NRRD's other
frames are turned into it.
"""

import contextlib
import os
import pathlib
import zipfile
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Shaped

from occnet_jax import unreadable
from occnet_jax.geometry import dicom, extras

SUFFIXES = (".dcm", ".mgh", ".mgz", ".nii", ".nii.gz", ".npy", ".npz", ".nrrd")
MAX_VOXELS = 2**32  # of a header that is believed
MILLIMETRES = {  # of units as NRRD and NIfTI write them
  "mm": 1.0,
  "millimeter": 1.0,
  "cm": 10.0,
  "m": 1000.0,
  "meter": 1000.0,
  "um": 1e-3,
  "µm": 1e-3,
  "micron": 1e-3,
  "unknown": 1.0,
  "": 1.0,
}
# Direction of each axis of a NRRD file's space by its letter or word, as (axis, sign).
_TO_RAS = {
  **dict.fromkeys(("r", "right"), (0, 1)),
  **dict.fromkeys(("l", "left"), (0, -1)),
  **dict.fromkeys(("a", "anterior"), (1, 1)),
  **dict.fromkeys(("p", "posterior"), (1, -1)),
  **dict.fromkeys(("s", "superior"), (2, 1)),
  **dict.fromkeys(("i", "inferior"), (2, -1)),
}


class Volume(NamedTuple):
  """Numbers in a box of voxels, and their place.

  Attributes:
    values: (nx, ny, nz), in the unit of the file: Hounsfield units of a CT.
    affine: (4, 4), from indices (i, j, k, 1) of voxels' centres to millimetres.
  """

  values: Shaped[np.ndarray, "nx ny nz"]
  affine: Float[np.ndarray, "4 4"]

  @property
  def spacing(self) -> Float[np.ndarray, "3"]:
    """Distances between the centres of neighbours along each axis of the array."""
    return np.linalg.norm(self.affine[:3, :3], axis=0)

  @property
  def origin(self) -> Float[np.ndarray, "3"]:
    """Centre of the voxel (0, 0, 0)."""
    return self.affine[:3, 3]


def read_volume(path: str | os.PathLike) -> Volume:
  """A volume with its place in millimetres, see the module.

  Values are rescaled as the file says. NPY and NPZ have no place: their voxels are
  cubes of 1 mm from (0, 0, 0) on, but for the entries `spacing` (3,) and `origin` (3,),
  or `affine` (4, 4), beside `volume` in an NPZ file.

  Args:
    path: NIfTI (.nii, .nii.gz), MGH (.mgh, .mgz), NRRD (.nrrd), NPY or NPZ; a directory
      that holds one DICOM series, at any depth; or one file of the series that is
      meant. NIfTI and MGH need nibabel, NRRD pynrrd, DICOM pydicom.

  Raises:
    ValueError: the file is missing, broken or of another format; it holds no volume of
      numbers in three dimensions, or several; its library is missing.
    OSError: the system cannot read it.
  """
  path = pathlib.Path(path)
  if not path.exists():
    raise ValueError(f"{path}: no such file or folder")
  read = _reader(path)
  try:
    values, affine = read(path)
    volume = Volume(values, np.asarray(affine, np.float64).reshape(4, 4))
    _check(volume)
  except extras.MissingLibrary:
    raise
  except Exception as error:  # whatever a parser may raise on a broken file
    reason = unreadable.reason(path, error)
    raise ValueError(f"{path}: cannot be read as a volume ({reason})") from error
  return volume


def check_header(shape: tuple[int, ...], bytes_each: int, held: int) -> None:
  """Raises ValueError for a header that promises what the file cannot hold.

  Args:
    shape: shape of the array.
    bytes_each: bytes of a number.
    held: bytes of the file; what is compressed may be 1032 times as large (deflate).
  """
  shape = tuple(map(int, shape))
  if len(shape) > 3:
    raise ValueError(f"an array of shape {shape}; want one volume (nx, ny, nz)")
  count = 1
  for side in shape:
    count *= side
  if not 0 < count <= MAX_VOXELS or count * bytes_each > 1100 * held:
    raise ValueError(
      f"promises an array of shape {shape}, but the file has {held:,} bytes"
    )


def is_volume_file(path: str | os.PathLike) -> bool:
  """Whether a path's suffix is one that only volumes have."""
  own = set(SUFFIXES) - {".npy", ".npz"}
  return pathlib.Path(path).name.lower().endswith(tuple(own))


def holds_volumes(folder: str | os.PathLike) -> bool:
  """Whether a folder has files, at any depth, with suffixes that only volumes have.

  Files of a DICOM series do not count: their folder is one volume.
  """
  paths = pathlib.Path(folder).rglob("*")
  return any(is_volume_file(p) and p.suffix.lower() != ".dcm" for p in paths)


def _reader(path: pathlib.Path) -> Callable[[pathlib.Path], tuple]:
  name = path.name.lower()
  if path.is_dir() or name.endswith(".dcm") or dicom.is_dicom(path):
    return dicom.read_series
  if name.endswith((".nii", ".nii.gz", ".mgh", ".mgz")):
    return _read_nibabel
  if name.endswith(".nrrd"):
    return _read_nrrd
  if name.endswith((".npy", ".npz")):
    return _read_numpy
  raise ValueError(
    f"{path}: a level is for volumes, and {path.suffix!r} is no suffix of one; want "
    f"one of {' '.join(SUFFIXES)}, or a folder with a DICOM series"
  )


def _check(volume: Volume) -> None:
  """Raises ValueError for what is no volume of numbers."""
  values, affine = volume
  if values.ndim != 3 or values.dtype.kind not in "biuf" or not values.size:
    raise ValueError(
      f"an array of shape {values.shape} and type {values.dtype}; want numbers "
      "(nx, ny, nz): choose one volume and one channel"
    )
  directions = affine[:3, :3]
  with np.errstate(all="ignore"):
    thickness = abs(np.linalg.det(directions)) / volume.spacing.prod()
  if not np.isfinite(affine).all() or not thickness > 1e-6:
    raise ValueError(
      f"its axes {directions.round(4).tolist()} span no volume; repair its header"
    )


def _read_nibabel(path: pathlib.Path) -> tuple[np.ndarray, np.ndarray]:
  nibabel = extras.load("nibabel", path, "nibabel", "medical")
  image = nibabel.load(path)
  shape = image.shape
  while len(shape) > 3 and shape[-1] == 1:
    shape = shape[:-1]
  if image.get_data_dtype().kind not in "iuf":
    raise ValueError(f"numbers of type {image.get_data_dtype()}; want real ones")
  check_header(shape, image.get_data_dtype().itemsize, path.stat().st_size)
  values = np.asanyarray(image.dataobj).reshape(shape)
  if values.dtype == np.float64:  # what rescaled numbers become
    values = values.astype(np.float32)
  affine = np.array(image.affine, np.float64)
  if hasattr(image.header, "get_xyzt_units"):
    affine[:3] *= MILLIMETRES[image.header.get_xyzt_units()[0]]
  return values, affine


def _read_nrrd(path: pathlib.Path) -> tuple[np.ndarray, np.ndarray]:
  nrrd = extras.load("nrrd", path, "pynrrd", "medical")
  with open(path, "rb") as stream:
    header = nrrd.read_header(stream)
    if {"data file", "datafile"} & header.keys():
      raise ValueError(
        "names other files that hold its numbers, which are not read; save it as one"
      )
    sizes = tuple(int(size) for size in header["sizes"])
    check_header(sizes, 1, path.stat().st_size)
    values = nrrd.read_data(header, stream, str(path), index_order="F")
  affine = np.eye(4)
  if (directions := header.get("space directions")) is not None:
    affine[:3, :3] = np.asarray(directions, np.float64).T
    affine[:3, 3] = header.get("space origin", np.zeros(3))
    affine = _space_to_ras(header.get("space", "")) @ affine
  elif "spacings" in header:
    affine[:3, :3] = np.diag(np.asarray(header["spacings"], np.float64))
  units = header.get("space units", header.get("units", [""]))
  affine[:3] *= MILLIMETRES[str(units[0]).strip('" ').lower()]
  return values, affine


def _space_to_ras(space: str) -> Float[np.ndarray, "4 4"]:
  """From the frame that a NRRD file names to RAS+; unnamed ones stay."""
  words = space.lower().replace("3d-", "").split("-")
  words = list(words[0]) if len(words) == 1 and len(words[0]) == 3 else words
  if not all(word in _TO_RAS for word in words[:3]):
    return np.eye(4)
  turn = np.zeros((4, 4))
  turn[3, 3] = 1
  for column, word in enumerate(words[:3]):
    axis, sign = _TO_RAS[word]
    turn[axis, column] = sign
  return turn


def _read_numpy(path: pathlib.Path) -> tuple[np.ndarray, np.ndarray]:
  if path.suffix.lower() == ".npz":
    unreadable.check_npz(path)
  with contextlib.ExitStack() as stack:
    arrays: Any = {}
    if zipfile.is_zipfile(path):
      arrays = stack.enter_context(np.load(path, allow_pickle=False))
      if "volume" not in arrays:
        raise ValueError(f"keys {', '.join(arrays) or 'none'}; want volume")
      held = {info.filename: info for info in arrays.zip.infolist()}["volume.npy"]
      check_header((held.file_size,), 1, path.stat().st_size)
      values = arrays["volume"]
    else:
      values = np.load(path, mmap_mode="r", allow_pickle=False)  # asks for its length
      values = np.array(values)
    affine = np.eye(4)
    if "affine" in arrays:
      return values, arrays["affine"]
    if "spacing" in arrays:
      affine[:3, :3] = np.diag(np.broadcast_to(arrays["spacing"], 3))
    if "origin" in arrays:
      affine[:3, 3] = arrays["origin"]
    return values, affine
