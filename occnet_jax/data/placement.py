"""Where a training split stays: in its files, in host memory or on the device.

  stream   read from the shards whenever a shape comes up, by Grain's threads or worker
           processes
  host     read once into memory, about 1.2 MB a shape of a cloud task
  device   the same, in the device's memory; each of several devices holds all of it.
           What is drawn is sent there, and the step takes the points itself.

All three draw the same numbers on the host, so their batches are equal: stream and host
exactly, device up to the rounding of float32 where noise is added to a point.

Shape letters: s shapes of the split, b shapes of a batch.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import psutil
import tqdm

from occnet_jax.data import transforms
from occnet_jax.data.inputs import Access, Drawn, Example, Observation
from occnet_jax.data.loader import READ_THREADS, Transform, evenly_spaced
from occnet_jax.data.source import Examples
from occnet_jax.types import Batch

PLACEMENTS = ("auto", "stream", "host", "device")
SHARE = 0.4  # of free memory that "auto" fills


class TrainData(NamedTuple):
  """A training split where it stays.

  Attributes:
    examples: of which the loader makes batches, by `transform`.
    transform: (example, generator) -> arrays of one shape.
    resident: arrays on the device, leading axis s, or None.
    gather_fn: (resident, batch) -> batch with points, occupancies and inputs, on the
      device; None where the loader gives these.
    placement: which.
  """

  examples: Examples
  transform: Transform
  resident: Any
  gather_fn: Callable[[Any, Batch], Batch] | None
  placement: str


def place(
  wanted: str, examples: Examples, observation: Observation, settings: dict[str, Any]
) -> TrainData:
  """Brings a split to where it stays.

  Args:
    wanted: one of `RESIDENCES`; "auto" takes the device if it is an accelerator with
      room, else the host's memory if it has room, else the files.
    examples: the split, in its files.
    observation: what the network sees.
    settings: of `transforms.draw_example`.

  Raises:
    ValueError: no such placement, or one that this task cannot have.
  """
  if wanted not in PLACEMENTS:
    raise ValueError(
      f"config.data.placement is {wanted!r}; want one of: {', '.join(PLACEMENTS)}"
    )
  portable = observation.portable and settings.get("sampling") != "equal"
  if wanted == "device" and not portable:
    raise ValueError(
      "config.data.placement is 'device', but images and config.data.sampling='equal' "
      "need the host; set it to host or stream"
    )
  if wanted == "auto":
    wanted = choose_placement(examples, portable)
  feed = TrainData(examples, HostTransform(observation, settings), None, None, wanted)
  if wanted == "stream":
    return feed
  kept = read_all(examples, bool(settings.get("stretch")))
  if wanted == "host":
    return feed._replace(examples=kept)
  outlines, resident = upload(kept)
  return feed._replace(
    examples=outlines,
    transform=DeviceTransform(observation, settings),
    resident=resident,
    gather_fn=lambda arrays, drawn: gather(arrays, drawn, observation),
  )


def choose_placement(examples: Examples, portable: bool) -> str:
  """The nearest place that has room, by the size of some of the examples."""
  looked = [nbytes(examples[int(i)]) for i in evenly_spaced(len(examples), 4)]
  size = np.mean(looked) * len(examples) if looked else 0.0
  device = jax.local_devices()[0]
  if portable and device.platform != "cpu":
    room = (device.memory_stats() or {}).get("bytes_limit", 0)
    if size < SHARE * room:
      return "device"
  free = psutil.virtual_memory().available / jax.local_device_count()
  return "host" if size < SHARE * free else "stream"


def read_all(examples: Examples, stretched: bool) -> list[Example]:
  """All examples; with their extents if they are to be stretched."""

  def one(index: int) -> Example:
    example = examples[index]
    if stretched:
      sides = transforms.extents(example["pointcloud"]["points"])
      example = {**example, "extents": sides}
    return example

  with ThreadPoolExecutor(READ_THREADS) as pool:
    found = pool.map(one, range(len(examples)))
    return list(tqdm.tqdm(found, "read", len(examples), unit="shape", disable=None))


def upload(examples: list[Example]) -> tuple[list[Example], Any]:
  """What draws need of every example, and the arrays (s, ...) on the default device."""
  if not examples:
    raise ValueError("the train split is empty; prepare more shapes")
  apart = ("index", "extents")
  stored = [{k: v for k, v in e.items() if k not in apart} for e in examples]
  forms = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), stored[0])
  resident = jax.tree.map(lambda *each: jnp.asarray(np.stack(each)), *stored)
  few = [{k: v for k, v in e.items() if k in apart} for e in examples]
  return [{**forms, **each} for each in few], resident


def gather(resident: Any, drawn: Drawn, observation: Observation) -> Batch:
  """Takes what was drawn for b shapes from the arrays of all (device)."""

  def one(own: Drawn) -> Batch:
    shape = own["shape"]

    def take(array, rows):
      return array[shape, rows]

    return transforms.apply_draws(resident, own, observation, Access(jnp, take))

  return jax.vmap(one)(drawn)


class HostTransform(NamedTuple):
  """A transform that makes the arrays of a shape (and can be sent to a process)."""

  observation: Observation
  settings: dict[str, Any]

  def __call__(self, example: Example, rng: np.random.Generator) -> Batch:
    return transforms.make_example(
      example, rng, observation=self.observation, **self.settings
    )


class DeviceTransform(NamedTuple):
  """A transform that draws for a shape whose arrays are on the device."""

  observation: Observation
  settings: dict[str, Any]

  def __call__(self, example: Example, rng: np.random.Generator) -> Drawn:
    drawn = transforms.draw_example(
      example, rng, observation=self.observation, **self.settings
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
