"""The encoders' convolutions on a CPU: XLA's own, and the forms that replace them.

  python -m benchmarks.convolution

Value and gradient of one layer 3 wide: the second of the voxel encoder for two shapes,
one of each stage of the image encoder for eight pictures of 224 pixels, one of its last
stages for eight of 32 pixels, and its max pooling. The two ways take turns in one
process; medians of nine.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import record
from occnet_jax.nn import conv, conv_xla, pooling

LAYERS = {  # input, kernel, stride
  "voxels, 32 -> 64": ((2, 32, 32, 32, 32), (3, 3, 3, 32, 64), 2),
  "image, 56^2, 64": ((8, 56, 56, 64), (3, 3, 64, 64), 1),
  "image, 28^2, 128": ((8, 28, 28, 128), (3, 3, 128, 128), 1),
  "image, 14^2, 256": ((8, 14, 14, 256), (3, 3, 256, 256), 1),
  "image, 7^2, 512": ((8, 7, 7, 512), (3, 3, 512, 512), 1),
  "small image, 2^2, 256": ((8, 2, 2, 256), (3, 3, 256, 256), 1),
}


def main() -> None:
  args = record.parse(argparse.ArgumentParser(description=__doc__.splitlines()[0]))
  rng = np.random.default_rng(0)

  def draw(shape):
    return jnp.asarray(rng.standard_normal(shape), jnp.float32)

  rows = []
  for layer, (*shapes, stride) in LAYERS.items():
    ways = (
      lambda *args, stride=stride: conv_xla.convolve(*args, stride, 1),
      lambda *args, stride=stride: conv.convolve(*args, stride, 1),
    )
    rows.append(_compare(layer, ways, *map(draw, shapes)))
  pools = (
    lambda x: nn.max_pool(x, (3, 3), strides=(2, 2), padding=[(1, 1)] * 2),
    lambda x: pooling.max_pool(x, 3, 1),
  )
  rows.append(_compare("max pool, 112^2, 64", pools, draw((8, 112, 112, 64))))
  record.save(args, convolution=rows)


def _compare(layer: str, ways: tuple[Callable, Callable], *args) -> dict:
  """Prints and returns the times of both ways, value and gradient by all arguments."""
  by = tuple(range(len(args)))
  compiled = [
    jax.jit(jax.value_and_grad(lambda *a, f=f: jnp.square(f(*a)).mean(), by))
    for f in ways
  ]
  seconds: list[list[float]] = [[], []]
  for _ in range(10):
    for function, taken in zip(compiled, seconds, strict=True):
      start = time.perf_counter()
      jax.block_until_ready(function(*args))
      taken.append(time.perf_counter() - start)
  xla, ours = (1e3 * statistics.median(taken[1:]) for taken in seconds)
  print(f"{layer:22} XLA {xla:6.1f} ms, ours {ours:6.1f} ms: {xla / ours:.1f} times")  # noqa: T201
  return {"layer": layer, "XLA ms": xla, "ours ms": ours, "ratio": xla / ours}


if __name__ == "__main__":
  main()
