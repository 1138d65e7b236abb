"""Placement of the training split: in its files, in host memory or on the device.

  stream   read from the shards whenever a shape comes up, by Grain's threads or worker
           processes
  host     read once into memory, about 1.2 MB per shape of a point-cloud task
  device   read once into the device's memory; each of several devices holds all of it.
           The loader sends random draws only, and the step gathers the points.

All three draw the same numbers on the host, so their batches are equal: stream and host
exactly, device up to the rounding of float32 where noise is added to a point.

Shape letters: s shapes of the split, b shapes of a batch.
"""

import hashlib
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import tqdm
from jax.experimental import multihost_utils
from jaxtyping import Int

from occnet_jax.data import host_memory, transforms
from occnet_jax.data.inputs import Access, Drawn, Example, Observation
from occnet_jax.data.loader import READ_THREADS, Transform, evenly_spaced
from occnet_jax.data.source import Examples
from occnet_jax.data.transforms import Draws
from occnet_jax.types import Batch

PLACEMENTS = ("auto", "stream", "host", "device")
SHARE = 0.4  # largest share of the free memory that "auto" fills
APART = ("index", "extents")  # entries of an example that the draws read on the host


class TrainData(NamedTuple):
  """A training split and the functions that make batches of it.

  Attributes:
    examples: the examples that the loader draws from, by `transform`.
    transform: (example, generator) -> arrays of one shape.
    device_arrays: all examples' arrays on the device, leading axis s, or None.
    gather_fn: (device_arrays, batch of draws) -> batch with points, occupancies and
      inputs, on the device; None where the loader yields these.
    placement: "stream", "host" or "device".
    epoch: indices of the examples in an epoch, some of them several times; None for
      each once.
  """

  examples: Examples
  transform: Transform
  device_arrays: Any
  gather_fn: Callable[[Any, Batch], Batch] | None
  placement: str
  epoch: Int[np.ndarray, " e"] | None = None


def place(
  placement: str, examples: Examples, observation: Observation, draws: Draws
) -> TrainData:
  """Loads a split to where it is kept.

  Args:
    placement: one of `PLACEMENTS`; "auto" takes the device if that is an accelerator
      with room, else the host's memory if it has room, else the files.
    examples: the split, in its files.
    observation: the input that the network observes.
    draws: settings of the random draws.

  Raises:
    ValueError: an unknown placement or sampling, a placement that this task cannot
      have, or examples of unequal shapes for the device.
  """
  for name, value, choices in (
    ("placement", placement, PLACEMENTS),
    ("sampling", draws.sampling, transforms.SAMPLINGS),
  ):
    if value not in choices:
      raise ValueError(
        f"config.data.{name} is {value!r}; want one of: {', '.join(choices)}"
      )
  on_host = draws.sampling == "equal" or draws.window is not None
  runs_on_device = observation.runs_on_device and not on_host
  if placement == "device" and not runs_on_device:
    raise ValueError(
      "config.data.placement is 'device', but images, config.data.sampling='equal' and "
      "config.data.crop need the host; set it to host or stream"
    )
  if placement == "auto":
    placement = choose_placement(examples, runs_on_device)
  transform, stretched = HostTransform(observation, draws), draws.stretch > 0
  if placement == "stream":
    return TrainData(examples, transform, None, None, placement)
  if placement == "host":
    return TrainData(read_all(examples, stretched), transform, None, None, placement)
  outlines, arrays = read_stacked(examples, stretched)
  return TrainData(
    examples=outlines,
    transform=DeviceTransform(observation, draws),
    device_arrays=jax.tree.map(jnp.asarray, arrays),
    gather_fn=lambda arrays, drawn: gather(arrays, drawn, observation),
    placement=placement,
  )


def choose_placement(examples: Examples, runs_on_device: bool) -> str:
  """The nearest place that has room, by the mean size of four of the examples."""
  sizes = [nbytes(examples[int(i)]) for i in evenly_spaced(len(examples), 4)]
  size = np.mean(sizes) * len(examples) if sizes else 0.0
  device = jax.local_devices()[0]
  if runs_on_device and device.platform != "cpu":
    room = (device.memory_stats() or {}).get("bytes_limit", 0)
    if size < SHARE * room:
      return "device"
  # Every process on this machine reads the split into a memory of its own.
  free = host_memory.available() / _processes_on_host()
  return "host" if size < SHARE * free else "stream"


