"""Training steps per second, compared with the same networks in PyTorch.

  pip install torch
  python -m benchmarks.train

Networks and batches of the reference's size (configs/onet.py:pointcloud, image, voxels,
and planes, configs/convonet.py:shapenet_3plane; random numbers as data), with Adam and
the whole step: forward, backward, update. PyTorch runs eagerly and by torch.compile, in
float32 and with bfloat16 products (torch.autocast). A CPU without such products takes
minutes for a step: --precisions=float32. Every variant has a process of its own; they
take turns, --rounds times, with --steps steps after two that compile and warm up;
medians of all. Ours keeps the memory that it frees, as main.py sets it; PyTorch runs
plain, and with the same setting ("kept").

CPU seconds are those of all cores together.

"ours, remat" has train.remat: the decoder's blocks are computed twice. Memory is what
XLA plans for the values of a step, without state and batch.

Operations are those that XLA counts in our step. The ceiling is the rate of a chain of
float32 products of (4096, 256) by (256, 256); shares are relative to it. PyTorch's step
takes more operations than ours: it multiplies the pooled half of PointNet's inputs for
every point, ours once per shape.
"""

import argparse
import multiprocessing
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch

from benchmarks import record, torch_convonet, torch_models
from benchmarks.decoder import chain, seconds
from benchmarks.our_step import Step, make_batch, our_step
from benchmarks.torch_convonet import ConvolutionalOccupancyNetwork
from benchmarks.torch_models import OccupancyNetwork
from configs import convonet, onet
from occnet_jax.cli import process

RUNS = 3
TASKS = ("pointcloud", "image", "voxels", "planes")
OURS = ("ours", "ours, remat")
KINDS = ("eager", "compiled", "eager, kept", "compiled, kept")


def make_config(task: str) -> dict[str, Any]:
  is_local = task == "planes"
  config = convonet.get_config() if is_local else onet.get_config(task)
  return config.to_dict()


def twin(config: dict, batch: dict, *, compiled: bool, narrow: bool) -> Step:
  """PyTorch's step, on a GPU where there is one, with TF32 products as JAX has them."""
  device = "cuda" if torch.cuda.is_available() else "cpu"
  torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
  is_local = config["model"]["name"] == "convonet"
  network = ConvolutionalOccupancyNetwork if is_local else OccupancyNetwork
  net = network(config["model"]).train().to(device)
  optimizer = torch.optim.Adam(net.parameters(), lr=1e-4)
  points, occupancies, inputs = (
    torch.tensor(batch[name], device=device)
    for name in ("points", "occupancies", "inputs")
  )
  if inputs.shape[-1] == 3 and inputs.ndim == 4:
    inputs = inputs.permute(0, 3, 1, 2).contiguous()

  def loss_of() -> torch.Tensor:
    with torch.autocast(device, torch.bfloat16, enabled=narrow):
      logits = net(points, inputs)
    entropy = torch.nn.functional.binary_cross_entropy_with_logits
    return entropy(logits.float(), occupancies, reduction="none").sum(-1).mean()

  forward = torch.compile(loss_of) if compiled else loss_of

  def take(count: int) -> None:
    for _ in range(count):
      optimizer.zero_grad()
      forward().backward()
      optimizer.step()
    if device == "cuda":
      torch.cuda.synchronize()

  return take


def ceiling() -> float:
  """Operations a second of bare float32 products."""
  rng = np.random.default_rng(0)
  weights = jnp.asarray(rng.normal(size=(10, 256, 256)) / 16, jnp.float32)
  x = jnp.asarray(rng.normal(size=(4096, 256)), jnp.float32)
  return 20 * 4096 * 256**2 / seconds(jax.jit(chain), x, weights, rounds=20)


