"""How extraction calls a function of space (device for JAX functions, host for others).

A field maps points (t, 3) to values (t,): larger inside the object than outside, and
equal to a level on its surface. It comes in two kinds:

  `JaxField`   a function that JAX can trace. It is evaluated in batches of one fixed
               size, padded at the end, so it is compiled once whatever the number of
               points. As a `jax.tree_util.Partial(function, *arrays)` the arrays are
               arguments of the compiled function: the next object, which has other
               arrays and the same function, compiles nothing.
  `HostField`  any other function, such as NumPy code, called as it is.

Shape letter: t query points.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
import trimesh
from jax.tree_util import Partial
from jaxtyping import Array, Float, Float32, PyTree

from occnet_jax.extract.field_adapters import GridSource, SolidSource

HOST_BATCH = 2**16
DIFFERENCE = 1e-4  # half the step of central differences, in cube units

Points = Float[np.ndarray, "t 3"]
Kernel = Callable[..., Any]  # of a function of points and arrays


@runtime_checkable
class Field(Protocol):
  """What extraction knows of a function."""

  def values(self, points: Points) -> Float32[np.ndarray, " t"]:
    """The field at points; raises ValueError where it is not finite."""

  def gradients(self, points: Points) -> Float32[np.ndarray, "t 3"]:
    """Its derivative by the points; 0 where that does not exist."""


def as_field(function: Any, points_per_batch: int | None = None) -> Field:
  """Wraps a function (t, 3) -> (t,); leaves a `Field` as it is.

  A plain function is compiled anew for every field made of it, because what it closes
  over may have changed, and let go with the field. Pass a
  `jax.tree_util.Partial(function, *arrays)`, or keep the field, to compile once.

  Args:
    function: a field; a `Partial`; or any function, which is compiled if JAX can trace
      it, and called with float64 NumPy points if not; a NumPy array (r, r, r) over the
      cells of [-0.5, 0.5]^3; or a `trimesh.Trimesh`, for its signed distance. See
      `extract.sources` for the last two.
    points_per_batch: None chooses 2^11 on a CPU, whose caches hold that much of a
      network's activations, and 2^16 elsewhere and for functions of NumPy.

  Raises:
    ValueError: not callable, or returns something other than one number a point.
  """
  if isinstance(function, Field):
    return function
  if isinstance(function, np.ndarray):
    function = GridSource(function)
  if isinstance(function, trimesh.Trimesh):
    function = SolidSource(function)
  if not callable(function):
    raise ValueError(
      f"a field of type {type(function).__name__}; want a function from points (n, 3) "
      "to values (n,)"
    )
  if points_per_batch is not None and points_per_batch < 1:
    raise ValueError(f"points_per_batch={points_per_batch}; want at least 1, or None")
  batch = points_per_batch or (2**11 if jax.default_backend() == "cpu" else 2**16)
  try:
    if isinstance(function, Partial):
      leaves, tree = jax.tree.flatten(function)
      forms = tuple((np.shape(leaf), jnp.result_type(leaf)) for leaf in leaves)
      out = _output_of_partial(tree, forms, batch)
    else:
      out = jax.eval_shape(function, _points_form(batch))
  except Exception:  # whatever NumPy or other code raises when it is given a tracer
    return HostField(function, points_per_batch or HOST_BATCH)
  check_output(out, batch)
  if isinstance(function, Partial):
    bind = functools.partial(bind_shared, jax.device_put(function))
  else:
    bind = functools.cache(functools.partial(bind_alone, function))
  return JaxField(bind, batch)


def _points_form(batch: int) -> jax.ShapeDtypeStruct:
  return jax.ShapeDtypeStruct((batch, 3), np.float32)


@functools.lru_cache(maxsize=64)
def _output_of_partial(
  tree: Any, forms: tuple[tuple[tuple[int, ...], Any], ...], batch: int
) -> Any:
  """What a `Partial` with arrays of these forms returns for a batch of points.

  Found once for all objects of a network: to trace it takes as long as to evaluate it.
  """
  function = jax.tree.unflatten(tree, [jax.ShapeDtypeStruct(*form) for form in forms])
  return jax.eval_shape(lambda call, x: call(x), function, _points_form(batch))


def decoder_field(
  decode: Callable,
  variables: PyTree,
  latent: PyTree,
  points_per_batch: int | None = None,
) -> Field:
  """The field of one shape: (variables, latent, points (b, t, 3)) -> (b, t), b = 1.

  All shapes and variables of one `decode`, as of a `Method`, share their compiled code.
  """
  return as_field(
    Partial(_decode_one, Partial(decode), variables, latent), points_per_batch
  )


def _decode_one(
  decode: Partial, variables: PyTree, latent: PyTree, points: Float[Array, "t 3"]
) -> Float[Array, " t"]:
  return decode(variables, latent, points[None])[0]


shared_jit = functools.cache(jax.jit)


def bind_shared(function: Partial, kernel: Kernel) -> Callable:
  """Compiles a kernel for all functions that differ in their arrays only."""
  return functools.partial(shared_jit(kernel), function)


def bind_alone(function: Callable, kernel: Kernel) -> Callable:
  """Compiles a kernel for one function; JAX forgets it together with the result."""
  return jax.jit(functools.partial(kernel, function))


@dataclasses.dataclass(frozen=True)
class JaxField:
  """A traceable function. Made by `as_field`.

  Attributes:
    bind: compiles a kernel (function, *arrays) -> arrays and fills in the function.
    points_per_batch: how many points are evaluated at a time.
  """

  bind: Callable[[Kernel], Callable]
  points_per_batch: int

  def values(self, points: Points) -> Float32[np.ndarray, " t"]:
    return check_finite(self._in_batches(_values, points, ()), points)

  def gradients(self, points: Points) -> Float32[np.ndarray, "t 3"]:
    gradients = self._in_batches(_gradients, points, (3,))
    return np.where(np.isfinite(gradients).all(1, keepdims=True), gradients, 0)

  def _in_batches(
    self, kernel: Kernel, points: Points, tail: tuple
  ) -> Float32[np.ndarray, "t ..."]:
    compiled = self.bind(kernel)
    results = [  # all are under way before the first is waited for
      compiled(batch)
      for batch in padded_batches(points.astype(np.float32), self.points_per_batch)
    ]
    whole = np.concatenate([np.zeros((0, *tail), np.float32), *results])
    return whole[: len(points)]


@dataclasses.dataclass(frozen=True)
class HostField:
  """A function that JAX cannot trace; it gets float64 points. Made by `as_field`."""

  call: Callable[[Points], Any]
  points_per_batch: int

  def values(self, points: Points) -> Float32[np.ndarray, " t"]:
    return self._call(points).astype(np.float32)

  def gradients(self, points: Points) -> Float32[np.ndarray, "t 3"]:
    points = points.astype(np.float64)
    steps = DIFFERENCE * np.eye(3)
    sides = [self._call(points + step) - self._call(points - step) for step in steps]
    return (np.stack(sides, axis=1) / (2 * DIFFERENCE)).astype(np.float32)

  def _call(self, points: Points) -> Float[np.ndarray, " t"]:
    points = points.astype(np.float64)
    results = [np.zeros(0)]
    for start in range(0, len(points), self.points_per_batch):
      batch = points[start : start + self.points_per_batch]
      try:
        result = np.asarray(self.call(batch))
      except Exception as error:  # whatever somebody's function raises
        raise ValueError(
          f"the field raised {type(error).__name__} for points of shape {batch.shape}: "
          f"{error}"
        ) from error
      check_output(result, len(batch))
      results.append(check_finite(result.astype(np.float64), batch))
    return np.concatenate(results)


def padded_batches(
  rows: Float[np.ndarray, "t ..."], size: int
) -> Iterator[Float[np.ndarray, "size ..."]]:
  """Cuts rows into batches of one size; copies of the last row fill the last batch."""
  for start in range(0, len(rows), size):
    batch = rows[start : start + size]
    if missing := size - len(batch):
      batch = np.concatenate([batch, np.repeat(batch[-1:], missing, axis=0)])
    yield batch


def check_output(out: Any, count: int) -> None:
  """Raises ValueError unless `out` has a shape (count,) and holds numbers."""
  shape, dtype = getattr(out, "shape", None), getattr(out, "dtype", None)
  if shape != (count,):
    found = f"shape {shape}" if shape is not None else f"type {type(out).__name__}"
    raise ValueError(
      f"the field returned {found} for {count} points of shape ({count}, 3); want "
      f"({count},), one value a point: drop other axes, for example by [..., 0]"
    )
  if not any(jnp.issubdtype(dtype, kind) for kind in (jnp.floating, jnp.integer)):
    raise ValueError(
      f"the field returned values of type {dtype}; want real numbers, larger inside: "
      "for a yes or no, return where(inside, 1.0, -1.0)"
    )


def check_finite(
  values: Float[np.ndarray, " t"], points: Points
) -> Float[np.ndarray, " t"]:
  """Returns the values; raises ValueError if one is NaN or infinite."""
  bad = np.flatnonzero(~np.isfinite(values))
  if len(bad):
    raise ValueError(
      f"the field is {values[bad[0]]} at {points[bad[0]].tolist()} and not finite at "
      f"{len(bad)} of {len(values)} points; want finite values: check the weights for "
      "NaN, or clip the function"
    )
  return values


def _values(function: Callable, points: Float[Array, "t 3"]) -> Float[Array, " t"]:
  return jnp.asarray(function(points), jnp.float32)


def _gradients(function: Callable, points: Float[Array, "t 3"]) -> Float[Array, "t 3"]:
  # A value depends on its own point alone, so the gradient of the sum is every row's.
  return jax.grad(lambda p: _values(function, p).sum())(points)
