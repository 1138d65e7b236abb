"""Where compiled functions stay for the next process (host)."""

import hashlib
import importlib.metadata
import os
import pathlib
import platform

VARIABLE = "JAX_COMPILATION_CACHE_DIR"


def keep() -> None:
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
