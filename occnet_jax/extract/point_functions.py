"""Functions of one point, (3,) -> (), made of functions of a batch; their traces.

Device (jnp). Shape letter: n points.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial
from jaxtyping import Array, Float

from occnet_jax import kept_programs

PointFn = Callable[[Float[Array, "3"]], Any]  # one point -> one value
NOT_TRACEABLE = (  # NumPy was given a tracer, or Python asked for a tracer's value
  jax.errors.ConcretizationTypeError,
  jax.errors.NonConcreteBooleanIndexError,
  jax.errors.TracerArrayConversionError,
  jax.errors.TracerIntegerConversionError,
)


def point_function(batched: Callable) -> PointFn:
  """Turns a function (n, 3) -> (n,) into one of a point, (3,) -> ().

  A `Partial` gives a `Partial`, so that its arrays stay arguments of compiled code.
  """
  if isinstance(batched, Partial):
    return Partial(_call_with_one_row, batched)
  return functools.partial(_call_with_one_row, batched)


def _call_with_one_row(batched: Callable, point: Float[Array, "3"]) -> Any:
  # Not [0]: a function that ends in squeeze() has no axis left for a single row.
  return jnp.reshape(batched(point[None]), ())


def trace_output(
  function: Callable, shape: tuple[int, ...]
) -> tuple[Any, Exception | None]:
  """Shape and type of the output for points of a shape, and the error of the trace.

  One of the two is None.
  """
  try:
    if not isinstance(function, Partial):
      return jax.eval_shape(function, jax.ShapeDtypeStruct(shape, np.float32)), None
    leaves, tree = jax.tree.flatten(function)
    forms = tuple((np.shape(leaf), jnp.result_type(leaf)) for leaf in leaves)
    return _trace_partial(tree, forms, shape), None
  except Exception as error:  # somebody's function may raise anything
    return None, error


@functools.lru_cache(maxsize=64)
def _trace_partial(
  tree: Any, forms: tuple[tuple[tuple[int, ...], Any], ...], shape: tuple[int, ...]
) -> Any:
  """Shape and type of the output of a `Partial` with arrays of these forms.

  Cached for all objects of a network: a trace takes as long as an evaluation.
  """
  function = jax.tree.unflatten(tree, [jax.ShapeDtypeStruct(*form) for form in forms])
  points = jax.ShapeDtypeStruct(shape, np.float32)
  return kept_programs.recall(
    f"output {tree} {forms} {shape}",
    lambda: jax.eval_shape(lambda call, x: call(x), function, points),
  )


def is_written_for_numpy(error: Exception) -> bool:
  """True if a trace failed for a tracer where the function needs a NumPy array."""
  if isinstance(error, NOT_TRACEABLE):
    return True
  if isinstance(error, AttributeError):  # such as p.strides, of NumPy's arrays alone
    return hasattr(np.ndarray, error.name or "")
  # Compiled extensions such as libigl name the type that they cannot take.
  words = ("Tracer", "in-place item assignment")
  return isinstance(error, TypeError) and any(word in str(error) for word in words)


def returns_numpy(function: Callable, count: int) -> bool:
  """True if a function gives a NumPy array for NumPy points.

  This tells NumPy code with an operation that JAX refuses, such as an index that is a
  list, from a function of JAX with a bug, which fails again or gives an array of JAX.
  """
  try:
    return isinstance(function(np.full((count, 3), 0.1)), np.ndarray)
  except Exception:  # somebody's function may raise anything
    return False


def value_at(point_fn: PointFn, point: Float[Array, "3"]) -> Float[Array, ""]:
  """The value in float32, whatever number the function returns."""
  return jnp.asarray(point_fn(point), jnp.float32)
