"""The encoders' convolutions on a CPU: XLA's own against what stands in their place.

  python -m benchmarks.convolution

Value and gradient of one layer for two shapes each: the second of the voxel encoder
(32 -> 64 features, 32^3 -> 16^3) and the first 3 x 3 of the image encoder (64 features,
56^2). Both ways in turn in one process, medians of five.
"""

import time

import jax
import jax.numpy as jnp
import numpy as np

from occnet_jax.nn import convolution

LAYERS = {  # input, kernel, stride
  "voxels": ((2, 32, 32, 32, 32), (3, 3, 3, 32, 64), 2),
  "image": ((2, 56, 56, 64), (3, 3, 64, 64), 1),
}


def main() -> None:
  rng = np.random.default_rng(0)
  for layer, (*shapes, stride) in LAYERS.items():
    args = [jnp.asarray(rng.standard_normal(shape), jnp.float32) for shape in shapes]
    kinds = {
      "XLA": _compiled(convolution.convolve_by_xla, stride),
      "ours": _compiled(convolution.convolve_on_cpu, stride),
    }
    seconds = {name: [] for name in kinds}
    for _ in range(6):
      for name, function in kinds.items():
        start = time.perf_counter()
        jax.block_until_ready(function(*args))
        seconds[name].append(time.perf_counter() - start)
    found = {name: 1e3 * float(np.median(times[1:])) for name, times in seconds.items()}
    print(  # noqa: T201
      f"{layer:8} XLA {found['XLA']:7.1f} ms, ours {found['ours']:7.1f} ms: "
      f"{found['XLA'] / found['ours']:.1f} times as long on {jax.default_backend()}"
    )


def _compiled(convolve, stride):
  def loss(x, kernel):
    return jnp.square(convolve(x, kernel, stride, 1)).mean()

  return jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))


if __name__ == "__main__":
  main()
