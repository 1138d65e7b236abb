"""Process settings: memory allocation and the compilation cache (host)."""

import ctypes
import hashlib
import importlib.metadata
import os
import pathlib
import platform

# Names of mallopt's, from malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8


_NEVER = -1  # a threshold that no size reaches


def keep_freed_memory() -> None:
  """Lets this process keep what it frees for what comes, whatever thread asks.

  By default glibc hands the buffers of a training step back to the system, which clears
  them anew, page by page, for the next one: a fifth of the time of a large step on two
  CPU cores. All threads share one heap, because no other may grow as large as such
  a buffer. Other C libraries are left as they are.
  """
  if platform.libc_ver()[0] == "glibc":
    mallopt = ctypes.CDLL(None).mallopt
    mallopt(_MMAP_THRESHOLD, _NEVER)
    mallopt(_TRIM_THRESHOLD, _NEVER)
    mallopt(_ARENA_MAX, 1)


VARIABLE = "JAX_COMPILATION_CACHE_DIR"


def enable_compilation_cache() -> None:
  """Has JAX keep what it compiles, in ~/.cache/occnet-jax; before JAX is imported.

  A run that resumes then begins in seconds. The directory is one for this version of
  JAX's compiler and this kind of processor, whose instructions the code may use. Who
  sets JAX_COMPILATION_CACHE_DIR chooses for himself; empty, nothing is kept.
  """
  if VARIABLE in os.environ:
    return
  info = pathlib.Path("/proc/cpuinfo")
  lines = info.read_text().splitlines() if info.exists() else []
  kind = next(
    (line for line in lines if line.startswith("flags")), platform.processor()
  )
  key = hashlib.sha256(f"{platform.machine()} {kind}".encode()).hexdigest()[:12]
  version = importlib.metadata.version("jaxlib")
  home = pathlib.Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser()
  path = home / "occnet-jax" / f"jaxlib-{version}-{key}"
  try:
    path.mkdir(parents=True, exist_ok=True)
  except OSError:  # a home that cannot be written; then every process compiles
    return
  os.environ[VARIABLE] = str(path)
