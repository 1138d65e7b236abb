"""What requests ask for: names of files and numbers, checked (host)."""

import pathlib
import re
from collections.abc import Mapping
from typing import Any

from occnet_jax.geometry import volumes

COARSEST_RESOLUTION, LARGEST_RESOLUTION = 8, 512
LARGEST_SEED, LARGEST_LEVEL = 2**31, 1e30
# A DICOM series is a folder, which no upload is.
ARRAYS_AND_VOLUMES = tuple(suffix for suffix in volumes.SUFFIXES if suffix != ".dcm")
VOLUMES = tuple(s for s in ARRAYS_AND_VOLUMES if volumes.is_volume_file(s))


class Refused(Exception):
  """A request that is answered with a code and one sentence."""

  def __init__(self, code: int, sentence: str):
    super().__init__(sentence)
    self.code = code


def safe_name(name: str, suffixes: tuple[str, ...], *, has_level: bool) -> str:
  """A name of letters, digits, points and hyphens, with a suffix that is read.

  Args:
    name: of the file.
    suffixes: of the files that the network takes.
    has_level: whether it has to be a volume.

  Raises:
    Refused: another suffix.
  """
  path = pathlib.PurePosixPath(name.replace("\\", "/"))
  of_volumes = ARRAYS_AND_VOLUMES if has_level else VOLUMES
  if has_level:
    suffixes = ()
  if not path.name.lower().endswith((*suffixes, *of_volumes)):
    network = f"this network wants a file of {' '.join(suffixes)}; " if suffixes else ""
    raise Refused(
      415, f"name={name!r}: {network}a level wants a volume of {' '.join(of_volumes)}"
    )
  parts = path.suffixes[-2:] if path.suffix.lower() == ".gz" else [path.suffix]
  suffix = "".join(parts)
  stem = path.name[: len(path.name) - len(suffix)]
  stem = re.sub(r"[^\w.-]", "_", stem, flags=re.ASCII).lstrip(".")
  return f"{stem[:80] or 'file'}{suffix.lower()}"


def number(
  query: Mapping[str, str], name: str, kind: type, low: int | float, high: int | float
) -> Any:
  """A number of the query string; None where there is none."""
  text = query.get(name)
  if text is None:
    return None
  try:
    value = kind(text)
  except ValueError as error:
    raise Refused(422, f"{name}={text!r}; want a number") from error
  if not low <= value <= high:
    raise Refused(422, f"{name}={text}; want a number from {low} to {high}")
  return value
