"""Occupancy Networks in JAX: functions f(points, observation) -> occupancy logit.

The public names load on first use, so that the import itself is quick, prints nothing
and pulls JAX in only where it is needed (data preparation runs without it).
"""

import importlib

from occnet_jax.version import __version__

_PUBLIC = {
  "restore": "api",
  "from_pretrained": "api",
  "read_cloud": "api",
  "read_mesh": "api",
  "read_scan": "api",
  "read_volume": "api",
  "write_mesh": "api",
  "Model": "api",
  "extract_mesh": "extract.pipeline",
  "audit": "extract.certify.audit",
}
__all__ = ["__version__", *sorted(_PUBLIC)]


def __getattr__(name: str):
  if name in _PUBLIC:
    return getattr(importlib.import_module(f"{__name__}.{_PUBLIC[name]}"), name)
  raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
  return sorted([*globals(), *_PUBLIC])
