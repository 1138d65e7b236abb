"""The record of one extraction: field, level, grid, memory budget and clock (host).

Shape letters: n points, v vertices.
"""

import dataclasses
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from jaxtyping import Float, Shaped

from occnet_jax.extract.field import Field
from occnet_jax.geometry.grids import PADDING, to_coordinates

# JAX evaluates points in float32. On a ball near the cube's corner that places vertices
# to 0.1 % of an edge at 2^13 cells a side, to 0.4 % at 2^16 and to 2 % at 2^18
# (maxima).
MAX_RESOLUTION = 2**16


class Clock:
  """Seconds by stage; a stage within another is not counted twice.

  Attributes:
    seconds: {"seconds_<stage>": time spent in it}.
  """

  def __init__(self):
    stages = ("octree", "evaluate", "roots", "surface", "finish", "refine", "normals")
    self.seconds = {f"seconds_{stage}": 0.0 for stage in stages}

  @contextmanager
  def stage(self, name: str) -> Iterator[None]:
    """Adds the time that the block takes, less that of stages within it."""
    start, inner = time.perf_counter(), sum(self.seconds.values())
    yield
    inner = sum(self.seconds.values()) - inner
    self.seconds[f"seconds_{name}"] += time.perf_counter() - start - inner


@dataclasses.dataclass(frozen=True)
class Extraction:
  """One surface to extract: a field, its level and the grid of the padded cube.

  Attributes:
    field: the field.
    cells: cells a side of the coarse grid.
    steps: number of times that cells at the surface are halved.
    level: value of the field at the surface.
    padding: the cube is [-(1 + padding) / 2, (1 + padding) / 2]^3.
    max_memory: bytes that the grid and the mesh may take; None for any number.
    clock: seconds by stage.
  """

  field: Field
  cells: int
  steps: int
  level: float
  padding: float = PADDING
  max_memory: int | None = None
  clock: Clock = dataclasses.field(default_factory=Clock)

  @property
  def resolution(self) -> int:
    """Cells a side of the finest grid."""
    return self.cells * 2**self.steps

  @property
  def cell_size(self) -> float:
    """Side of a finest cell in cube units."""
    return (1 + self.padding) / self.resolution

  def to_cube(self, points: Shaped[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 3"]:
    """Points in cells of the finest grid -> coordinates in cube units."""
    return to_coordinates(points, self.resolution, self.padding)

  def evaluate(self, points: Shaped[np.ndarray, "n 3"]) -> Float[np.ndarray, " n"]:
    """Values of the field at points in cells of the finest grid."""
    with self.clock.stage("evaluate"):
      return self.field.values(self.to_cube(points))

  def check_budget(self, needed: int) -> None:
    """Raises ValueError if a step needs more bytes than `max_memory` allows."""
    if self.max_memory is not None and needed > self.max_memory:
      raise ValueError(
        f"the next step takes about {needed / 2**20:.0f} MiB and max_memory allows "
        f"{self.max_memory / 2**20:.0f} MiB; raise it, or lower resolution_0 or "
        "upsampling_steps"
      )


def coarse_cells(resolution_0: int, upsampling_steps: int) -> int:
  """Cells a side of the coarse grid that the arguments of `extract_mesh` ask for.

  Raises:
    ValueError: arguments out of range, or a finest grid above `MAX_RESOLUTION`.
  """
  cells = resolution_0 if upsampling_steps else resolution_0 - 1
  if cells < 1 or upsampling_steps < 0:
    raise ValueError(
      f"resolution_0={resolution_0}, upsampling_steps={upsampling_steps}; want "
      "resolution_0 at least 1, or 2 without upsampling, and no negative steps"
    )
  if cells * 2**upsampling_steps > MAX_RESOLUTION:
    raise ValueError(
      f"{cells * 2**upsampling_steps} cells a side; want at most {MAX_RESOLUTION}, "
      "beyond which points in float32 do not resolve an edge: lower resolution_0 or "
      "upsampling_steps"
    )
  return cells
