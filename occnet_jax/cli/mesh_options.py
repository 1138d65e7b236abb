"""Checks of the options of a mesh, before a network is loaded for nothing (host)."""

import math
import os
import pathlib

from occnet_jax.geometry import mesh_io

LEAST_FACES = 4  # of a tetrahedron
LEAST = {
  "resolution": (1, "cells along a side"),
  "smooth": (0, "steps"),
  "faces": (LEAST_FACES, "faces"),
  "seed": (0, "as the seed of the points drawn"),
}
PAGE_SUFFIXES = (".html", ".htm")


def check(preview: str | os.PathLike | None = None, **numbers: int | None) -> None:
  """Raises ValueError for a number that no mesh has, or a page of another suffix.

  Args:
    preview: page to write; None for none.
    **numbers: options of the names in LEAST; None for those that are left out.
  """
  for name, number in numbers.items():
    least, unit = LEAST[name]
    if number is not None and number < least:
      raise ValueError(f"--{name}={number}; want {least} or more {unit}")
  if preview and pathlib.Path(preview).suffix.lower() not in PAGE_SUFFIXES:
    raise ValueError(
      f"--preview={preview} is a page for a browser; want a name that ends in .html"
    )


def check_level(level: float | None) -> None:
  """Raises ValueError for a level that no value can reach."""
  if level is not None and not math.isfinite(level):
    raise ValueError(f"--level={level}; want a number, the value at the surface")


def check_target(target: str | os.PathLike) -> None:
  """Raises ValueError for a file that no mesh can be written to."""
  if pathlib.Path(target).is_dir():
    raise ValueError(f"{target}: is a folder; want a mesh file, as {target}/mesh.glb")
  mesh_io.check_written_suffix(target)
