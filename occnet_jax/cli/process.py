"""Process settings: memory, the compilation cache, signs of life, the end (host)."""

import contextlib
import ctypes
import functools
import gc
import hashlib
import importlib.metadata
import importlib.util
import logging
import os
import pathlib
import platform
import sys
import threading
from collections.abc import Iterator

from occnet_jax.cli import command_line

# Parameters of mallopt, from malloc.h, and the values that change them.
_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8
_MALLOC_SETTINGS = {
  _MMAP_MAX: 0,  # no block is mapped on its own, so none is unmapped when it is freed
  _TRIM_THRESHOLD: -1,  # the heap never shrinks
  _ARENA_MAX: 1,  # one heap for all threads: others may not grow as large as a buffer
}
CACHE_VARIABLE = "JAX_COMPILATION_CACHE_DIR"
KEPT_VARIABLE = "OCCNET_KEPT_PROGRAMS"  # of kept_programs, which imports JAX
CACHE_SIZE_VARIABLE = "JAX_COMPILATION_CACHE_MAX_SIZE"
RESUMED = ("all", "prepare", "train", "generate", "evaluate", "report")
CACHE_BYTES = 2**31  # a few hundred programs; the least recently used are removed


def keep_freed_memory() -> None:
  """Stops glibc from returning freed memory to the operating system.

  By default the buffers of a training step go back to the system, which clears them
  page by page for the next step: a fifth of the time of a large step on two CPU cores.
  Other C libraries are left as they are.
  """
  if platform.libc_ver()[0] != "glibc":
    return
  mallopt = ctypes.CDLL(None).mallopt
  refused = [
    name for name, value in _MALLOC_SETTINGS.items() if not mallopt(name, value)
  ]
  if refused:
    logging.getLogger(__name__).warning(
      "glibc refused the memory settings %s, so training steps may be slower", refused
    )


def enable_compilation_cache() -> None:
  """Enables JAX's persistent compilation cache in ~/.cache/occnet-jax.

  Call it before JAX is imported. A run that resumes then begins in seconds. The
  directory is one for this version of XLA and this kind of processor, whose
  instructions the code may use. Beside it are the programs of `kept_programs`. An
  existing JAX_COMPILATION_CACHE_DIR is respected, and nothing is kept beside it; set it
  to "" to disable the cache. Without a directory that can be written, every process
  compiles. With the package filelock, which JAX needs for it, the cache stays below
  CACHE_BYTES, or JAX_COMPILATION_CACHE_MAX_SIZE.
  """
  if CACHE_VARIABLE in os.environ:
    return
  version = importlib.metadata.version("jaxlib")
  try:
    home = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    path = home / "occnet-jax" / f"jaxlib-{version}-{_processor_key()}"
    path.mkdir(parents=True, exist_ok=True)
  except (OSError, RuntimeError):  # RuntimeError: a user without a home directory
    return
  os.environ[CACHE_VARIABLE] = str(path)
  os.environ[KEPT_VARIABLE] = str(path.with_name(f"programs-{path.name}"))
  if importlib.util.find_spec("filelock"):
    os.environ.setdefault(CACHE_SIZE_VARIABLE, str(CACHE_BYTES))


@contextlib.contextmanager
def importing() -> Iterator[None]:
  """Imports in the body without Python's search for cycles of objects no longer used.

  Modules stay; the search would look through all of them again and again, then and
  later.
  """
  gc.disable()
  try:
    yield
  finally:
    gc.freeze()
    gc.enable()


def compute_in_caller() -> None:
  """Makes compiled functions run in the thread that calls them, on a CPU.

  A thread for each core can then evaluate points of a field. Training keeps JAX's
  queue, by which batches are prepared while a step runs. It has an effect only before
  the first use of a device.
  """
  import jax  # the other functions are called before JAX is imported

  jax.config.update("jax_cpu_enable_async_dispatch", False)


def _processor_key() -> str:
  """A short digest of the processor's architecture and instruction sets."""
  info = pathlib.Path("/proc/cpuinfo")
  lines = info.read_text().splitlines() if info.exists() else []
  flags = next(
    (line for line in lines if line.startswith("flags")), platform.processor()
  )
  key = hashlib.sha256(f"{platform.machine()} {flags}".encode())
  return key.hexdigest()[:12]


def resumes(mode: str | None, source: str | None = None) -> bool:
  """Whether a command, when it is called again, continues where it was interrupted.

  Args:
    mode: a stage, `all` of them, or another use of a network; None for none of these.
    source: what reconstruct reads; of a folder a second call makes the rest.
  """
  if mode == "reconstruct":
    return bool(source) and os.path.isdir(os.path.expanduser(source))
  return mode in RESUMED


def _finish_computations() -> None:
  """Waits for JAX's threads, a step at most; another Ctrl-C ends the wait.

  One that releases an array of Python's while the interpreter ends would abort the
  process, with a core dump.
  """
  jax = sys.modules.get("jax")
  if hasattr(jax, "live_arrays"):  # else the interruption was in the import of JAX
    with contextlib.suppress(KeyboardInterrupt, RuntimeError):
      jax.block_until_ready(jax.live_arrays())


@contextlib.contextmanager
def announced(text: str, seconds: float = 2.0) -> Iterator[None]:
  """Prints what is being done, if the body takes longer than so many seconds."""
  line = functools.partial(print, f"{text} ...", file=sys.stderr, flush=True)
  timer = threading.Timer(seconds, line)
  timer.daemon = True
  timer.start()
  try:
    yield
  finally:
    timer.cancel()


@contextlib.contextmanager
def ending_in_one_sentence(
  *, debug: bool = False, several: bool = False, resumes: bool = True
) -> Iterator[None]:
  """Ends the process in one sentence on what a user can put right.

  A traceback is for bugs. Exit codes: 0 done, 1 an error or Ctrl-C, 75 (try again)
  stopped by SIGTERM in training, with its state saved, 141 the reader of the output has
  gone (as with head).

  Args:
    debug: show the tracebacks of all errors.
    several: the process is one of several, whose collective operations may fail.
    resumes: whether the same command continues where it was interrupted.
  """
  keep_freed_memory()
  enable_compilation_cache()
  try:
    yield
  except command_line.USER_ERRORS as error:
    if debug or command_line.is_of_output(error):
      raise
    sys.exit(f"error: {command_line.describe(error)}")
  except KeyboardInterrupt:
    if not several:  # whose collective operations may wait for those that are gone
      _finish_computations()
    resume = "; run the same command to resume" if resumes else ""
    sys.exit(f"interrupted{resume}")
  except RuntimeError as error:  # of a collective operation
    if not several or debug:
      raise
    reason = str(error).splitlines()[0]
    sys.exit(
      f"error: another process of this run may be gone ({reason}); stop the remaining "
      "processes and start all of them again; they resume"
    )
