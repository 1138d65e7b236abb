"""Training steps a second beside the same networks in PyTorch, in one run.

  pip install torch
  python -m benchmarks.train --batch=64

Networks and batches of the reference's size (configs/onet.py:pointcloud, image, voxels;
random numbers for data), Adam, the whole step: forward, backward, update. PyTorch:
eager and torch.compile, in float32 and with bfloat16 products (torch.autocast; a CPU
that has none takes minutes a step: --precisions=float32). All take turns, --rounds
times after one that compiles; medians. Operations are those that XLA counts in our
step; the ceiling is a chain of float32 products of (4096, 256) by (256, 256) in the
same process, so a share says how much of it a whole step reaches. PyTorch's step takes
more operations than ours: the pooled half of PointNet's inputs is multiplied there for
every point, here once a shape.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import torch

from benchmarks.decoder import chain, seconds
from benchmarks.torch_models import OccupancyNetwork, check_recorded
from configs import onet
from occnet_jax import allocator
from occnet_jax.data import observations
from occnet_jax.models import registry
from occnet_jax.train import state as state_lib
from occnet_jax.train import step as step_lib

TASKS = ("pointcloud", "image", "voxels")
Step = Callable[[], None]  # takes one, and waits for it


def make_batch(config: dict, shapes: int) -> dict[str, np.ndarray]:
  rng = np.random.default_rng(0)
  form = observations.make(config["data"]).form
  count = config["data"]["points"]
  inputs = rng.uniform(0, 1, (shapes, *form.shape))
  return {
    "points": rng.uniform(-0.55, 0.55, (shapes, count, 3)).astype(np.float32),
    "occupancies": rng.integers(0, 2, (shapes, count)).astype(np.float32),
    "inputs": (inputs > 0.5 if form.ndim == 3 and form.shape[2] > 3 else inputs).astype(
      np.float32
    ),
  }


def ours(config: dict, batch: dict, precision: str) -> tuple[Step, float]:
  """Our step, and the operations in it."""
  build = {"tau": 0.2, "axis_name": step_lib.AXIS, "precision": precision}
  optimizer = registry.optimizer(config["optim"], config["train"]["steps"])
  method = registry.build(config["model"], **build)
  plain = registry.build(config["model"], tau=0.2)
  state = state_lib.create(plain, optimizer, batch, seed=0, ema=False)
  mapped = step_lib.data_parallel(step_lib.make_step(method, optimizer))
  split = step_lib.split_over_devices(batch, jax.local_device_count())
  alone = step_lib.make_step(plain, optimizer)
  counted = jax.jit(alone).lower(state, batch, 0).cost_analysis()["flops"]
  kept = {"state": step_lib.place(state), "number": 0}

  def take() -> None:
    state, scalars = mapped(kept["state"], split, np.int32(kept["number"]), None)
    kept.update(state=state, number=kept["number"] + 1)
    jax.block_until_ready((state, scalars))

  return take, float(counted)


def twin(config: dict, batch: dict, *, compiled: bool, narrow: bool) -> Step:
  """PyTorch's step."""
  net = OccupancyNetwork(config["model"]).train()
  optimizer = torch.optim.Adam(net.parameters(), lr=1e-4)
  points, occupancies, inputs = (
    torch.tensor(batch[name]) for name in ("points", "occupancies", "inputs")
  )
  if inputs.shape[-1] == 3 and inputs.ndim == 4:
    inputs = inputs.permute(0, 3, 1, 2).contiguous()

  def loss_of() -> torch.Tensor:
    with torch.autocast("cpu", torch.bfloat16, enabled=narrow):
      logits = net(points, inputs)
    entropy = torch.nn.functional.binary_cross_entropy_with_logits
    return entropy(logits.float(), occupancies, reduction="none").sum(-1).mean()

  forward = torch.compile(loss_of) if compiled else loss_of

  def take() -> None:
    optimizer.zero_grad()
    forward().backward()
    optimizer.step()

  return take


def ceiling() -> float:
  """Operations a second of bare float32 products."""
  rng = np.random.default_rng(0)
  weights = jnp.asarray(rng.normal(size=(10, 256, 256)) / 16, jnp.float32)
  x = jnp.asarray(rng.normal(size=(4096, 256)), jnp.float32)
  return 20 * 4096 * 256**2 / seconds(jax.jit(chain), x, weights, rounds=20)


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--tasks", default=",".join(TASKS))
  parser.add_argument("--batch", type=int, default=64)
  parser.add_argument("--rounds", type=int, default=5)
  parser.add_argument("--precisions", default="float32,bfloat16")
  args = parser.parse_args()
  allocator.keep_freed_memory()  # as main.py does; it helps both
  check_recorded()
  products = ceiling()
  devices = jax.local_devices()
  host = f"{len(devices)} x {devices[0].device_kind}"
  print(f"{host}; bare products: {products / 1e9:.0f} GFLOP/s")  # noqa: T201
  for task in args.tasks.split(","):
    config = onet.get_config(task).to_dict()
    batch = make_batch(config, args.batch)
    ways = {}
    for precision in args.precisions.split(","):
      narrow = precision == "bfloat16"
      ways[f"ours, {precision}"], counted = ours(config, batch, precision)
      for name in ("eager", "compiled"):
        ways[f"PyTorch, {name}, {precision}"] = twin(
          config, batch, compiled=name == "compiled", narrow=narrow
        )
    found = _measure(ways, args.rounds)
    best = min(s for name, s in found.items() if "PyTorch" in name and "32" in name)
    for name, each in found.items():
      share = f", {counted / each / products:.2f} of the ceiling" * ("ours" in name)
      print(  # noqa: T201
        f"{task:11} {name:26} {1 / each:8.3f} steps/s {best / each:6.2f} times "
        f"PyTorch's best float32{share}",
        flush=True,
      )


def _measure(ways: dict[str, Step], rounds: int) -> dict[str, float]:
  """Median seconds of a step of each; they take turns."""
  taken: dict[str, list[float]] = {}
  for name, step in ways.items():
    try:
      step()
      taken[name] = []
    except RuntimeError as error:  # what torch.compile cannot do
      reason = str(error).splitlines()[0]
      print(f"{name}: fails ({reason})", flush=True)  # noqa: T201
  for _ in range(rounds):
    for name, seconds_of in taken.items():
      start = time.perf_counter()
      ways[name]()
      seconds_of.append(time.perf_counter() - start)
  return {name: statistics.median(each) for name, each in taken.items()}


if __name__ == "__main__":
  main()
