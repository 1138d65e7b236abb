"""Offline preparation: mesh files in, a TFDS data set out. Never imports JAX.

The public names load on first use:
  prepare()          a source of meshes -> a data set, also by `python -m data_prep`
  make_watertight()  any triangle mesh in the unit cube -> a trusted solid
"""

import importlib

_PUBLIC = {"prepare": "pipeline.prepare", "make_watertight": "watertight.solid"}
__all__ = ["make_watertight", "prepare"]


def __getattr__(name: str):
  if name in _PUBLIC:
    return getattr(importlib.import_module(f"{__name__}.{_PUBLIC[name]}"), name)
  raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
  return sorted([*globals(), *_PUBLIC])
