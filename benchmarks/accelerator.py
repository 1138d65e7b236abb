"""What the devices at hand do: products, decoder, meshes, training steps, in minutes.

  python -m benchmarks.accelerator --minutes=8

Runs on whatever JAX finds, the most telling parts first, until the minutes are over.
Each result is written to --out (JSON) as soon as it is there, with a table at the end,
so that a run that is cut off has lost nothing; parts that did not fit are named.

  products  bare float32 and bfloat16 products, large ones and those of the decoder
  decoder   the reference's decoder at 2^16 points, its values and its gradients
  meshes    clouds to meshes at 64 and 128 cells a side by the network that ships, by
            the host's and by the device's extraction, one by one and several a call
  training  steps of the networks, in float32 and bfloat16, one and eight steps a call;
            random numbers that lie on the device as data; 300,000 steps extrapolated
  loader    batches from the host and from the device, if --data has a prepared set
  torch     the same steps in PyTorch (eager, as its users train), if it is installed

Shares are of the decoder's products in float32. On a CPU use --small.
"""

import argparse
import datetime
import functools
import importlib.util
import json
import pathlib
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import occnet_jax
from benchmarks.decoder import CODE, HIDDEN, LAYERS, chain, seconds
from benchmarks.our_step import make_batch, our_step
from configs import convonet, ifnet, onet
from occnet_jax.cli import process
from occnet_jax.files import atomic_write
from occnet_jax.nn.decoders import CBatchNormDecoder

PAPER_STEPS = 300_000
RECIPES = {
  "onet:pointcloud": functools.partial(onet.get_config, "pointcloud"),
  "convonet:shapenet_3plane": functools.partial(convonet.get_config, "shapenet_3plane"),
  "onet:image": functools.partial(onet.get_config, "image"),
  "onet:voxels": functools.partial(onet.get_config, "voxels"),
  "convonet:shapenet_grid32": functools.partial(convonet.get_config, "shapenet_grid32"),
  "ifnet:shapenetpoints": functools.partial(ifnet.get_config, "shapenetpoints"),
}
Result = dict[str, Any]
Part = tuple[str, Callable[[], Result]]


def measure_products(side: int, precision: str) -> Result:
  """TFLOP/s of a chain of products (rows, side) by (side, side)."""
  rng, rows = np.random.default_rng(0), 16384 if side <= 256 else side
  dtype = jnp.dtype(precision)
  weights = jnp.asarray(rng.normal(size=(LAYERS, side, side)) / side**0.5, dtype)
  x = jnp.asarray(rng.normal(size=(rows, side)), dtype)
  taken = seconds(jax.jit(chain), x, weights, rounds=10)
  return {"tflops": 2e-12 * LAYERS * rows * side**2 / taken}


def measure_decoder(count: int, kind: str) -> Result:
  """Million points a second of the reference's decoder, by one call."""
  net = CBatchNormDecoder(hidden_size=HIDDEN)
  rng = np.random.default_rng(0)
  code = jnp.asarray(rng.normal(size=(1, CODE)), jnp.float32)
  points = jnp.asarray(rng.uniform(-0.5, 0.5, (count, 3)), jnp.float32)
  variables = net.init(jax.random.key(0), points[None, :1], None, code, train=False)

  def value(point: jax.Array) -> jax.Array:
    return net.apply(variables, point[None, None], None, code, train=False)[0, 0]

  function = jax.vmap(value if kind == "values" else jax.grad(value))
  return {"mpoints": 1e-6 * count / seconds(jax.jit(function), points, rounds=10)}


def torus_clouds(count: int) -> list[np.ndarray]:
  """Clouds of 3,000 points on tori of different thickness."""
  rng, clouds = np.random.default_rng(0), []
  for thickness in np.linspace(0.08, 0.16, count):
    around, along = rng.uniform(0, 2 * np.pi, (2, 3000))
    radius = 0.3 + thickness * np.cos(along)
    tube = radius * np.cos(around), radius * np.sin(around), thickness * np.sin(along)
    clouds.append(np.stack(tube, axis=1))
  return clouds