def _time(
  task: str, shapes: int, way: str, steps: int
) -> tuple[list[tuple[float, float]], float, float]:
  """Seconds and CPU seconds a step in three runs of one way; ours' operations, memory.

  A run waits for its last step alone, as training does: a GPU works on a step while the
  next is prepared.
  """
  name, *kind, precision = way.split(", ")
  config = make_config(task)
  batch, counted, memory = make_batch(config, shapes), 0.0, 0.0
  if name == "ours" or "kept" in kind:
    process.keep_freed_memory()
  if name == "ours":
    remat = "remat" in kind
    step, counted, memory = our_step(config, batch, remat=remat, precision=precision)
  else:
    narrow = precision == "bfloat16"
    step = twin(config, batch, compiled="compiled" in kind, narrow=narrow)
  step(2 if jax.default_backend() == "cpu" else 10)  # compiles and warms up
  taken = []
  for _ in range(RUNS):
    start, used = time.perf_counter(), time.process_time()
    step(steps)
    used = (time.process_time() - used) / steps
    taken.append(((time.perf_counter() - start) / steps, used))
  return taken, counted, memory


def _alone(function: Callable, *args) -> Any:
  """function(*args) in a process of its own."""
  context = multiprocessing.get_context("spawn")
  with ProcessPoolExecutor(1, mp_context=context) as pool:
    return pool.submit(function, *args).result()


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--tasks", default=",".join(TASKS))
  parser.add_argument("--batch", type=int, default=64)
  parser.add_argument("--steps", type=int, default=1, help="of each run")
  parser.add_argument("--rounds", type=int, default=2)
  parser.add_argument("--precisions", default="float32,bfloat16")
  args = record.parse(parser)
  torch_models.check_recorded()
  torch_convonet.check_recorded()
  products = _alone(ceiling)
  print(f"bare products: {products / 1e9:.0f} GFLOP/s", flush=True)  # noqa: T201
  ways = [
    f"{way}, {precision}"
    for precision in args.precisions.split(",")
    for way in (*OURS, *(f"PyTorch, {kind}" for kind in KINDS))
  ]
  rows = []
  for task in args.tasks.split(","):
    taken: dict[str, list[tuple[float, float]]] = {}
    counted, memory = 0.0, {}
    for _ in range(args.rounds):
      for way in ways:
        try:
          result = _alone(_time, task, args.batch, way, args.steps)
        except (RuntimeError, ValueError) as error:  # what a way cannot do
          reason = str(error).splitlines()[0]
          print(f"{task:11} {way:32} failed: {reason}", flush=True)  # noqa: T201
          continue
        taken.setdefault(way, []).extend(result[0])
        memory[way] = result[2]
        if way.startswith("ours"):
          counted = counted or result[1]  # what is computed twice counts once
    seconds, used = (
      {way: statistics.median(pair[k] for pair in each) for way, each in taken.items()}
      for k in range(2)
    )
    peers = {w: s for w, s in seconds.items() if "PyTorch" in w and "float32" in w}
    plain = min(s for way, s in peers.items() if "kept" not in way)
    best = min(peers.values())
    for way, each in seconds.items():
      share = ""
      if way.startswith("ours"):
        share = f", {counted / each / products:.2f} of bare products"
        share += f", {memory[way]:.1f} GiB"
      if jax.default_backend() == "cpu":
        share += f", {used[way] / args.batch:.3f} CPU s a shape"
      rows.append(
        {
          "task": task,
          "way": way,
          "steps/s": 1 / each,
          "times plain PyTorch": plain / each,
          "times its best": best / each,
          "CPU s a shape": used[way] / args.batch,
          "GiB": memory[way] if way.startswith("ours") else None,
        }
      )
      print(  # noqa: T201
        f"{task:11} {way:32} {1 / each:7.3f} steps/s {plain / each:5.2f} times plain "
        f"PyTorch, {best / each:5.2f} times its best{share}",
        flush=True,
      )
  record.save(args, training=rows, products=[{"bare GFLOP/s": products / 1e9}])


if __name__ == "__main__":
  main()
