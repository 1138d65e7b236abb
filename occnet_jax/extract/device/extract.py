"""Extraction by a compiled program in place of the host's stages (host).

Shape letters: v vertices, f faces.
"""

import jax
import numpy as np
from jaxtyping import Float, Int

from occnet_jax.extract.device.level_set import LevelSet, Plan, program
from occnet_jax.extract.extraction import Extraction
from occnet_jax.extract.field import Field, JaxField
from occnet_jax.extract.grid.mise import SplitRule

BACKENDS = ("auto", "host", "device")
METHODS = ("mise_roots", "mise")  # those that there is a program for
MAX_RESOLUTION = 256  # cells a side: a table of float32 takes 68 MB
TABLE_BYTES = 50  # at most, for each point of the grid, by XLA's account: 44 to 49
# Backends of JAX on which the program was measured to be faster than the host.
FASTER_ON = ()

_sizes: dict[int, int] = {}  # by resolution, the longest list so far: only saves time

DeviceMesh = tuple[
  Float[np.ndarray, "v 3"],
  Int[np.ndarray, "f 3"],
  dict[str, int | float],
  Float[np.ndarray, "v 3"],
]


def choose_backend(backend: str, field: Field, method: str, resolution: int) -> str:
  """ "host" or "device", where "auto" takes what was measured to be faster.

  Raises:
    ValueError: another name, or "device" where there is no program for it.
  """
  check_backend(backend)
  obstacles = {
    f"a field of type {type(field).__name__}, which JAX cannot trace": not isinstance(
      field, JaxField
    ),
    f"method={method!r}": method not in METHODS,
    f"{resolution} cells a side, above {MAX_RESOLUTION}": resolution > MAX_RESOLUTION,
  }
  obstacle = next((name for name, there in obstacles.items() if there), None)
  if backend == "device" and obstacle:
    raise ValueError(
      f"backend='device' with {obstacle}; want backend='host', or 'auto'"
    )
  if backend == "auto":
    faster = jax.default_backend() in FASTER_ON and not obstacle
    return "device" if faster else "host"
  return backend


def check_backend(backend: str) -> None:
  """Raises ValueError for a name that is none of `BACKENDS`."""
  if backend not in BACKENDS:
    raise ValueError(f"backend={backend!r}; want one of {', '.join(BACKENDS)}")


def triangulate_level_set(
  run: Extraction, method: str, split_rule: SplitRule | None
) -> DeviceMesh | None:
  """Vertices in finest cells, faces, facts for the metadata, and the field's gradients.

  None where a value of the field is not finite; the host then finds where.
  """
  run.check_budget(TABLE_BYTES * (run.resolution + 3) ** 3)
  result = run_program(run, method, split_rule)
  low, high = result.value_range.tolist()
  if not np.isfinite([low, high]).all():
    return None
  vertices, faces = int(result.vertex_count), int(result.triangle_count)
  gradients = result.gradients[:vertices]
  facts = {
    "resolution": run.resolution,
    "evaluations": int(result.evaluations),
    "value_min": low,
    "value_max": high,
    "faces_extracted": faces,
  }
  return (
    result.vertices[:vertices].astype(np.float64),
    result.triangles[:faces].astype(np.int64),
    facts,
    np.where(np.isfinite(gradients).all(1, keepdims=True), gradients, 0),
  )


def run_program(run: Extraction, method: str, split_rule: SplitRule | None) -> LevelSet:
  """The level set in arrays of NumPy, by lists that are long enough."""
  size = _sizes.get(run.resolution) or power_of_two(2 * run.resolution**2)
  while True:
    plan = Plan(
      run.cells,
      run.steps,
      run.padding,
      method == "mise_roots",
      split_rule,
      run.field.points_per_batch,
      size,
    )
    result = run.field.run(program(plan), np.float32(run.level))
    longest = int(result.longest)
    if longest <= size:
      _sizes[run.resolution] = size
      return result
    size = power_of_two(longest)


def power_of_two(count: int) -> int:
  """The least power of two that is no less, so that few programs are compiled."""
  return 2 ** (count - 1).bit_length()
