"""Uploads, read in a process that can be ended (host).

python -m occnet_jax.cli.demo.reading KIND SHAPE FILE ARRAYS.npz

A file of a stranger may crash a parser, make it loop, or ask for all memory. The
process has limits of its own; it prints one sentence if the file cannot be used.
"""

import json
import os
import pathlib
import resource
import subprocess
import sys
from collections.abc import Sequence

import numpy as np
from jaxtyping import Shaped

from occnet_jax.data import user_inputs
from occnet_jax.data.user_grids import PlacedGrid
from occnet_jax.geometry import volumes
from occnet_jax.geometry.colours import Cloud
from occnet_jax.geometry.volumes import Volume

SECONDS = 60.0  # for a file, which may have millions of points
MEMORY = 6 * 2**30  # bytes of address space
_IMPORTED_FROM = pathlib.Path(__file__).resolve().parents[3]
VOLUME, VALUES = "volume", "values.npy"
_UNUSABLE = 3  # exit code of a file that was refused with a sentence


def read(
  path: pathlib.Path,
  kind: str,
  shape: tuple[int, ...],
  seconds: float = SECONDS,
) -> Shaped[np.ndarray, "..."] | Cloud | PlacedGrid | Volume:
  """What is in an uploaded file, as `user_inputs.read_item` or `read_volume` reads it.

  The values of a volume stay on the disk, in a file of the folder.

  Args:
    path: the file, alone in its folder, to which arrays are written as well.
    kind: kind of the network's inputs, or `VOLUME`.
    shape: shape of the inputs of one object.
    seconds: time after which the process is ended.

  Raises:
    ValueError: a file that cannot be used, or whose reading crashed or took too long.
  """
  target = path.with_name("read.npz")
  command = [sys.executable, "-P", "-m", __name__, kind, json.dumps(shape)]
  environment = {**os.environ, "PYTHONPATH": str(_IMPORTED_FROM)}
  try:
    done = subprocess.run(
      [*command, str(path), str(target)],
      capture_output=True,
      text=True,
      errors="replace",
      env=environment,
      timeout=seconds,
    )
  except subprocess.TimeoutExpired as error:
    raise ValueError(
      f"{path.name}: not read within {seconds:.0f} s; want a smaller file"
    ) from error
  if done.returncode == _UNUSABLE:
    raise ValueError(done.stdout.strip().replace(f"{path.parent}/", ""))
  if done.returncode:
    raise ValueError(
      f"{path.name}: reading it ended with code {done.returncode}, so it is damaged or "
      "too large; want a file that other programs read"
    )
  with np.load(target, allow_pickle=False) as file:
    arrays = dict(file)
  if kind == VOLUME:
    values = np.load(path.with_name(VALUES), mmap_mode="r", allow_pickle=False)
    return Volume(values, arrays["affine"])
  if "grid" in arrays:
    return PlacedGrid(arrays["grid"], arrays["loc"], float(arrays["scale"]))
  if "array" in arrays:
    return arrays["array"]
  points, colours, normals = map(arrays.get, ("points", "colours", "normals"))
  return Cloud(points, colours, normals=normals)


def main(argv: Sequence[str]) -> None:
  """Reads one file within the limits of memory."""
  kind, shape, source, target = argv
  resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
  path = pathlib.Path(source)
  item = user_inputs.InputItem(path.name, path.stem, [path], [])
  try:
    if kind == VOLUME:
      observed = volumes.read_volume(path)
    else:
      observed = user_inputs.read_item(item, kind, tuple(json.loads(shape)))
  except (ValueError, OSError) as error:
    print(" ".join(str(error).split()))  # noqa: T201
    sys.exit(_UNUSABLE)
  except MemoryError:
    print(f"{path.name}: takes more memory than there is for a file")  # noqa: T201
    sys.exit(_UNUSABLE)
  if isinstance(observed, Volume):
    np.save(path.with_name(VALUES), observed.values)
    np.savez(target, affine=observed.affine)
  elif isinstance(observed, PlacedGrid):
    np.savez(target, **observed._asdict())
  elif not isinstance(observed, Cloud):
    np.savez(target, array=observed)
  else:
    arrays = {
      name: getattr(observed, name) for name in ("points", "colours", "normals")
    }
    np.savez(target, **{name: x for name, x in arrays.items() if x is not None})


if __name__ == "__main__":
  main(sys.argv[1:])
