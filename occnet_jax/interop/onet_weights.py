"""Checkpoints of the reference implementation of Occupancy Networks (host, numpy).

autonomousvision/occupancy_networks saves {"model": state_dict, "optimizer":
state_dict, "epoch_it", "it", "loss_val_best"} by torch.save.
"""

import functools
import math
import os
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from occnet_jax.interop import state_dict
from occnet_jax.interop.torch_format import file

ADAM_GROUP = {  # PyTorch's defaults, which the reference trains with
  "lr": 1e-4,
  "betas": (0.9, 0.999),
  "eps": 1e-8,
  "weight_decay": 0,
  "amsgrad": False,
}
OTHER_METHODS = (  # method, and how names in its state_dicts begin
  ("ConvONet", r"encoder\.(unet|unet3d|blocks)\.|decoder\.fc_c\.\d"),
  ("3D-R2N2", r"decoder\.(fc_in|convtrp_\d)\."),
  ("Pixel2Mesh", r"decoder\.gc\d\."),
  ("PSGN", r"decoder\.(fc_branch|deconv_\d)\."),
  ("Deep Marching Cubes", r"decoder\.(encoder|decoder)\.(de)?conv"),
)
# Order in which the reference registers modules and parameters, level by level.
_SIMPLE = ("fc_p", "fc_z", "fc_c", "block", "fc_out")
_CONDITIONED = (
  *("fc_z", "fc_c", "fc_p", "conv_p", "block", "blocks", "fc_", "bn_", "bn"),
  *("fc_out", "conv_out"),
)
_LATENT = ("fc_pos", "fc_c", "fc_", "fc_mean", "fc_logstd")
_ENCODER = (
  *("features", "convnet", "conv_in", "conv", "conv_", "fc_pos", "block_", "fc_"),
  *("fc_c", "fc", "fc_out"),
)
_TOP = ("decoder", "encoder_latent", "encoder")
_BLOCK = (
  *("conv_gamma", "conv_beta", "bn_", "fc_", "convnet", "", "shortcut"),
  *("conv1", "bn1", "conv2", "bn2", "conv3", "bn3", "bn", "layer", "downsample"),
)
_LEAF = ("weight", "bias", *state_dict.BUFFERS)

Convert = Callable[[state_dict.State, Mapping[str, Any]], Any]
ToState = Callable[[Mapping[str, Any]], dict[str, np.ndarray]]


class Imported(NamedTuple):
  """A checkpoint of the reference as this package has it.

  Attributes:
    variables: {"params", "batch_stats"}, NumPy arrays.
    step: number of updates, the reference's "it".
    epoch: number of passes over the data, its "epoch_it".
    best: the best value of its selection metric so far; None before the first.
    adam: {"count": number of updates, "mu", "nu": trees like the parameters}, or None.
  """

  variables: dict[str, Any]
  step: int
  epoch: int
  best: float | None
  adam: dict[str, Any] | None


def to_state_dict(variables: Mapping[str, Any]) -> dict[str, np.ndarray]:
  """The reference's state_dict of an occupancy network, in the reference's order.

  Args:
    variables: {"params", "batch_stats"} with the modules "encoder", "decoder" and
      "encoder_latent" at the top, as many as there are.
  """
  statistics = (variables.get("batch_stats") or {}).get("decoder")
  return state_dict.to_state_dict(variables, _layout(simple=not statistics))


def from_state_dict(state: state_dict.State, template: Mapping[str, Any]) -> Any:
  """The linen variables of a state_dict of the reference; see `state_dict`."""
  return state_dict.from_state_dict(state, template, _layout(simple=False))


def read_checkpoint(
  path: str | os.PathLike,
  template: Mapping[str, Any],
  convert: Convert = from_state_dict,
) -> Imported:
  """Reads a checkpoint of the reference, or a bare state_dict.

  Args:
    path: a .pt file.
    template: {"params", "batch_stats"} of the network, arrays or
      jax.ShapeDtypeStruct.
    convert: (state_dict, template) -> linen variables; that of another system whose
      files have the same form.

  Raises:
    ValueError: the file is no checkpoint, or does not fit the network.
  """
  content = file.read(path)
  try:
    state = state_dict.tensors_of(content)
    if state is content:
      return Imported(convert(state, template), 0, 0, None, None)
    variables = convert(state, template)
    return Imported(
      variables,
      read_count(content.get("it", 0), "it"),
      read_count(content.get("epoch_it", 0), "epoch_it"),
      read_best(content.get("loss_val_best")),
      read_adam(content.get("optimizer"), state, template["params"], convert),
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
  to_state: ToState = to_state_dict,
) -> None:
  """Writes a checkpoint that the reference loads; `read_checkpoint` gives it back.

  Args:
    path: a .pt file, replaced in one piece.
    variables: {"params", "batch_stats"} of the network.
    step, epoch, best, adam: as in `Imported`.
    to_state: variables -> state_dict; that of another system whose files have the same
      form.
  """
  content: dict[str, Any] = {"model": to_state(variables)}
  if adam is not None:
    content["optimizer"] = adam_content(variables, adam, to_state)
  content |= {"epoch_it": int(epoch), "it": int(step)}
  if best is not None:
    content["loss_val_best"] = float(best)
  file.write(path, content)


