"""Files that are complete or absent, and the comparison of settings (host).

Scratch files and directories are called `.part-*` and lie beside what they become, so
that moving them into place is one operation of the file system. An exception at any
point, Ctrl-C included, removes them: nothing is made before its removal is certain.
"""

import collections
import contextlib
import errno
import itertools
import json
import logging
import os
import pathlib
import re
import shutil
import uuid
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_LOGGER = logging.getLogger(__name__)
SCRATCH_PREFIX = ".part-"
_ENDS = 2**16  # bytes of each end of a file that `mark` reads
LONGEST = 400  # characters of another's message
_OF_CONTENTS = (None, errno.ENOENT, errno.EINVAL)


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike) -> Iterator[pathlib.Path]:
  """Yields a scratch path beside `path`; moves it into place if the body succeeds.

  The body makes the file. Its name keeps the suffix, because many writers choose a
  format by it.
  """
  path = pathlib.Path(path)
  path.parent.mkdir(parents=True, exist_ok=True)
  scratch = path.parent / f"{SCRATCH_PREFIX}{uuid.uuid4().hex}{path.suffix}"
  try:
    yield scratch
    scratch.chmod(0o644)
    scratch.replace(path)
  except OSError as error:
    if error.filename == str(scratch):  # which nobody has heard of
      error.filename = str(path)
    raise
  finally:
    scratch.unlink(missing_ok=True)


@contextlib.contextmanager
def scratch_directory(parent: str | os.PathLike) -> Iterator[pathlib.Path]:
  """Yields an empty directory within `parent` that lasts as long as the body."""
  scratch = pathlib.Path(parent) / f"{SCRATCH_PREFIX}{uuid.uuid4().hex}"
  try:
    scratch.mkdir(parents=True)
    yield scratch
    shutil.rmtree(scratch)  # here, so that an interruption of it comes to `finally`
  finally:
    shutil.rmtree(scratch, ignore_errors=True)


def remove_scratch(directory: str | os.PathLike) -> None:
  """Removes what killed processes left behind anywhere in a directory.

  Nobody else may write there at the same time.
  """
  for scratch in list(pathlib.Path(directory).rglob(f"{SCRATCH_PREFIX}*")):
    if scratch.is_dir():
      shutil.rmtree(scratch)
    else:
      scratch.unlink(missing_ok=True)  # gone with the directory that it was in


def read_json(path: str | os.PathLike) -> dict[str, Any]:
  """The object in a JSON file.

  Raises:
    ValueError: the file holds no JSON, or a value of another kind; it is named.
  """
  try:
    content = json.loads(pathlib.Path(path).read_bytes())
  except ValueError as error:  # also of bytes that are no text
    line = getattr(error, "lineno", None)
    place = f" from line {line}, column {error.colno} on" if line else ""
    raise ValueError(
      f"{path}: holds no JSON{place}; restore the file, or begin anew without it"
    ) from error
  if not isinstance(content, dict):
    raise ValueError(
      f"{path}: holds a JSON {type(content).__name__}, want an object; restore the "
      "file, or begin anew without it"
    )
  return content


def read_numbers(path: str | os.PathLike) -> dict[str, float]:
  """The numbers by name in a JSON file on which nothing depends.

  {} if there is no such file. One that is damaged is a warning.
  """
  if not pathlib.Path(path).exists():
    return {}
  try:
    content = read_json(path)
  except ValueError as error:
    _LOGGER.warning("%s", error)
    return {}
  return {k: float(v) for k, v in content.items() if isinstance(v, int | float)}


def mark(path: str | os.PathLike) -> str:
  """What tells a large file from another without reading all of it: its length, and a
  CRC-32 of its first and last 64 KiB."""
  size = os.path.getsize(path)
  with open(path, "rb") as stream:
    ends = stream.read(_ENDS)
    stream.seek(max(size - _ENDS, 0))
    ends += stream.read(_ENDS)
  return f"{size} bytes, CRC-32 {zlib.crc32(ends):08x}"


def check_read(path: str | os.PathLike, error: Exception) -> None:
  """Raises OSError if it was the system that failed to read a file.

  Then the file may be whole: making it again, or removing it, would not help.

  Args:
    path: the file.
    error: what a parser of its contents raised, perhaps over another error. Parsers
      raise OSError on broken bytes as well, but only the system's have a number (and
      EINVAL where broken bytes name a place before the file).
  """
  cause: BaseException | None = error
  while cause is not None:
    if isinstance(cause, OSError) and cause.errno not in _OF_CONTENTS:
      raise OSError(
        f"{path}: cannot be read ({cause.strerror}); make it readable and try again"
      ) from error
    cause = cause.__cause__ or cause.__context__


