"""Checks of the options of a mesh, before a network is loaded for nothing (host)."""

import math
import os
import pathlib

from occnet_jax.geometry import mesh_io

LEAST_FACES = 4  # of a tetrahedron
LIMITS = {  # the least and the most, which take minutes and gigabytes
  "resolution": (8, 2048, "cells along a side"),
  "smooth": (0, 1000, "steps"),
  "faces": (LEAST_FACES, None, "faces"),
  "seed": (0, None, "as the seed of the points drawn"),
  "max-upload": (1, 100_000, "megabytes"),
  "port": (0, 65535, "as the port"),
}
PAGE_SUFFIXES = (".html", ".htm")


def check(preview: str | os.PathLike | None = None, **numbers: int | None) -> None:
  """Raises ValueError for a number that no mesh has, or a page of another suffix.

  Args:
    preview: page to write; None for none.
    **numbers: options of the names in LIMITS; None for those that are left out.
  """
  for name, number in numbers.items():
    option = name.replace("_", "-")
    least, most, unit = LIMITS[option]
    if number is None or (number >= least and (most is None or number <= most)):
      continue
    span = f"{least} or more" if most is None else f"{least} to {most}"
    raise ValueError(f"--{option}={number}; want {span} {unit}")
  if preview and pathlib.Path(preview).suffix.lower() not in PAGE_SUFFIXES:
    raise ValueError(
      f"--preview={preview} is a page for a browser; want a name that ends in .html"
    )


def check_level(level: float | None) -> None:
  """Raises ValueError for a level that no value can reach."""
  if level is not None and not math.isfinite(level):
    raise ValueError(f"--level={level}; want a number, the value at the surface")


def check_target(target: str | os.PathLike, *, texture: bool = False) -> None:
  """Raises ValueError for a file that no mesh, or no texture, can be written to."""
  if pathlib.Path(target).is_dir():
    raise ValueError(f"{target}: is a folder; want a mesh file, as {target}/mesh.glb")
  suffix = mesh_io.check_written_suffix(target)
  if texture and suffix != ".glb":
    raise ValueError(f"--texture: {suffix} has none; want a mesh file with .glb")
