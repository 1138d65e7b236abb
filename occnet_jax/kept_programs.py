"""Compiled programs that a later process loads in place of tracing them (host).

JAX's compilation cache spares a process the compilation, not the trace of the network
by which it finds the program. Here programs are found by a description of what they
depend on: the function, the forms of its arguments, the package's source, the versions
and settings of JAX. A function has a description that holds for all processes if it is
`Named`; a program of any other function is not kept.

<folder>/<SHA-256 of the description>: SHA-256 of the rest, and a pickle. The folder
holds machine code, so like JAX's cache it is for the user's own processes alone. The
environment variable `VARIABLE` names it, one for each kind of processor and version of
XLA; without it nothing is kept. A damaged file is made anew.
"""

import contextlib
import functools
import hashlib
import os
import pathlib
import pickle
import threading
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
from jax.experimental import serialize_executable
from jax.experimental.compilation_cache import compilation_cache

from occnet_jax import files

VARIABLE = "OCCNET_KEPT_PROGRAMS"
MAX_FILES = 50  # of 10 MB or less; those used least recently are removed
_ADDRESS = " at 0x"  # in the description of what this process alone has
_loaded: dict[Any, Callable] = {}
_one_at_a_time = threading.Lock()


class Named:
  """A function whose name says all that it depends on beside the package's source."""

  def __init__(self, function: Callable, name: str):
    functools.update_wrapper(self, function)
    self._function, self._name = function, name

  def __call__(self, *args, **kwargs):
    return self._function(*args, **kwargs)

  def __repr__(self) -> str:
    return self._name


def named(function: Callable) -> Named:
  """A function of this package that depends on nothing beside its arguments."""
  return Named(function, f"{function.__module__}.{function.__qualname__}")


def call(jitted: Any, *args: Any) -> Any:
  """jitted(*args), by a kept program if there is one.

  Args:
    jitted: what `jax.jit` made of a function.
    *args: pytrees of arrays.
  """
  if not _is_used():
    return jitted(*args)
  leaves, tree = jax.tree.flatten((args, {}))
  forms = tuple((np.shape(leaf), np.dtype(leaf.dtype)) for leaf in leaves)
  key = jitted, tree, forms
  if key in _loaded:
    return _loaded[key](*args)
  description = f"{jitted.__wrapped__!r} {tree} {forms}"
  if (kept := _read(description)) is not None:
    try:
      program = serialize_executable.deserialize_and_load(kept[0], tree, kept[1])
      result = program(*args)  # a function that the file lacks is missed here
    except Exception:  # of another build of the compiler: whatever it raises
      pass
    else:
      _loaded[key] = program
      return result
  _loaded[key] = _compile(jitted, description, args)
  return _loaded[key](*args)


def _compile(jitted: Any, description: str, args: tuple) -> Callable:
  """A new program, which is kept if it can be."""
  lowered = jitted.lower(*args)
  with _fresh():
    program = lowered.compile()
  try:
    payload, _, out_tree = serialize_executable.serialize(program)
  except (NotImplementedError, ValueError):  # constants, or callbacks to Python
    return program
  _write(description, (payload, out_tree))
  return program


@contextlib.contextmanager
def _fresh() -> Iterator[None]:
  """Compiles in the body without JAX's cache.

  On a CPU a program that comes from a file is written without some of its functions.
  """
  with _one_at_a_time:
    was_enabled = jax.config.jax_enable_compilation_cache
    try:
      jax.config.update("jax_enable_compilation_cache", False)
      compilation_cache.reset_cache()  # JAX asks once whether there is one
      yield
    finally:
      jax.config.update("jax_enable_compilation_cache", was_enabled)
      compilation_cache.reset_cache()


def recall(description: str, make: Callable[[], Any]) -> Any:
  """What `make` returns, or what it returned in another process."""
  if not _is_used():
    return make()
  value = _read(description)
  if value is None:
    value = make()
    _write(description, value)
  return value


def _is_used() -> bool:
  """Whether programs are kept: where there is a folder, for the one device of a CPU."""
  if not os.environ.get(VARIABLE):
    return False
  return jax.default_backend() == "cpu" and jax.local_device_count() == 1


def _path(description: str) -> pathlib.Path | None:
  if _ADDRESS in description:
    return None
  digest = hashlib.sha256(f"{description} {_surroundings()}".encode())
  return pathlib.Path(os.environ[VARIABLE]) / digest.hexdigest()


def _surroundings() -> str:
  """Versions, settings and source on which every program depends."""
  settings = sorted((name, repr(x)) for name, x in jax.config.values.items())
  flags = os.environ.get("XLA_FLAGS", "")
  return f"{jax.__version__} {_source_digest()} {flags} {settings}"


@functools.cache
def _source_digest() -> str:
  sha = hashlib.sha256()
  for path in sorted(pathlib.Path(__file__).parent.rglob("*.py")):
    sha.update(f"{path.name} ".encode() + path.read_bytes())
  return sha.hexdigest()


def _read(description: str) -> Any:
  """What is kept of a description; None for nothing, or a damaged file."""
  path = _path(description)
  try:
    content = path.read_bytes() if path else b""
    if not path or hashlib.sha256(content[32:]).digest() != content[:32]:
      return None
    os.utime(path)  # used just now
    return pickle.loads(content[32:])
  except Exception:  # a file that is missing or of others; classes that are gone
    return None


def _write(description: str, value: Any) -> None:
  """Keeps a value, if there is a folder that can be written and it can be pickled."""
  path = _path(description)
  if path is None:
    return
  try:
    content = pickle.dumps(value)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with files.atomic_write(path) as scratch:
      scratch.write_bytes(hashlib.sha256(content).digest() + content)
    by_age = sorted(path.parent.iterdir(), key=lambda each: each.stat().st_mtime)
    for old in by_age[:-MAX_FILES]:
      old.unlink(missing_ok=True)
  except (OSError, TypeError, ValueError, pickle.PicklingError):
    return
