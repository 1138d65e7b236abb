"""Fields: the functions of space that extraction evaluates (device, or host for NumPy).

A field is a function f: (3,) -> () of one point, larger inside the object than outside
and equal to a level on its surface. Values at many points are `jax.vmap(f)`, normals
`jax.vmap(jax.grad(f))`, and refinement differentiates once more. A function of a batch,
(n, 3) -> (n,), is accepted as well and turned into one of a point. On the reference's
decoder both forms compile to programs of equal FLOPs and give the same bits.

There are two kinds:

  `JaxField`   a function that JAX can trace. It is evaluated in batches of one fixed
               size, padded at the end, so it is compiled once whatever the number of
               points. As a `jax.tree_util.Partial(function, *arrays)` the arrays are
               arguments of the compiled function: the next object, which has other
               arrays and the same function, compiles nothing.
  `HostField`  any other function of a batch, such as NumPy code, called as it is.

Shape letter: n points.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
import trimesh
from jax.tree_util import Partial
from jaxtyping import Array, Float, Float32, PyTree

from occnet_jax import kept_programs
from occnet_jax.extract.field_adapters import GridSource, SolidSource
from occnet_jax.extract.point_batches import map_batches, padded_batches
from occnet_jax.extract.point_functions import (
  PointFn,
  is_written_for_numpy,
  point_function,
  returns_numpy,
  trace_output,
  value_at,
)

HOST_BATCH = 2**16
HALF_STEP = 1e-4  # of the central differences of a `HostField`, in cube units
PROBE = 5  # points that a function is traced with; not 3, the length of one point

Points = Float[np.ndarray, "n 3"]
Kernel = Callable[..., Any]  # (point function, *arrays) -> arrays


@runtime_checkable
class Field(Protocol):
  """A function of space, as extraction uses it."""

  def values(self, points: Points) -> Float32[np.ndarray, " n"]:
    """Values at points; raises ValueError where they are not finite."""

  def gradients(self, points: Points) -> Float32[np.ndarray, "n 3"]:
    """Derivatives by the points; 0 where they do not exist."""


def as_field(function: Any, points_per_batch: int | None = None) -> Field:
  """Makes a `Field` of a function, a voxel grid or a mesh; returns a `Field` as it is.

  A plain function is compiled anew for every field made of it, because its closure may
  have changed; the compiled code is freed with the field. Pass a
  `jax.tree_util.Partial(function, *arrays)`, or keep the field, to compile once.

  Args:
    function: a `Field`; a function of JAX, of a batch (n, 3) -> (n,) or of one point
      (3,) -> (), or a `Partial` of one; a function (n, 3) -> (n,) that JAX cannot
      trace, which is called with float64 NumPy points; a NumPy array (x, y, z) of
      voxels, whose longest side spans [-0.5, 0.5]; or a `trimesh.Trimesh`, for its
      signed distance. See `field_adapters` for the last two. Of a batch is what can be
      traced either way.
    points_per_batch: number of points evaluated at a time; None chooses 2^11 on a CPU,
      whose caches hold a network's activations for that many, and 2^16 elsewhere and
      for functions of NumPy.

  Raises:
    ValueError: not a function; another output than one number a point; or an error
      that the function raised while JAX traced it, which is chained.
  """
  if isinstance(function, Field):
    return function
  if points_per_batch is not None and points_per_batch < 1:
    raise ValueError(f"points_per_batch={points_per_batch}; want at least 1, or None")
  if isinstance(function, np.ndarray):
    return HostField(GridSource(function), points_per_batch or HOST_BATCH)
  if isinstance(function, trimesh.Trimesh):
    return HostField(SolidSource(function), points_per_batch or HOST_BATCH)
  if not callable(function):
    raise ValueError(
      f"a field of type {type(function).__name__}; want a function from points (n, 3) "
      "to values (n,)"
    )
  output, error = trace_output(function, (PROBE, 3))
  if error is not None and is_written_for_numpy(error):
    return HostField(function, points_per_batch or HOST_BATCH, error)
  point_fn, shape = point_function(function), (PROBE,)
  if getattr(output, "shape", None) != shape:  # is it a function of one point?
    at_point, _ = trace_output(function, (3,))
    if getattr(at_point, "shape", None) == ():
      point_fn, shape, output, error = function, (), at_point, None
  if error is not None and returns_numpy(function, PROBE):
    return HostField(function, points_per_batch or HOST_BATCH, error)
  if error is not None:
    raise _trace_error(error, (PROBE, 3)) from error
  check_output(output, shape)
  return _jax_field(point_fn, points_per_batch)


def decoder_field(
  decode: Callable,
  variables: PyTree,
  latent: PyTree,
  points_per_batch: int | None = None,
) -> Field:
  """The field of one shape of a network.

  All latents and variables of one `decode`, as of a `Method`, share their compiled
  code.

  Args:
    decode: (variables, latent, points (b, t, 3)) -> (b, t).
    variables: variables of the network.
    latent: latent of one shape, leading axis 1.
    points_per_batch: see `as_field`.

  Raises:
    ValueError: a decoder with another output than one number a point, or one that JAX
      cannot trace; the error is chained.
  """
  point_fn = Partial(_decode_point, Partial(decode), variables, latent)
  output, error = trace_output(point_fn, (3,))
  if error is not None:
    raise _trace_error(error, (3,)) from error
  check_output(output, ())
  return _jax_field(point_fn, points_per_batch)


@kept_programs.named
def _decode_point(
  decode: Callable, variables: PyTree, latent: PyTree, point: Float[Array, "3"]
) -> Float[Array, ""]:
  return decode(variables, latent, point[None, None])[0, 0]


def _trace_error(error: Exception, shape: tuple[int, ...]) -> ValueError:
  return ValueError(
    f"the field raised {type(error).__name__} while JAX traced it for points of shape "
    f"{shape}: {error}"
  )


def _jax_field(point_fn: PointFn, points_per_batch: int | None) -> "JaxField":
  if isinstance(point_fn, Partial):
    bind = functools.partial(bind_shared, jax.device_put(point_fn))
  else:
    bind = functools.cache(functools.partial(bind_alone, point_fn))
  default = 2**11 if jax.default_backend() == "cpu" else 2**16
  return JaxField(bind, points_per_batch or default)


# One compiled function for all who ask: `registry.build` makes those of a method once.
shared_jit: Callable[[Callable], Callable] = functools.cache(jax.jit)


def bind_shared(point_fn: Partial, kernel: Kernel) -> Callable:
  """Compiles a kernel for all functions that differ in their arrays only."""
  return functools.partial(kept_programs.call, shared_jit(kernel), point_fn)


def bind_alone(point_fn: PointFn, kernel: Kernel) -> Callable:
  """Compiles a kernel for one function; the compiled code is freed with the result."""
  return jax.jit(functools.partial(kernel, point_fn))


@dataclasses.dataclass(frozen=True)
class JaxField:
  """A function that JAX can trace. Made by `as_field`.

  Attributes:
    bind: compiles a kernel (point function, *arrays) -> arrays for this field's
      function and returns it as a function of the arrays.
    points_per_batch: number of points evaluated at a time.
  """

  bind: Callable[[Kernel], Callable]
  points_per_batch: int

  def values(self, points: Points) -> Float32[np.ndarray, " n"]:
    return check_finite(self._in_batches(_values, points, ()), points)

  def gradients(self, points: Points) -> Float32[np.ndarray, "n 3"]:
    gradients = self._in_batches(_gradients, points, (3,))
    return np.where(np.isfinite(gradients).all(1, keepdims=True), gradients, 0)

  def run(self, kernel: Kernel, argument: np.ndarray | np.generic) -> PyTree:
    """The results of one call of a kernel, as arrays of NumPy."""
    return jax.tree.map(np.asarray, self.bind(kernel)(argument))

  def _in_batches(
    self, kernel: Kernel, points: Points, tail: tuple
  ) -> Float32[np.ndarray, "n ..."]:
    batches = padded_batches(points.astype(np.float32), self.points_per_batch)
    results = map_batches(self.bind(kernel), batches)
    joined = np.concatenate([np.zeros((0, *tail), np.float32), *results])
    return joined[: len(points)]


@dataclasses.dataclass(frozen=True)
class HostField:
  """A function that JAX cannot trace; it gets float64 points. Made by `as_field`.

  Attributes:
    function: (n, 3) -> (n,).
    points_per_batch: number of points evaluated at a time.
    cause: the error by which JAX refused to trace it; None where that was not tried.
  """

  function: Callable[[Points], Any]
  points_per_batch: int
  cause: Exception | None = None

  def values(self, points: Points) -> Float32[np.ndarray, " n"]:
    return self._call(points).astype(np.float32)

  def gradients(self, points: Points) -> Float32[np.ndarray, "n 3"]:
    points = points.astype(np.float64)
    steps = HALF_STEP * np.eye(3)
    changes = [self._call(points + step) - self._call(points - step) for step in steps]
    return (np.stack(changes, axis=1) / (2 * HALF_STEP)).astype(np.float32)

  def _call(self, points: Points) -> Float[np.ndarray, " n"]:
    points = points.astype(np.float64)
    results = [np.zeros(0)]
    for start in range(0, len(points), self.points_per_batch):
      batch = points[start : start + self.points_per_batch]
      try:
        result = np.asarray(self.function(batch))
      except Exception as error:  # somebody's function may raise anything
        raise ValueError(
          f"the field raised {type(error).__name__} for points of shape {batch.shape}: "
          f"{error}"
        ) from error
      check_output(result, (len(batch),))
      results.append(check_finite(result.astype(np.float64), batch))
    return np.concatenate(results)


def check_output(output: Any, shape: tuple[int, ...]) -> None:
  """Raises ValueError unless an output has a shape, (n,) or (), and holds numbers."""
  got, dtype = getattr(output, "shape", None), getattr(output, "dtype", None)
  if got != shape:
    kind = f"shape {got}" if got is not None else f"type {type(output).__name__}"
    raise ValueError(
      f"the field returned {kind} for points of shape {(*shape, 3)}; want {shape}, one "
      "value a point: drop other axes, for example by [..., 0]"
    )
  if not any(jnp.issubdtype(dtype, kind) for kind in (jnp.floating, jnp.integer)):
    raise ValueError(
      f"the field returned values of type {dtype}; want real numbers, larger inside: "
      "for a yes or no, return where(inside, 1.0, -1.0)"
    )


def check_finite(
  values: Float[np.ndarray, " n"], points: Points
) -> Float[np.ndarray, " n"]:
  """Returns the values; raises ValueError if one is NaN or infinite."""
  bad = np.flatnonzero(~np.isfinite(values))
  if len(bad):
    raise ValueError(
      f"the field is {values[bad[0]]} at {points[bad[0]].tolist()} and not finite at "
      f"{len(bad)} of {len(values)} points; want finite values: check the weights for "
      "NaN, or clip the function"
    )
  return values


@kept_programs.named
def _values(point_fn: PointFn, points: Float[Array, "n 3"]) -> Float[Array, " n"]:
  return jax.vmap(functools.partial(value_at, point_fn))(points)


@kept_programs.named
def _gradients(point_fn: PointFn, points: Float[Array, "n 3"]) -> Float[Array, "n 3"]:
  return jax.vmap(jax.grad(functools.partial(value_at, point_fn)))(points)
