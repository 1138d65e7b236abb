"""Checkpoints of the published implementation of IF-Net (host, numpy).

jchibane/if-net saves {"epoch", "model_state_dict", "optimizer_state_dict"} by
torch.save as checkpoint_epoch_<n>.tar. Its layers stand side by side:

  published                             here
  conv_in, conv_in_bn                   encoder/level_0/conv_0, bn
  conv_<n>, conv_<n>_1, conv<n>_1_bn    encoder/level_<k>/conv_0, conv_1, bn
  fc_0, fc_1, ..., fc_out               decoder/fc_0, fc_1, ..., fc_out

n counts from 0 behind a conv_in, and from 1 in a network without it. Axes of grids and
rows of fc_0 have the same order in both.
"""

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from occnet_jax.interop import onet_weights, state_dict
from occnet_jax.interop.onet_weights import Imported
from occnet_jax.interop.torch_format import file

MODEL, OPTIMIZER = "model_state_dict", "optimizer_state_dict"
_LEAVES = ("weight", "bias", *state_dict.BUFFERS)
Path = tuple[str, str] | tuple[str, str, str]


def to_state_dict(variables: Mapping[str, Any]) -> dict[str, np.ndarray]:
  """The published state_dict of an IF-Net, in the order of its modules.

  Args:
    variables: {"params", "batch_stats"}; the latter may be missing.
  """
  places = _places(variables["params"])
  return state_dict.to_state_dict(_flatten(variables, places), _layout(places))


def from_state_dict(state: state_dict.State, template: Mapping[str, Any]) -> Any:
  """The linen variables of a published state_dict; see `state_dict`."""
  places = _places(template["params"])
  flat = state_dict.from_state_dict(state, _flatten(template, places), _layout(places))
  variables: dict[str, Any] = {}
  for kind, modules in flat.items():
    tree = variables.setdefault(kind, {})
    for name, leaves in modules.items():
      *path, last = places[name]
      node = tree
      for key in path:
        node = node.setdefault(key, {})
      node[last] = leaves
  return variables


def read_checkpoint(path: str | os.PathLike, template: Mapping[str, Any]) -> Imported:
  """Reads a published checkpoint, or a bare state_dict.

  The file counts epochs only; the step is that of its optimiser, or 0.

  Args:
    path: a .tar file of torch.save.
    template: {"params", "batch_stats"} of the network, arrays or
      jax.ShapeDtypeStruct.

  Raises:
    ValueError: the file is no checkpoint, or does not fit the network.
  """
  content = file.read(path)
  try:
    if not isinstance(content, Mapping) or MODEL not in content:
      state = state_dict.tensors_of(content)
      return Imported(from_state_dict(state, template), 0, 0, None, None)
    state = state_dict.tensors_of(content[MODEL])
    variables = from_state_dict(state, template)
    adam = onet_weights.read_adam(
      content.get(OPTIMIZER), state, template["params"], from_state_dict
    )
    epoch = onet_weights.read_count(content.get("epoch", 0), "epoch")
    return Imported(variables, adam["count"] if adam else 0, epoch, None, adam)
  except ValueError as error:
    raise ValueError(f"{path}: {error}") from error


def write_checkpoint(
  path: str | os.PathLike,
  variables: Mapping[str, Any],
  *,
  step: int,
  epoch: int = 0,
  best: float | None = None,
  adam: Mapping[str, Any] | None = None,
) -> None:
  """Writes a checkpoint in the published layout, which has no place for step and best.

  Args:
    path: a .tar file, replaced in one piece.
    variables: {"params", "batch_stats"} of the network.
    step, epoch, best, adam: as in `onet_weights.Imported`.
  """
  del step, best
  content: dict[str, Any] = {"epoch": int(epoch), MODEL: to_state_dict(variables)}
  if adam is not None:
    content[OPTIMIZER] = onet_weights.adam_content(variables, adam, to_state_dict)
  file.write(path, content)


def _places(params: Mapping[str, Any]) -> dict[str, Path]:
  """Published module -> path of linen modules, in the order of registration."""
  levels = params["encoder"]
  has_single_first = "conv_1" not in levels["level_0"]
  convolutions: dict[str, Path] = {}
  norms: dict[str, Path] = {}
  for k in range(len(levels)):
    level, n = f"level_{k}", k - 1 if has_single_first else k + 1
    if n < 0:
      convolutions["conv_in"] = ("encoder", level, "conv_0")
      norms["conv_in_bn"] = ("encoder", level, "bn")
      continue
    count = len(levels[level]) - 1  # the rest is the norm
    for j in range(count):
      name = f"conv_{n}_{j}" if j else f"conv_{n}"
      convolutions[name] = ("encoder", level, f"conv_{j}")
    norms[f"conv{n}_{count - 1}_bn"] = ("encoder", level, "bn")
  hidden = [f"fc_{k}" for k in range(len(params["decoder"]) - 1)]
  layers: dict[str, Path] = {name: ("decoder", name) for name in (*hidden, "fc_out")}
  return {**convolutions, **layers, **norms}


def _flatten(
  variables: Mapping[str, Any], places: Mapping[str, Path]
) -> dict[str, dict[str, Any]]:
  """Variables with the published modules at the top, those that a kind has."""
  flat: dict[str, dict[str, Any]] = {}
  for kind, tree in variables.items():
    modules = flat.setdefault(kind, {})
    for name, path in places.items():
      node = tree
      for key in path:
        node = node.get(key, {})
      if node:
        modules[name] = node
  return flat


def _layout(places: Mapping[str, Path]) -> state_dict.Layout:
  ranks = {name: rank for rank, name in enumerate(places)}

  def order(name: str) -> tuple[int, int]:
    module, _, leaf = name.rpartition(".")
    return ranks[module], _LEAVES.index(leaf)

  return state_dict.Layout(
    order=order, window_axes=lambda path: int(path[0].startswith("fc_"))
  )
