"""Rate at which the decoder evaluates points, and that of its bare matrix products.

  python -m benchmarks.decoder

The conditional-batch-norm decoder of the reference's size (hidden 256, code 512) on
batches of points, as extraction calls it, and in the same process a chain of ten
products of the same shape and precision. Only multiplications and additions of the ten
hidden layers count as operations. Medians.
"""

import argparse
import statistics
import time

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import record
from occnet_jax.nn.decoders import CBatchNormDecoder

HIDDEN, CODE, LAYERS = 256, 512, 10


def seconds(function, *arrays, rounds: int) -> float:
  """Median time of a call, all of its result computed."""
  jax.block_until_ready(function(*arrays))
  times = []
  for _ in range(rounds):
    start = time.perf_counter()
    jax.block_until_ready(function(*arrays))
    times.append(time.perf_counter() - start)
  return statistics.median(times)


def chain(x, weights):
  """Products alone; each waits for the last."""
  for weight in weights:
    x = x @ weight
  return x


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
  parser.add_argument("--points", default="1024,4096,16384,65536")
  parser.add_argument("--rounds", type=int, default=30)
  args = record.parse(parser)
  net = CBatchNormDecoder(hidden_size=HIDDEN)
  rng = np.random.default_rng(0)
  code = jnp.asarray(rng.normal(size=(1, CODE)), jnp.float32)
  point = jnp.zeros((1, 1, 3))
  variables = net.init(jax.random.key(0), point, None, code, train=False)

  @jax.jit
  def decode(variables, points, code):
    return net.apply(variables, points, None, code, train=False)

  weights = jnp.asarray(rng.normal(size=(LAYERS, HIDDEN, HIDDEN)) / 16, jnp.float32)
  print(f"{jax.devices()[0].device_kind}: points, GFLOP/s decoder, products, share")  # noqa: T201
  rows = []
  for count in map(int, args.points.split(",")):
    points = jnp.asarray(rng.uniform(-0.5, 0.5, (1, count, 3)), jnp.float32)
    x = jnp.asarray(rng.normal(size=(count, HIDDEN)), jnp.float32)
    work = 2e-9 * LAYERS * HIDDEN**2 * count
    network = work / seconds(decode, variables, points, code, rounds=args.rounds)
    products = work / seconds(jax.jit(chain), x, weights, rounds=args.rounds)
    print(f"{count:8} {network:8.0f} {products:8.0f} {network / products:8.2f}")  # noqa: T201
    rates = {"decoder GFLOP/s": network, "products GFLOP/s": products}
    rows.append({"points": count, **rates, "share": network / products})
  record.save(args, decoder=rows)


if __name__ == "__main__":
  main()