def _processes_on_host() -> int:
  """Number of the run's processes that share this machine's memory."""
  if jax.process_count() == 1:
    return 1
  name = hashlib.sha256(socket.gethostname().encode()).digest()
  own = np.frombuffer(name[:4], np.uint32)
  return int((np.asarray(multihost_utils.process_allgather(own)) == own).sum())


def read_all(examples: Examples, stretched: bool) -> list[Example]:
  """All examples; with their extents if they are to be stretched."""
  read: list[Any] = [None] * len(examples)

  def load(index: int) -> None:
    read[index] = _read(examples, index, stretched)

  _in_threads(load, len(examples))
  return read


def read_stacked(examples: Examples, stretched: bool) -> tuple[list[Example], Any]:
  """Reads all examples into arrays of all, which hold the split once.

  Returns:
    for each example shapes and types in place of its arrays, beside its index and
    extents, which is all that draws read; and the arrays (s, ...).

  Raises:
    ValueError: there is no example, or one has an array of another shape.
  """
  if not len(examples):
    raise ValueError("the train split is empty; prepare more shapes")
  first = _without(_read(examples, 0, stretched), APART)
  specs = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), first)
  stacked = jax.tree.map(lambda x: np.empty((len(examples), *x.shape), x.dtype), specs)
  outlines: list[Any] = [None] * len(examples)

  def load(index: int) -> None:
    example = _read(examples, index, stretched)
    outlines[index] = {**specs, **{k: v for k, v in example.items() if k in APART}}
    jax.tree_util.tree_map_with_path(
      lambda path, whole, array: _put(whole, array, index, path),
      stacked,
      _without(example, APART),
    )

  _in_threads(load, len(examples))
  return outlines, stacked


def _put(whole: np.ndarray, array: np.ndarray, index: int, path: Any) -> None:
  if array.shape != whole.shape[1:]:
    name = "/".join(str(key.key) for key in path)
    raise ValueError(
      f"shape {index} of the train split has {name} of shape {array.shape} and shape 0 "
      f"of {whole.shape[1:]}, but config.data.placement='device' needs equal ones; set "
      "it to host or stream, or prepare the data again"
    )
  whole[index] = array


def _without(example: Example, names: tuple[str, ...]) -> Example:
  return {name: value for name, value in example.items() if name not in names}


def _read(examples: Examples, index: int, stretched: bool) -> Example:
  example = examples[index]
  if stretched:
    sides = transforms.extents(example["pointcloud"]["points"])
    example = {**example, "extents": sides}
  return example


def _in_threads(load: Callable[[int], None], count: int) -> None:
  """Calls `load` with 0 to count - 1; after an error no other call begins."""
  failed = threading.Event()

  def load_unless_failed(index: int) -> None:
    if not failed.is_set():
      try:
        load(index)
      except BaseException:
        failed.set()
        raise

  pool = ThreadPoolExecutor(READ_THREADS)
  try:
    calls = pool.map(load_unless_failed, range(count))
    for _ in tqdm.tqdm(calls, "read", count, unit="shape", disable=None):
      pass
  finally:
    pool.shutdown(cancel_futures=True)


def gather(device_arrays: Any, drawn: Drawn, observation: Observation) -> Batch:
  """Applies the draws of b shapes to the arrays of all shapes (device)."""

  def gather_shape(own: Drawn) -> Batch:
    shape = own["shape"]

    def take(array, rows):
      return array[shape, rows]

    return transforms.apply_draws(device_arrays, own, observation, Access(jnp, take))

  return jax.vmap(gather_shape)(drawn)


class HostTransform(NamedTuple):
  """A transform that makes the arrays of a shape; it can be sent to a process."""

  observation: Observation
  draws: Draws

  def __call__(self, example: Example, rng: np.random.Generator) -> Batch:
    return transforms.make_example(
      example, rng, observation=self.observation, draws=self.draws
    )


class DeviceTransform(NamedTuple):
  """A transform that draws for a shape whose arrays are on the device."""

  observation: Observation
  draws: Draws

  def __call__(self, example: Example, rng: np.random.Generator) -> Drawn:
    drawn = transforms.draw_example(
      example, rng, observation=self.observation, draws=self.draws
    )
    return {**drawn, "shape": np.int32(example["index"])}


def nbytes(example: Any) -> int:
  """Bytes of the arrays and strings in an example."""
  if isinstance(example, dict):
    return sum(map(nbytes, example.values()))
  if isinstance(example, bytes):
    return len(example)
  array = np.asarray(example)
  return sum(map(len, array.flat)) if array.dtype.hasobject else array.nbytes