def adam_content(
  variables: Mapping[str, Any],
  adam: Mapping[str, Any],
  to_state: ToState,
) -> dict[str, Any]:
  """The state_dict of PyTorch's Adam, whose parameters are numbered.

  Args:
    variables: {"params", "batch_stats"} of the network.
    adam: as in `Imported`.
    to_state: variables -> state_dict of the system.
  """
  count = int(adam["count"])
  # Moments in place of parameters; the statistics still tell the decoders apart.
  mean, square = (to_state({**variables, "params": adam[k]}) for k in ("mu", "nu"))
  names = state_dict.parameters(mean)
  return {
    "state": {
      i: {"step": count, "exp_avg": mean[name], "exp_avg_sq": square[name]}
      for i, name in enumerate(names)
    },
    "param_groups": [{**ADAM_GROUP, "params": list(range(len(names)))}],
  }


def _number(value: Any, name: str) -> float | int:
  if isinstance(value, np.ndarray) and value.shape == ():
    value = value.item()
  if not isinstance(value, int | float):
    raise ValueError(f"{name} is a {type(value).__name__}, want a number")
  return value


def read_count(value: Any, name: str) -> int:
  """A whole number of a file; ValueError if it is another thing."""
  number = _number(value, name)
  if not math.isfinite(number):
    raise ValueError(f"{name} is {number}, want a whole number")
  return int(number)


def read_best(value: Any) -> float | None:
  """The best score of a file so far; None if it has none, or one that is not finite."""
  best = None if value is None else _number(value, "loss_val_best")
  return best if best is not None and math.isfinite(best) else None


def read_adam(
  optimizer: Any,
  state: Mapping[str, Any],
  params: Mapping[str, Any],
  convert: Convert,
) -> dict[str, Any] | None:
  """Adam's count and moments; None if the file has none.

  The file numbers the parameters (PyTorch before 1.5: by address) in the order of the
  groups, which is that of the state_dict. A parameter that was never updated has zeros.

  Args:
    optimizer: state_dict of PyTorch's Adam.
    state: state_dict of the network in the same file.
    params: parameters, arrays or jax.ShapeDtypeStruct.
    convert: (state_dict, variables of this form) -> variables, of the system.

  Raises:
    ValueError: the optimiser does not fit the network.
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
      f"its optimizer has {len(numbers)} parameters, its model {len(names)}; remove "
      "the key 'optimizer' to import the model alone"
    )
  moments: dict[str, dict[str, np.ndarray]] = {"exp_avg": {}, "exp_avg_sq": {}}
  for number, name in zip(numbers, names, strict=True):
    record, zeros = saved.get(number), np.zeros_like(state[name])
    for kind, moment in moments.items():
      moment[name] = record.get(kind, zeros) if isinstance(record, Mapping) else zeros
  try:
    mu, nu = (
      convert(moment, {"params": params})["params"] for moment in moments.values()
    )
  except ValueError as error:
    raise ValueError(f"its optimizer {error}") from error
  count = max(
    read_count(record.get("step"), "its optimizer's step") for record in records
  )
  return {"count": count, "mu": mu, "nu": nu}


def _members(group: Any) -> list[int]:
  members = group.get("params") if isinstance(group, Mapping) else None
  if not isinstance(members, list) or not all(isinstance(n, int) for n in members):
    raise ValueError(
      "its optimizer lists no parameters by number; remove the key 'optimizer' to "
      "import the model alone"
    )
  return members


def _layout(simple: bool) -> state_dict.Layout:
  """The reference's layout; `simple`: of the decoder without batch norm.

  Layers over points are convolutions of width 1 in all other decoders. Reading takes
  either form.
  """

  def window_axes(path: tuple[str, ...]) -> int:
    pointwise = path[0] == "decoder" and path[-1] not in ("fc_z", "fc_c")
    return int(pointwise and not simple)

  return state_dict.Layout(
    order=functools.partial(registration_rank, simple=simple),
    window_axes=window_axes,
    renamed={"fc_gamma": "conv_gamma", "fc_beta": "conv_beta"},
    explain=_explain_other_method,
  )


def registration_rank(name: str, simple: bool) -> list[tuple[int, int]]:
  """Sort key of a tensor: the reference's order of registration, level by level."""
  parts = name.split(".")
  decoder = _SIMPLE if simple else _CONDITIONED
  second = {"decoder": decoder, "encoder_latent": _LATENT, "encoder": _ENCODER}
  ranks = []
  for depth, part in enumerate(parts):
    table = _TOP if depth == 0 else second.get(parts[0], _BLOCK)
    if depth == len(parts) - 1:
      table = _LEAF
    elif depth > 1:
      table = _BLOCK
    stem, number = re.fullmatch(r"(.*?)(\d*)", part).groups()
    exact = part in table
    key = part if exact else stem
    position = table.index(key) if key in table else len(table)
    ranks.append((position, 0 if exact or not number else int(number)))
  return ranks


def _explain_other_method(names: list[str]) -> str:
  """Names another method that these tensors belong to; "" if none is recognised."""
  way_out = "import one that the onet method of the reference trained"
  for method, pattern in OTHER_METHODS:
    if marks := [name for name in names if re.match(pattern, name)]:
      return (
        f"this is a checkpoint of {method} (it has {state_dict.shorten(marks)}), not "
        f"of an occupancy network; {way_out}"
      )
  if "decoder.fc_0.weight" in names and "decoder.fc_p.weight" not in names:
    return (
      "this is a checkpoint of PSGN (it has decoder.fc_0.weight and no "
      f"decoder.fc_p.weight), not of an occupancy network; {way_out}"
    )
  return ""
