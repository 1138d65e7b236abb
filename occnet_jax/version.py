"""The version of the package, which pyproject.toml reads here, and those beside it."""

import importlib.metadata
import platform

__version__ = "0.1.0"


def environment() -> dict[str, str]:
  """Versions of what decides the numbers of a run."""
  names = ("jax", "jaxlib", "flax", "optax", "numpy")
  others = {name: importlib.metadata.version(name) for name in names}
  return {"occnet-jax": __version__, "python": platform.python_version(), **others}