def measure_meshes(resolution: int, backend: str, together: int, shapes: int) -> Result:
  """Shapes a second from clouds to meshes; the second pass, which compiles nothing."""
  model = occnet_jax.from_pretrained("scan")
  clouds = torus_clouds(shapes)
  settings = {
    "resolution_0": 16,
    "upsampling_steps": (resolution // 16).bit_length() - 1,
    "backend": backend,
  }
  for _ in range(2):
    start = time.perf_counter()
    if together > 1:
      meshes = list(model.reconstruct_batch(clouds, together=together, **settings))
    else:
      meshes = [model.reconstruct(cloud, **settings) for cloud in clouds]
    taken = time.perf_counter() - start
  faces = int(statistics.median(len(mesh.faces) for mesh in meshes))
  return {"shapes_per_s": shapes / taken, "faces": faces}


def measure_training(
  recipe: str, shapes: int, precision: str, steps: int, calls: int
) -> Result:
  """Steps a second, share of the products' rate, memory, hours of the paper's run."""
  config = RECIPES[recipe]().to_dict()
  batch = make_batch(config, shapes)
  step = our_step(config, batch, precision=precision, steps=steps)
  step.take(3)
  start = time.perf_counter()
  step.take(calls)
  rate = calls * steps / (time.perf_counter() - start)
  return {
    "batch": shapes,
    "steps_per_s": rate,
    "tflops": 1e-12 * step.operations * rate,
    "gib": step.memory,
    "hours_of_300k": PAPER_STEPS / rate / 3600,
  }


def measure_loader(data: pathlib.Path, placement: str, batch: int) -> Result:
  """Steps a second of the paper's network with batches as they come."""
  from benchmarks import loader  # reads tensorflow-datasets

  args = argparse.Namespace(config="onet:pointcloud", batch=batch, data=data, workers=0)
  settings = loader.configure(args, placement)
  examples = loader.batches_lib.open_train(settings.data)
  split = loader.batches_lib.place_train(settings.data, examples)
  rates = {
    name: loader.train(settings, split, 30, real=real)
    for name, real in (("steps_per_s", True), ("steps_per_s_synthetic", False))
  }
  return {**rates, "share": rates["steps_per_s"] / rates["steps_per_s_synthetic"]}


def measure_torch(task: str, shapes: int, precision: str, calls: int) -> Result:
  """Steps a second of the same network in PyTorch, eager."""
  from benchmarks import train  # PyTorch may not be installed

  config = train.make_config(task)
  batch, narrow = make_batch(config, shapes), precision == "bfloat16"
  take = train.twin(config, batch, compiled=False, narrow=narrow)
  take(3)
  start = time.perf_counter()
  take(calls)
  return {"batch": shapes, "steps_per_s": calls / (time.perf_counter() - start)}


def list_parts(args: argparse.Namespace) -> Iterator[Part]:
  """All measurements, the most telling first."""
  shapes, calls = (2, 1) if args.small else (64, 20)
  precisions = ("float32", "bfloat16")
  for precision in precisions:
    for side in (256,) if args.small else (256, 4096):
      part = functools.partial(measure_products, side, precision)
      yield f"products, {side}, {precision}", part
  count = 2**11 if args.small else 2**16
  for kind in ("values", "gradients"):
    yield (
      f"decoder, {count} points, {kind}",
      functools.partial(measure_decoder, count, kind),
    )
  for resolution in (64,) if args.small else (128, 64):
    for backend in ("host", "device"):
      for together in (1, 2 if args.small else 8):
        number = 2 if args.small else 32
        yield (
          f"meshes, {resolution} cells, {backend}, {together} a call",
          (functools.partial(measure_meshes, resolution, backend, together, number)),
        )
  has_torch = importlib.util.find_spec("torch") is not None
  for recipe in list(RECIPES)[: 1 if args.small else None]:
    task = {"convonet:shapenet_3plane": "planes"}.get(recipe, recipe.split(":")[1])
    for precision in precisions[: 1 if args.small else 2]:
      for steps in (1, 2 if args.small else 8):
        yield (
          f"training, {recipe}, {precision}, {steps} a call",
          functools.partial(
            measure_training, recipe, shapes, precision, steps, max(calls // steps, 1)
          ),
        )
      if has_torch and task in ("planes", "pointcloud", "image", "voxels"):
        yield (
          f"torch, {recipe}, {precision}",
          functools.partial(measure_torch, task, shapes, precision, calls),
        )
  for placement in ("host", "device") if args.data else ():
    yield (
      f"loader, {placement}",
      functools.partial(measure_loader, args.data, placement, shapes),
    )


def describe_machine() -> Result:
  """Devices, versions and date, for the file of results."""
  devices = jax.devices()
  return {
    "devices": f"{len(devices)} x {devices[0].device_kind}",
    "backend": jax.default_backend(),
    "host": platform.processor() or platform.machine(),
    "jax": jax.__version__,
    "occnet_jax": occnet_jax.__version__,
    "date": datetime.date.today().isoformat(),
  }


def format_result(name: str, result: Result) -> str:
  """One line of the table."""
  values = [
    f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}"
    for key, value in result.items()
  ]
  return f"{name:58} {', '.join(values)}"


def main() -> None:
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("--minutes", type=float, default=8.0)
  parser.add_argument("--out", type=pathlib.Path, default="accelerator.json")
  parser.add_argument("--data", type=pathlib.Path, help="a prepared data set")
  parser.add_argument("--parts", default="", help="only those that begin so")
  parser.add_argument("--small", action="store_true", help="sizes for a CPU")
  args = parser.parse_args()
  deadline = time.monotonic() + 60 * args.minutes
  process.keep_freed_memory()
  record: Result = {"machine": describe_machine(), "results": {}, "left_out": []}
  print(format_result("machine", record["machine"]), flush=True)  # noqa: T201
  for name, measure in list_parts(args):
    if not name.startswith(tuple(args.parts.split(","))):
      continue
    if time.monotonic() > deadline:
      record["left_out"].append(name)
    else:
      try:
        result = measure()
      except Exception as error:  # one part must not end the others
        result = {"failed": f"{type(error).__name__}: {error}".splitlines()[0]}
      record["results"][name] = result
      print(format_result(name, result), flush=True)  # noqa: T201
    with atomic_write(args.out) as scratch:
      scratch.write_text(json.dumps(record, indent=1))
  if record["left_out"]:
    print(f"left out, no time: {'; '.join(record['left_out'])}")  # noqa: T201
  print(f"wrote {args.out}")  # noqa: T201


if __name__ == "__main__":
  main()
