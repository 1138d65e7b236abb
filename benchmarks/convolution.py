"""The voxel encoder's convolutions on a CPU: XLA's own against one matrix product.

  python -m benchmarks.convolution

Value and gradient of the second layer (32 -> 64 features, 32^3 -> 16^3, two shapes);
both in turn in one process, medians of five.
"""

import time

import jax
import jax.numpy as jnp
import numpy as np

from occnet_jax.nn import convolution


def main() -> None:
  rng = np.random.default_rng(0)
  x = jnp.asarray(rng.standard_normal((2, 32, 32, 32, 32)), jnp.float32)
  kernel = jnp.asarray(rng.standard_normal((3, 3, 3, 32, 64)), jnp.float32)

  def compiled(convolve):
    def loss(x, kernel):
      return jnp.square(convolve(x, kernel, 2, 1)).mean()

    return jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))

  kinds = {
    "XLA": compiled(convolution.convolve_by_xla),
    "product": compiled(convolution.convolve_by_product),
  }
  seconds = {name: [] for name in kinds}
  for _ in range(6):
    for name, function in kinds.items():
      start = time.perf_counter()
      jax.block_until_ready(function(x, kernel))
      seconds[name].append(time.perf_counter() - start)
  found = {name: float(np.median(times[1:])) for name, times in seconds.items()}
  for name, value in found.items():
    print(f"{name:8} {1e3 * value:8.1f} ms")  # noqa: T201
  ratio = found["XLA"] / found["product"]
  print(f"XLA takes {ratio:.1f} times as long on {jax.default_backend()}")  # noqa: T201


if __name__ == "__main__":
  main()
