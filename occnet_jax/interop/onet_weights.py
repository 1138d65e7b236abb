"""Checkpoints of the reference implementation, read and written (host, numpy).

autonomousvision/occupancy_networks saves {"model": state_dict, "optimizer":
state_dict, "epoch_it", "it", "loss_val_best"} by torch.save; `layout` has the names.
"""

import math
import os
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from occnet_jax.interop import state_dict
from occnet_jax.interop.state_dict import from_state_dict, to_state_dict
from occnet_jax.interop.torch_format import file

__all__ = [
  "Imported",
  "from_state_dict",
  "read_checkpoint",
  "to_state_dict",
  "write_checkpoint",
]


GROUP = {
  "lr": 1e-4,
  "betas": (0.9, 0.999),
  "eps": 1e-8,
  "weight_decay": 0,
  "amsgrad": False,
}


class Imported(NamedTuple):
  """A checkpoint of the reference, in the form of this package.

  Attributes:
    variables: in the form of the template, NumPy arrays.
    step: the reference's "it".
    epoch: its "epoch_it".
    best: the best value of its selection metric so far; None before the first.
    adam: {"count": updates so far, "mu", "nu": trees like the parameters}, or None.
  """

  variables: dict[str, Any]
  step: int
  epoch: int
  best: float | None
  adam: dict[str, Any] | None


def read_checkpoint(path: str | os.PathLike, template: Mapping[str, Any]) -> Imported:
  """Reads a checkpoint of the reference, or a bare state_dict.

  Args:
    path: a .pt file.
    template: {"params", "batch_stats"} of the network, arrays or
      jax.ShapeDtypeStruct.

  Raises:
    ValueError: it is no such file, or does not fit the network.
  """
  content = file.read(path)
  try:
    state = _state(content)
    if state is content:
      return Imported(from_state_dict(state, template), 0, 0, None, None)
    variables = from_state_dict(state, template)
    best = content.get("loss_val_best")
    best = None if best is None else _number(best, "loss_val_best")
    return Imported(
      variables,
      _count(content.get("it", 0), "it"),
      _count(content.get("epoch_it", 0), "epoch_it"),
      best if best is not None and math.isfinite(best) else None,
      _read_adam(content.get("optimizer"), state, template["params"]),
    )
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
  """Writes a checkpoint that the reference loads; `read_checkpoint` gives it back.

  Args:
    path: a .pt file; there whole or not at all.
    variables: {"params", "batch_stats"} of the network.
    step, epoch, best, adam: as in `Imported`.
  """
  content: dict[str, Any] = {"model": to_state_dict(variables)}
  if adam is not None:
    count = int(adam["count"])
    mean, square = (to_state_dict(_like(variables, adam[k])) for k in ("mu", "nu"))
    names = state_dict.parameters(content["model"])
    content["optimizer"] = {
      "state": {
        i: {"step": count, "exp_avg": mean[name], "exp_avg_sq": square[name]}
        for i, name in enumerate(names)
      },
      "param_groups": [{**GROUP, "params": list(range(len(names)))}],
    }
  content |= {"epoch_it": int(epoch), "it": int(step)}
  if best is not None:
    content["loss_val_best"] = float(best)
  file.write(path, content)


def _like(variables: Mapping[str, Any], moments: Any) -> dict[str, Any]:
  """Moments in the place of parameters; the statistics tell which decoder it is."""
  return {**variables, "params": moments}


def _state(content: Any) -> Mapping[str, Any]:
  """The state_dict within a file's content."""
  if isinstance(content, Mapping):
    if isinstance(content.get("model"), Mapping):
      return content["model"]
    if content and all(isinstance(value, np.ndarray) for value in content.values()):
      return content
    found = f"the keys {', '.join(map(repr, list(content)[:5])) or '(none)'}"
  else:
    found = f"a {type(content).__name__}"
  raise ValueError(
    f"holds {found}; want a checkpoint with the key 'model', or a state_dict; save "
    "one with torch.save(model.state_dict(), path)"
  )


def _number(value: Any, name: str) -> float | int:
  if isinstance(value, np.ndarray) and value.shape == ():
    value = value.item()
  if not isinstance(value, int | float):
    raise ValueError(f"{name} is a {type(value).__name__}, want a number")
  return value


def _count(value: Any, name: str) -> int:
  number = _number(value, name)
  if not math.isfinite(number):
    raise ValueError(f"{name} is {number}, want a whole number")
  return int(number)


def _read_adam(
  optimizer: Any, state: Mapping[str, Any], params: Mapping[str, Any]
) -> dict[str, Any] | None:
  """Adam's moments by name; None where the file has none.

  The file numbers the parameters (PyTorch before 1.5: by address) in the order of the
  groups, which is that of the state_dict. One that was never updated has zeros.
  """
  if not isinstance(optimizer, Mapping) or not isinstance(
    optimizer.get("state"), Mapping
  ):
    return None
  saved = optimizer["state"]
  records = [r for r in saved.values() if isinstance(r, Mapping) and "exp_avg" in r]
  groups = optimizer.get("param_groups")
  if not records or not isinstance(groups, list):
    return None
  numbers = [number for group in groups for number in _members(group)]
  names = state_dict.parameters(state)
  if len(numbers) != len(names):
    raise ValueError(
      f"its optimizer knows {len(numbers)} parameters, its model {len(names)}; remove "
      "the key 'optimizer' to import the model alone"
    )
  moments: dict[str, dict[str, np.ndarray]] = {"exp_avg": {}, "exp_avg_sq": {}}
  for number, name in zip(numbers, names, strict=True):
    for kind, found in moments.items():
      record = saved.get(number)
      zeros = np.zeros_like(state[name])
      found[name] = record.get(kind, zeros) if isinstance(record, Mapping) else zeros
  try:
    mu, nu = (
      from_state_dict(found, {"params": params})["params"] for found in moments.values()
    )
  except ValueError as error:
    raise ValueError(f"its optimizer {error}") from error
  count = max(_count(record.get("step"), "its optimizer's step") for record in records)
  return {"count": count, "mu": mu, "nu": nu}


def _members(group: Any) -> list[int]:
  members = group.get("params") if isinstance(group, Mapping) else None
  if not isinstance(members, list) or not all(isinstance(n, int) for n in members):
    raise ValueError(
      "its optimizer lists no parameters by number; remove the key 'optimizer' to "
      "import the model alone"
    )
  return members
