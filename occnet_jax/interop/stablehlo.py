"""Networks as StableHLO programs, which need JAX alone, not this package (host).

An encoder and a decoder are functions of arrays by name; the weights are constants in
them. A file has the programs of all platforms. JAX reads such files for some months
after they were written (docs.jax.dev, "Exporting and serializing"), so they are for
deployment, not for keeping.

Shape letters: b shapes, n input points, t query points.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import export
from jaxtyping import Array, Shaped

from occnet_jax.types import Field, Latent, Method, Variables

PLATFORMS = ("cpu", "cuda", "tpu")
FIXED_POINTS = 2048  # query points of a decoder whose number of them is not free
# What a network raises whose code asks for the value of a free size: for a loop over
# it, an array of it, or a choice by it.
_UNKNOWN_SIZE = (
  jax.errors.InconclusiveDimensionOperation,
  NotImplementedError,
  TypeError,
  ValueError,
)


class Programs(NamedTuple):
  """Two programs of a network.

  Attributes:
    encoder: inputs, an array or a dict of arrays -> {name: array}, the latent.
    decoder: ({name: array}, points (b, t, 3)) -> values (b, t) of a field; without
      points for what is no field. None for a network whose latent is its output.
    inputs: {name: shape} of the inputs, of which an array alone has the name "inputs";
      a letter is a size that is free.
    latent: {name: shape}, likewise.
  """

  encoder: export.Exported
  decoder: export.Exported
  inputs: dict[str, tuple[int | str, ...]]
  latent: dict[str, tuple[int | str, ...]]


def programs(
  method: Method,
  variables: Variables,
  inputs: Shaped[np.ndarray, "..."] | dict[str, np.ndarray],
  platforms: Sequence[str] = PLATFORMS,
) -> Programs:
  """The programs of a trained network.

  Sizes are free where the network's mathematics leaves them free: the numbers of shapes
  b, of points n of a cloud, and of query points t. Where only one size can be
  translated, it is that of `inputs`, and b is 1.

  Args:
    method: the functions.
    variables: the arrays.
    inputs: an example of the input of one shape; its shapes and types count.
    platforms: those that the programs are for.

  Raises:
    ValueError: a network that cannot be translated at all.
  """
  variables = jax.device_put(variables)
  names, treedef = _latent_structure(method, variables, inputs)

  def encode(observed):
    return dict(
      zip(names, jax.tree.leaves(method.encode(variables, observed)), strict=True)
    )

  def decode(latent, *points):
    latent = jax.tree.unflatten(treedef, [latent[name] for name in names])
    return method.decode(variables, latent, *points)

  encoder = _export_first(encode, _input_specs(inputs), platforms)
  latent = dict(zip(encoder_names(encoder), encoder.out_avals, strict=True))
  points = ("t", 3) if isinstance(method.output, Field) else None
  decoder = _export_decoder(decode, latent, points, platforms)
  return Programs(
    encoder,
    decoder,
    _input_shapes(encoder),
    {name: _plain(aval.shape) for name, aval in latent.items()},
  )


def latent_names(latent: Latent) -> list[str]:
  """A name for each array of a latent: its path, as c, grid or planes.xz."""
  paths = [path for path, _ in jax.tree_util.tree_leaves_with_path(latent)]
  keys = ["".join(map(_key, path)).strip(".") for path in paths]
  return [key or "latent" for key in keys]


def encoder_names(encoder: export.Exported) -> list[str]:
  """Names of the arrays that an encoder's program returns, in its order."""
  empty = jax.tree.unflatten(encoder.out_tree, range(len(encoder.out_avals)))
  return [name for name, _ in sorted(empty.items(), key=lambda item: item[1])]


def _key(entry: Any) -> str:
  for attribute in ("name", "key", "idx"):
    if hasattr(entry, attribute):
      return f".{getattr(entry, attribute)}"
  raise ValueError(f"a latent with a node of {type(entry).__name__}")


def _latent_structure(method: Method, variables: Variables, inputs: Any) -> Any:
  """The names of the latent's arrays, and the tree in which they stand."""
  *_, one = _input_specs(inputs)
  latent = jax.eval_shape(method.encode, variables, one)
  return latent_names(latent), jax.tree.structure(latent)


def _input_specs(inputs: Any) -> list[Any]:
  """Shapes and types of a batch of inputs, from the most free one to the least."""
  scope = export.SymbolicScope()
  b, n = export.symbolic_shape("b, n", scope=scope)

  def batch_of(count):
    return jax.tree.map(
      lambda array: jax.ShapeDtypeStruct((count, *array.shape), array.dtype), inputs
    )

  free = []
  if not isinstance(inputs, dict) and inputs.ndim == 2 and inputs.shape[-1] == 3:
    free = [jax.ShapeDtypeStruct((b, n, 3), inputs.dtype)]
  return [*free, batch_of(b), batch_of(1)]


def _input_shapes(encoder: export.Exported) -> dict[str, tuple[int | str, ...]]:
  """The shapes of an encoder's inputs by their names."""
  (inputs,), _ = jax.tree.unflatten(encoder.in_tree, encoder.in_avals)
  named = inputs if isinstance(inputs, dict) else {"inputs": inputs}
  return {name: _plain(aval.shape) for name, aval in named.items()}


def _export_first(
  function: Callable[..., Any],
  specs: Sequence[Any],
  platforms: Sequence[str],
) -> export.Exported:
  """The program for the first of some inputs that can be translated."""
  for spec in specs:
    try:
      return export.export(jax.jit(function), platforms=platforms)(spec)
    except _UNKNOWN_SIZE as error:
      last = error
  raise ValueError(f"this network cannot be exported ({last})") from last


def _export_decoder(
  decode: Callable[..., Any],
  latent: dict[str, Any],
  points: tuple[Any, ...] | None,
  platforms: Sequence[str],
) -> export.Exported:
  """The decoder's program for the encoder's latents and, for a field, any points."""
  batch = next(iter(latent.values())).shape[0]
  scope = batch.scope if export.is_symbolic_dim(batch) else export.SymbolicScope()
  specs = {
    name: jax.ShapeDtypeStruct(aval.shape, aval.dtype) for name, aval in latent.items()
  }
  if points is None:
    return export.export(jax.jit(decode), platforms=platforms)(specs)
  (t,) = export.symbolic_shape("t", scope=scope)
  for size in (t, FIXED_POINTS):
    try:
      spec = jax.ShapeDtypeStruct((batch, size, 3), np.float32)
      return export.export(jax.jit(decode), platforms=platforms)(specs, spec)
    except _UNKNOWN_SIZE as error:
      last = error
  raise ValueError(f"this decoder cannot be exported ({last})") from last


def _plain(shape: Sequence[Any]) -> tuple[int | str, ...]:
  return tuple(size if isinstance(size, int) else str(size) for size in shape)


def call(
  program: export.Exported, *arguments: Any
) -> dict[str, Shaped[Array, "..."]] | Shaped[Array, "..."]:
  """The result of a program on JAX's default device."""
  return jax.jit(program.call)(*arguments)
