"""A linen tree and a PyTorch state_dict of the same network (host, numpy).

A path of linen modules, joined by dots, is the name of the PyTorch module; its numbered
layers ("layer1.0") are "layer1_0" here. Kernels are transposed from (..., in, out) to
(out, in, ...). Whatever differs from system to system is a `Layout`, defined in
<system>_weights.py.
"""

import collections
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from flax import traverse_util

State = Mapping[str, Any]  # name -> tensor, in PyTorch's order

LEAVES = {
  ("params", "kernel"): "weight",
  ("params", "bias"): "bias",
  ("params", "scale"): "weight",
  ("params", "embedding"): "weight",
  ("batch_stats", "mean"): "running_mean",
  ("batch_stats", "var"): "running_var",
}
BUFFERS = ("running_mean", "running_var", "num_batches_tracked")
MAX_NAMES = 5  # in an error message


class Layout(NamedTuple):
  """Names, shapes and order of the layers in one system's PyTorch implementation.

  Attributes:
    order: name -> sort key; PyTorch's optimisers number parameters in that order.
    window_axes: path of linen modules -> how many axes of size 1 the weight of the
      dense layer there ends with, which is a convolution of width 1 in PyTorch.
    renamed: parts of names in older files, and their names today.
    explain: names in a state_dict that does not fit -> the system that it belongs to
      and what to do, or "".
  """

  order: Callable[[str], Any] = lambda name: 0
  window_axes: Callable[[tuple[str, ...]], int] = lambda path: 0
  renamed: Mapping[str, str] = {}
  explain: Callable[[list[str]], str] = lambda names: ""


GENERIC = Layout()


def module_name(path: tuple[str, ...]) -> str:
  """("features", "layer1_0") -> "features.layer1.0"."""
  return re.sub(r"\b(layer\d+|downsample)_(\d+)", r"\1.\2", ".".join(path))


def tensors_of(content: Any) -> State:
  """The state_dict in the content of a file: all of it, or under the key "model".

  Raises:
    ValueError: there is none.
  """
  if isinstance(content, Mapping):
    if isinstance(content.get("model"), Mapping):
      return content["model"]
    if content and all(isinstance(value, np.ndarray) for value in content.values()):
      return content
    holds = f"the keys {', '.join(map(repr, list(content)[:5])) or '(none)'}"
  else:
    holds = f"a {type(content).__name__}"
  raise ValueError(
    f"holds {holds}; want a checkpoint with the key 'model', or a state_dict; save "
    "one with torch.save(model.state_dict(), path)"
  )


def to_state_dict(
  variables: Mapping[str, Any], layout: Layout
) -> dict[str, np.ndarray]:
  """The state_dict of a network in a system's layout, in PyTorch's order.

  Args:
    variables: {"params", "batch_stats"}; the latter may be missing.
    layout: layout of the system.
  """
  flat = traverse_util.flatten_dict(dict(variables))
  state = {}
  for path, value in flat.items():
    name, array = _tensor_name(path), np.asarray(value)
    if path[-1] == "kernel":
      array = np.moveaxis(array, (-1, -2), (0, 1))
      array = array.reshape(array.shape + (1,) * layout.window_axes(path[1:-1]))
      array = np.ascontiguousarray(array)
    state[name] = array
    if path[-1] == "mean":
      counter = name.removesuffix("running_mean") + "num_batches_tracked"
      state[counter] = np.zeros((), np.int64)
  ordered = sorted(state, key=layout.order)
  return collections.OrderedDict((name, state[name]) for name in ordered)


def parameters(state: State) -> list[str]:
  """The names of a state_dict that an optimiser counts, in its order."""
  return [name for name in state if str(name).rpartition(".")[-1] not in BUFFERS]


def from_state_dict(
  state: State, template: Mapping[str, Any], layout: Layout = GENERIC
) -> Any:
  """The linen variables that a state_dict describes.

  Accepts the names of older files (`Layout.renamed`), the prefix "module." of parallel
  training, and linear weights of shape (out, in), (out, in, 1) and (out, in, 1, 1).

  Args:
    state: name -> array.
    template: variables (arrays or jax.ShapeDtypeStruct), or a part of them; gives the
      structure, shapes and types of the result.
    layout: layout of the system.

  Raises:
    ValueError: naming tensors that are missing, left over, of another shape, or not
      finite.
  """
  rest = {current_name(name, layout): value for name, value in state.items()}
  rest = {k: v for k, v in rest.items() if not k.endswith("num_batches_tracked")}
  flat = traverse_util.flatten_dict(dict(template), keep_empty_nodes=True)
  result, problems, missing = {}, [], []
  for path, leaf in flat.items():
    if leaf is traverse_util.empty_node:
      result[path] = leaf
      continue
    name = _tensor_name(path)
    if name not in rest:
      missing.append(name)
      continue
    array, shape = rest.pop(name), tuple(leaf.shape)
    if problem := _shape_problem(array, path[-1], shape):
      problems.append(f"{name} {problem}")
      continue
    if path[-1] == "kernel":
      array = array.reshape(array.shape[: max(len(shape), 2)])
      array = np.moveaxis(array, (0, 1), (-1, -2))
    result[path] = np.array(array, leaf.dtype, order="C")
  if missing or rest or problems:
    names = [current_name(name, layout) for name in state]
    message = layout.explain(names) or _error_message(missing, list(rest), problems)
    raise ValueError(message)
  return traverse_util.unflatten_dict(result)


def _tensor_name(path: tuple[str, ...]) -> str:
  """("params", "fc", "kernel") -> "fc.weight"."""
  module = module_name(path[1:-1])
  leaf = LEAVES[path[0], path[-1]]
  return f"{module}.{leaf}" if module else leaf


def current_name(name: Any, layout: Layout = GENERIC) -> str:
  """A name without the prefix of parallel training, as newer files have it."""
  parts = [part for part in str(name).split(".") if part != "module"]
  return ".".join(layout.renamed.get(part, part) for part in parts)


def _shape_problem(array: Any, leaf: str, shape: tuple[int, ...]) -> str:
  """Why a tensor cannot be a leaf of this shape; "" if it can."""
  accepted = [shape]
  if leaf == "kernel":
    *window, inputs, outputs = shape
    accepted = [(outputs, inputs, *window)]
    if not window:
      accepted += [(outputs, inputs, 1), (outputs, inputs, 1, 1)]
  if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiu":
    return "is no tensor of numbers"
  if array.shape not in accepted:
    return f"has shape {array.shape}, want {' or '.join(map(str, accepted))}"
  return "" if np.isfinite(array).all() else "holds NaN or Inf"


def _error_message(
  missing: list[str], left_over: list[str], problems: list[str]
) -> str:
  parts = [f"lacks {shorten(missing)}"] if missing else []
  parts += [f"has {shorten(left_over)} beyond the network's own"] if left_over else []
  parts += [shorten(problems, "; ")] if problems else []
  return (
    f"does not fit the network: {'; '.join(parts)}; use the config that it was "
    "trained with (encoder, decoder, c_dim, z_dim, hidden sizes), or another file"
  )


def shorten(names: list[str], separator: str = ", ") -> str:
  """The first few of some names, and how many there are."""
  first = separator.join(name[:80] for name in names[:MAX_NAMES])
  return first if len(names) <= MAX_NAMES else f"{first}, ... ({len(names)} in all)"
