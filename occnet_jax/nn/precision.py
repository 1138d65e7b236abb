"""The precision of matrix products, chosen in one place (device, jnp).

"float32", or "bfloat16": operands rounded to bfloat16, sums and results in float32, in
both directions. Parameters, norms, activations, losses and convolutions stay float32
(as JAX has it: TF32 on NVIDIA devices). A product is bfloat16 only while a function
that `scoped` made is traced, so nothing has to be handed through the layers.

Shape letters: i features in, o features out.
"""

import contextvars
import functools
import pathlib
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

PRECISIONS = ("float32", "bfloat16", "auto")
_CURRENT = contextvars.ContextVar("precision", default="float32")
_CPU_FLAGS = {"amx_bf16", "avx512_bf16"}


def resolve(name: str) -> str:
  """The precision itself: "auto" is bfloat16 where the first device computes in it.

  Raises:
    ValueError: there is no such precision.
  """
  if name not in PRECISIONS:
    raise ValueError(f"the precision is {name!r}; want one of: {', '.join(PRECISIONS)}")
  if name != "auto":
    return name
  device = jax.local_devices()[0]
  if device.platform == "cpu":
    info = pathlib.Path("/proc/cpuinfo")
    flags = set(info.read_text().split()) if info.exists() else set()
    return "bfloat16" if flags & _CPU_FLAGS else "float32"
  if device.platform == "gpu":
    capability = float(getattr(device, "compute_capability", 0))
    return "bfloat16" if capability >= 8 else "float32"
  return "bfloat16"


def scoped(name: str, function: Callable) -> Callable:
  """The function with its matrix products in this precision, "auto" not allowed."""
  if name == "float32":
    return function

  @functools.wraps(function)
  def within(*args, **kwargs):
    token = _CURRENT.set(name)
    try:
      return function(*args, **kwargs)
    finally:
      _CURRENT.reset(token)

  return within


def matmul(
  x: Float[Array | np.ndarray, "... i"], w: Float[Array | np.ndarray, "i o"]
) -> Float[Array | np.ndarray, "... o"]:
  """x @ w in the precision of the scope that is traced.

  As a product of two matrices also where x has more axes: the gradient by w is then one
  too, while over several axes XLA copies both of its operands, transposed, on one core.
  """
  rows = x.reshape(-1, x.shape[-1])
  product = rows @ w if _CURRENT.get() == "float32" else _narrow(rows, w)
  return product.reshape(*x.shape[:-1], w.shape[1])


@jax.custom_vjp
def _narrow(
  x: Float[Array | np.ndarray, "n i"], w: Float[Array | np.ndarray, "i o"]
) -> Float[Array, "n o"]:
  """Rounds the operands only: a result of bfloat16 is slower on CPUs (and less true).

  Autodiff alone would multiply the float32 cotangent, off the fast path.
  """
  return lax.dot_general(
    x.astype(jnp.bfloat16),
    w.astype(jnp.bfloat16),
    (((1,), (0,)), ((), ())),
    preferred_element_type=jnp.float32,
  )


def _forward(x, w):
  return _narrow(x, w), (x.astype(jnp.bfloat16), w.astype(jnp.bfloat16))


def _backward(kept, cotangent):
  x, w = kept
  return _narrow(cotangent, w.T), _narrow(x.T, cotangent)


_narrow.defvjp(_forward, _backward)
