"""The precision of matrix products, chosen in one place (device, jnp).

"float32", or "bfloat16": operands rounded to bfloat16, sums and results in float32, in
both directions. Parameters, norms, activations, losses and convolutions stay float32
(by JAX's default that is TF32 on NVIDIA devices). A product is bfloat16 only while a
function that `scoped` made is traced, so no layer takes a precision argument. The scope
is part of the key of jit's cache: a function that was compiled outside a scope is
traced again inside it.

Shape letters: i features in, o features out.
"""

import functools
import pathlib
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

PRECISIONS = ("float32", "bfloat16", "auto")
_SCOPE = jax.make_user_context("float32")
_CPU_FLAGS = {"amx_bf16", "avx512_bf16"}


def resolve(name: str) -> str:
  """Replaces "auto" by "bfloat16" where the first device computes in it.

  Raises:
    ValueError: a name that is not in PRECISIONS.
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

  @functools.wraps(function)
  def within(*args, **kwargs):
    with _SCOPE(name):
      return function(*args, **kwargs)

  return within


def matmul(
  x: Float[Array | np.ndarray, "... i"], w: Float[Array | np.ndarray, "i o"]
) -> Float[Array | np.ndarray, "... o"]:
  """x @ w in the precision of the enclosing scope.

  An x of more axes is flattened to a matrix, so that the gradient by w is a product of
  two matrices as well. For a gradient over several axes XLA copies both of its
  operands, transposed, on one core.
  """
  rows = x.reshape(-1, x.shape[-1])
  product = rows @ w if _SCOPE.value == "float32" else _narrow(rows, w)
  return product.reshape(*x.shape[:-1], w.shape[1])


@jax.custom_vjp
def _narrow(
  x: Float[Array | np.ndarray, "n i"], w: Float[Array | np.ndarray, "i o"]
) -> Float[Array, "n o"]:
  """The product of operands rounded to bfloat16, summed and returned in float32.

  A result in bfloat16 is slower on CPUs and less exact. The gradient is written by
  hand because autodiff would multiply by the cotangent in float32, off the fast path.
  """
  return lax.dot_general(
    x.astype(jnp.bfloat16),
    w.astype(jnp.bfloat16),
    (((1,), (0,)), ((), ())),
    preferred_element_type=jnp.float32,
  )


def _forward(x, w):
  return _narrow(x, w), (x.astype(jnp.bfloat16), w.astype(jnp.bfloat16))


def _backward(residuals, cotangent):
  x, w = residuals
  return _narrow(cotangent, w.T), _narrow(x.T, cotangent)


_narrow.defvjp(_forward, _backward)
