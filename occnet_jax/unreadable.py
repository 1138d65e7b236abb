"""Why a file cannot be read, in words for its owner (host).

Parsers end on broken bytes with any exception, and name things of Python: KeyError,
StopIteration, buffers, keyword arguments. The owner of a file wants to hear whether it
is empty, cut off or of another kind.
"""

import os
import pathlib
import re
import zipfile

from occnet_jax import files

CUT_OFF = "ends too early, or is broken"
NO_JSON = "is no JSON"
BROKEN = "is broken, or of another format"
# Messages of Python and its libraries, of any exception: pattern, and what they mean.
_MEANINGS = (
  (
    r"pickled \(object\) data|magic string|Failed to interpret file",
    "is no NumPy file",
  ),
  (r"allow_pickle|Object arrays", "holds objects of Python; want an array of numbers"),
  (r"buffer|\bEOF\b|No data left|[Tt]runcated|end of (file|stream)", CUT_OFF),
  (r"(?:invalid literal|could not convert string).*?: *(.*)", "has {} for a number"),
  (r"invalid column index|number of columns changed", "has rows of too few numbers"),
  (r"values to unpack|cannot reshape|could not broadcast|setting an array", BROKEN),
  (r"but only got", CUT_OFF),
  (r"Exceeds the limit", "has a number of too many digits"),
  (r"NRRD magic line", "does not start with NRRD"),
  (r"([^:]*: line \d+, column \d+)", "is no whole XML: {}"),
  (r"Error while deserializing (.*)", "{}"),
  (r"cannot identify image", "is no picture"),
  (r"not a zip file", "is no zip file, or only part of one"),
  (r"codec can't decode", "has bytes that are no text"),
  (r"not a gzip file|gzipped file", "is no gzip file"),
)


def check_npz(path: str | os.PathLike) -> None:
  """Raises BadZipFile for no whole archive, which NumPy would open and not close."""
  zipfile.ZipFile(path).close()


def reason(path: str | os.PathLike, error: Exception) -> str:
  """What is wrong with a file, as a clause such as "is empty".

  Args:
    path: the file.
    error: what a parser raised. A ValueError of this package has its sentence already.

  Raises:
    OSError: the system could not read the file, see `files.check_read`.
  """
  files.check_read(path, error)
  path = pathlib.Path(path)
  if path.is_file() and not path.stat().st_size:
    return "is empty"
  text = files.one_line(error)
  for pattern, meaning in _MEANINGS:
    if match := re.search(pattern, text):
      return meaning.format(*match.groups()[:1])
  position = getattr(error, "lineno", None), getattr(error, "colno", None)
  if None not in position:  # of JSON
    return f"{NO_JSON} from line {position[0]}, column {position[1]} on"
  if isinstance(error, KeyError):
    key = error.args[0] if error.args else None
    return f"has no {key}" if isinstance(key, str) and key.isidentifier() else BROKEN
  if type(error).__name__ == "error" or isinstance(
    error, StopIteration | EOFError | IndexError
  ):  # "error" is that of struct and zlib
    return CUT_OFF
  if isinstance(error, MemoryError):
    return "needs more memory than there is"
  if not text or isinstance(
    error,
    TypeError | AttributeError | AssertionError | ArithmeticError | RuntimeError,
  ):
    return BROKEN
  return re.sub(r"^(\w+(Error|Exception): )+", "", text)
