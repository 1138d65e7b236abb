"""Uploads, each read in a process of its own that can be ended (host).

A file of a stranger may crash a parser, make it loop, or ask for all memory. So it is
read by a process with limits of its own, a copy (fork) of one that has imported the
readers, which takes seconds, and does nothing else:

  python -P -m occnet_jax.cli.demo.reading

It takes a line of JSON for each file, and answers with a line: the exit code of the
copy, and the sentence of a file that cannot be used.
"""

import atexit
import contextlib
import json
import os
import pathlib
import resource
import signal
import subprocess
import sys
import threading
from typing import Any, NoReturn

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


class _Readers:
  """The process that has imported the readers; started when it is needed."""

  def __init__(self):
    self._lock = threading.Lock()
    self._process: subprocess.Popen | None = None

  def ask(self, request: dict[str, Any]) -> tuple[int, str]:
    """Exit code and sentence of the reading of one file; requests wait in turn."""
    with self._lock:
      if self._process is None or self._process.poll() is not None:
        self._start()
      try:
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        code, sentence = json.loads(self._process.stdout.readline())
      except (OSError, ValueError):  # it was ended: the next file starts another
        self.close()
        code, sentence = -signal.SIGKILL, ""
      return code, sentence

  def _start(self) -> None:
    self.close()
    self._process = subprocess.Popen(
      [sys.executable, "-P", "-m", __name__],
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      stderr=subprocess.DEVNULL,
      text=True,
      env={**os.environ, "PYTHONPATH": str(_IMPORTED_FROM)},
      start_new_session=True,  # so that it can be ended with its copy
    )

  def close(self) -> None:
    """Ends it, and a copy that reads a file."""
    if self._process is not None:
      with contextlib.suppress(ProcessLookupError):
        os.killpg(self._process.pid, signal.SIGKILL)
      self._process.communicate()
      self._process = None


_readers = _Readers()
atexit.register(_readers.close)


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
  request = {
    "kind": kind,
    "shape": shape,
    "source": str(path),
    "target": str(target),
    "seconds": seconds,
  }
  code, sentence = _readers.ask(request)
  if code == -signal.SIGALRM:
    raise ValueError(
      f"{path.name}: not read within {seconds:.0f} s; want a smaller file"
    )
  if code == _UNUSABLE:
    raise ValueError(sentence.replace(f"{path.parent}/", ""))
  if code:
    raise ValueError(
      f"{path.name}: reading it ended with code {code}, so it is damaged or too large; "
      "want a file that other programs read"
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


def serve() -> None:
  """Reads the files of standard input, a copy of this process each."""
  signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal: the parent ends this
  for line in sys.stdin:
    request = json.loads(line)
    said, says = os.pipe()
    if (copy := os.fork()) == 0:
      os.close(said)
      _read_as_copy(request, says)
    os.close(says)
    with open(said, encoding="utf-8", errors="replace") as stream:
      sentence = stream.read()
    code = os.waitstatus_to_exitcode(os.waitpid(copy, 0)[1])
    print(json.dumps([code, sentence]), flush=True)  # noqa: T201


def _read_as_copy(request: dict[str, Any], says: int) -> NoReturn:
  """Reads one file within its limits, and ends the process."""
  code = 1
  try:
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1):  # where the next request and the answer are
      os.dup2(nothing, stream)
    # The default of the signal ends the process, in the code of a library as well.
    signal.setitimer(signal.ITIMER_REAL, request["seconds"])
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    sentence = _read_one(request)
    os.write(says, sentence.encode(errors="replace"))
    code = _UNUSABLE if sentence else 0
  finally:
    os._exit(code)


def _read_one(request: dict[str, Any]) -> str:
  """Writes the arrays of a file; a sentence if it cannot be used."""
  path, target = pathlib.Path(request["source"]), request["target"]
  item = user_inputs.InputItem(path.name, path.stem, [path], [])
  try:
    if request["kind"] == VOLUME:
      observed = volumes.read_volume(path)
    else:
      shape = tuple(request["shape"])
      observed = user_inputs.read_item(item, request["kind"], shape)
  except (ValueError, OSError) as error:
    return " ".join(str(error).split())
  except MemoryError:
    return f"{path.name}: takes more memory than there is for a file"
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
  return ""


if __name__ == "__main__":
  serve()
