"""A seeded mutational fuzzer for the readers of foreign bytes.

A case is the name of a kind of file and a number, from which the same bytes are made
each time: `write_case(directory, kind, number)` writes them, to look at one. Cases run
in a worker of data_prep's pool, which ends those that take too long or too much.
"""

import os
import pathlib
import random
import re
import shutil
import sys
import sysconfig
import tempfile
import warnings

MOST_SENTENCE = 2500  # characters of a message
# What a reader may open beside its file: the interpreter's own code and the system's.
_CODE = tuple(
  str(pathlib.Path(path).resolve())
  for path in {
    sys.prefix,
    sys.base_prefix,
    *sysconfig.get_paths().values(),
    *filter(os.path.isdir, sys.path),
    "/proc",
    "/sys",
    "/dev/null",
    "/dev/urandom",
    "/usr/lib",
    "/usr/share",
    "/etc/localtime",
    "/lib",
  }
)
_FORBIDDEN = re.compile(
  r"os\.(system|exec|posix_spawn|fork|remove|rename|rmdir|mkdir|truncate|link|symlink)"
  r"|subprocess\.Popen|socket\.(connect|bind|getaddrinfo)|shutil\..*|ctypes\.dlopen"
)
_watched: list[str] = []  # directory of the file that is read, while it is read
_violations: list[str] = []


def _audit(event: str, args: tuple) -> None:
  if not _watched:
    return
  if event == "open" and isinstance(args[0], str | bytes | os.PathLike):
    path = str(pathlib.Path(os.fsdecode(args[0])).absolute())
    flags = args[2] if isinstance(args[2], int) else 0
    writes = flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
    within = path.startswith(_watched[0])
    if writes or not (within or path.startswith(_CODE)):
      _violations.append(f"{event} {path}{' to write' if writes else ''}")
  elif _FORBIDDEN.fullmatch(event) and not _is_own(event, args):
    _violations.append(f"{event} {args}"[:200])


def _is_own(event: str, args: tuple) -> bool:
  """Whether a library loads a compiled module of its own, or JAX makes its cache."""
  if event == "os.mkdir":
    cache = os.environ.get("JAX_COMPILATION_CACHE_DIR", "")
    return bool(cache) and os.fspath(args[0]).startswith(cache)
  return event == "ctypes.dlopen" and str(args[0]).startswith(_CODE)


def mutate(data: bytes, rng: random.Random) -> bytes:
  """Changes bytes in one to four of the ways that find most in parsers."""
  data = bytearray(data)
  for _ in range(rng.choice((1, 1, 2, 4))):
    at = rng.randrange(len(data)) if data else 0
    # Headers decide more than bodies, so half of the changes are near the start.
    at = rng.randrange(min(len(data), 400)) if data and rng.random() < 0.5 else at
    length = rng.choice((1, 2, 4, 8, 64, 1000))
    match rng.randrange(8):
      case 0 if data:
        data[at] ^= 1 << rng.randrange(8)
      case 1:
        extremes = (b"\0" * 8, b"\xff" * 8, b"\x7f" + b"\xff" * 7, b"\0\0\0\x80" * 2)
        data[at : at + min(length, 8)] = rng.choice(extremes)[: min(length, 8)]
      case 2:
        del data[at:]
      case 3:
        del data[at : at + length]
      case 4:
        data[at:at] = data[at : at + length] * rng.choice((1, 2, 50))
      case 5:
        data[at:at] = rng.randbytes(length)
      case 6:
        _change_number(data, at, rng)
      case 7:
        other = rng.randrange(len(data)) if data else 0
        data[at : at + length] = data[other : other + length]
  return bytes(data)


def _change_number(data: bytearray, at: int, rng: random.Random) -> None:
  """Another number in place of the next one in text."""
  number = re.compile(rb"-?\d+(\.\d*)?").search(data, at)
  if number:
    numbers = ("0", "-1", "1", "4294967295", "2147483648", "9" * 30, "1e308", "nan", "")
    data[slice(*number.span())] = rng.choice(numbers).encode()


def write_case(directory: pathlib.Path, kind: str, number: int) -> pathlib.Path:
  """The file of a case; its neighbours, such as buffers of glTF, are as they should be.

  Args:
    directory: an empty one.
    kind: one of `fuzz_seeds.SEEDS`.
    number: seed of the changes; 0 for none.
  """
  from tests.helpers import fuzz_seeds

  path = fuzz_seeds.write_seed(kind, directory)
  if number:
    rng = random.Random(f"{kind} {number}")
    content = fuzz_seeds.unwrap(kind, path)
    path.write_bytes(fuzz_seeds.wrap(kind, mutate(content, rng)))
  return path


def run_case(case: tuple[str, int]) -> str:
  """What a reader makes of a case: "read", "refused", or else what is wrong."""
  from tests.helpers import fuzz_seeds

  kind, number = case
  directory = pathlib.Path(tempfile.mkdtemp(prefix="fuzz-"))
  sys.dont_write_bytecode = True  # of libraries that a reader imports
  if not getattr(sys, "occnet_audit", False):  # once in a process: it stays for ever
    sys.addaudithook(_audit)
    sys.occnet_audit = True
  try:
    path = write_case(directory, kind, number)
    _violations.clear()
    with warnings.catch_warnings():
      warnings.simplefilter("ignore")
      outcome = _read(fuzz_seeds.READERS[kind], path, str(directory.absolute()))
    return f"touched {_violations[0]}" if _violations else outcome
  finally:
    shutil.rmtree(directory, ignore_errors=True)


def _read(reader, path: pathlib.Path, directory: str) -> str:
  _watched.append(directory)
  try:
    reader(path)
    return "read"
  except (ValueError, OSError) as error:
    text = str(error)
    if "\n" in text.strip() or len(text) > MOST_SENTENCE or not text:
      return f"a message of {len(text)} characters: {text[:300]!r}"
    return "refused"
  except BaseException as error:  # what no user should meet
    return f"{type(error).__name__}: {error}"[:300]
  finally:
    _watched.clear()
