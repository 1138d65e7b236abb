"""Gradient of the decoder: that of conditional batch norm by hand and by autodiff.

  python -m benchmarks.conditional_norm

The two ways take turns in one process, with 16 shapes of 512 points and hidden size
128; medians of eight.
"""

import argparse
import time

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from benchmarks import record
from occnet_jax.nn import decoders, norm


def plain_normalise(x, gamma, beta, axis_name):
  """`nn.norm.normalise` on one device, differentiated by JAX."""
  del axis_name
  mean = x.mean((0, 1))
  var = jnp.square(x - mean[None, None]).mean((0, 1))
  scale = gamma * lax.rsqrt(var + norm.EPSILON)[None, None]
  y = scale * x + (beta - scale * mean[None, None])
  return y, lax.stop_gradient(mean), lax.stop_gradient(var)


def main() -> None:
  args = record.parse(argparse.ArgumentParser(description=__doc__.splitlines()[0]))
  rng = np.random.default_rng(0)
  points = jnp.asarray(rng.uniform(-0.5, 0.5, (16, 512, 3)), jnp.float32)
  code = jnp.asarray(rng.standard_normal((16, 128)), jnp.float32)
  net = decoders.CBatchNormDecoder(128)
  variables = net.init(jax.random.key(0), points, None, code, train=True)

  def compiled(normalise):
    def loss(params):
      out, _ = net.apply(
        {**variables, "params": params},
        points,
        None,
        code,
        train=True,
        mutable=["batch_stats"],
      )
      return (out**2).sum()

    norm.normalise = normalise  # looked up while tracing
    gradient = jax.jit(jax.grad(loss))
    jax.block_until_ready(gradient(variables["params"]))
    return gradient

  gradients = {
    "own gradient": compiled(norm.normalise),
    "autodiff": compiled(plain_normalise),
  }
  seconds = {name: [] for name in gradients}
  for _ in range(8):
    for name, gradient in gradients.items():
      start = time.perf_counter()
      jax.block_until_ready(gradient(variables["params"]))
      seconds[name].append(time.perf_counter() - start)
  rows = []
  for name, values in seconds.items():
    ratio = np.median(values) / np.median(seconds["own gradient"])
    print(f"{name:14} {1e3 * np.median(values):6.0f} ms  x {ratio:.2f}")  # noqa: T201
    rows.append({"way": name, "ms": 1e3 * np.median(values), "relative": ratio})
  record.save(args, conditional_norm=rows)


if __name__ == "__main__":
  main()