def one_line(error: BaseException) -> str:
  """A parser's message on one line of at most LONGEST characters."""
  text = printable(" ".join(str(error).split()))
  return text if len(text) <= LONGEST else f"{text[:LONGEST]} ..."


def to_cell(text: str) -> str:
  """Text for a cell of a CSV file.

  Spreadsheets run a cell that begins like a formula; an apostrophe before it makes it
  text. Control characters become escapes.
  """
  text = re.sub(r"[\0-\x08\x0b\x0c\x0e-\x1f\x7f]", lambda m: ascii(m[0])[1:-1], text)
  return f"'{text}" if re.match("'*[=+@\t\r-]", text) else text


def from_cell(text: str) -> str:
  """The text of `to_cell`; control characters stay escapes."""
  return text[1:] if re.match("'+[=+@\t\r-]", text) else text


def printable(name: str) -> str:
  """A file name as text in UTF-8: U+FFFD stands for bytes that are none."""
  return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def output_stems(names: Sequence[str]) -> list[str]:
  """Names of files without their suffixes, to name what is made of each of them.

  Those that would be the same, also but for capitals, keep their suffixes; names that
  are the same but for capitals get a number, as some systems do not tell them apart.
  """
  bare = [
    name.removesuffix(pathlib.PurePath(name).suffix).removesuffix(".nii")
    for name in names
  ]
  count = collections.Counter(text.casefold() for text in [*bare, *names])
  return number_repeats(
    [
      stem if stem and count[stem.casefold()] == 1 else name
      for name, stem in zip(names, bare, strict=True)
    ]
  )


def number_repeats(names: Sequence[str]) -> list[str]:
  """The names, with numbers from 2 on behind those that came before in any case."""
  taken, earlier = set(map(str.casefold, names)), set()
  numbered = []
  for name in names:
    if name.casefold() in earlier:
      candidates = (f"{name}-{number}" for number in itertools.count(2))
      name = next(text for text in candidates if text.casefold() not in taken)
      taken.add(name.casefold())
    earlier.add(name.casefold())
    numbered.append(name)
  return numbered


def check_utf_8(path: str | os.PathLike) -> None:
  """Raises ValueError for a name that is no UTF-8, in which storage libraries fail."""
  name = os.fspath(path)
  if printable(name) != name:
    raise ValueError(
      f"{printable(name)}: its name is no UTF-8 and cannot be written to; rename it, "
      "or choose another"
    )


def check_names(*names: str, source: object) -> None:
  """Raises ValueError for names that are not those of files within one directory.

  Args:
    *names: such as a category and an id, which become parts of a path.
    source: where they stand, as the message names it.
  """
  for name in names:
    if not name or name.startswith(".") or re.search(r"[/\0-\x1f]", name):
      raise ValueError(
        f"{source}: holds the name {name[:100]!r}; want names without a leading dot, "
        "slashes and control characters"
      )


def expand_home(value: Any) -> Any:
  """Paths with the home directory in place of ~, as a shell expands a word that begins
  with it; in nested settings too.

  Args:
    value: a path, also behind the kind of a source ("folder:~/meshes"), or settings of
      any type, of which only such texts change.
  """
  if isinstance(value, Mapping):
    return {key: expand_home(each) for key, each in value.items()}
  if isinstance(value, list | tuple):
    return type(value)(map(expand_home, value))
  if not isinstance(value, str):
    return value
  kind, home, rest = re.match(r"((?:\w+:)*)(~[^/]*)?(.*)", value, re.DOTALL).groups()
  return f"{kind}{os.path.expanduser(home or '')}{rest}"


def describe_changes(
  before: Mapping[str, Any], now: Mapping[str, Any], *, missing: Any = None
) -> dict[str, str]:
  """Differences between two nested settings, as "name is NOW, there BEFORE".

  Args:
    before, now: settings in sections of any depth, as JSON has them.
    missing: value of a setting that one of the two does not have.

  Returns:
    A sentence for each setting that differs, by its dotted name, in the order of names.
  """
  old, new = flatten(before), flatten(now)
  return {
    name: f"{name} is {new.get(name, missing)!r}, there {old.get(name, missing)!r}"
    for name in sorted(old.keys() | new.keys())
    if old.get(name, missing) != new.get(name, missing)
  }


def flatten(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
  """Nested settings by dotted names."""
  flat = {}
  for key, value in settings.items():
    if isinstance(value, Mapping):
      flat |= flatten(value, f"{prefix}{key}.")
    else:
      flat[f"{prefix}{key}"] = value
  return flat


def first_line(error: Exception) -> str:
  """An error's first line, without TensorStore's specification, or both its ends."""
  lines = str(error).split(" [tensorstore_spec")[0].strip().splitlines()
  line = lines[0] if lines else type(error).__name__
  return line if len(line) < 200 else f"{line[:80]} ... {line[-100:]}"
