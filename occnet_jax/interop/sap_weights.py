"""Checkpoints of Shape As Points (host, numpy).

autonomousvision/shape_as_points saves {"epoch", "it", "loss_val_best", "state_dict"} by
torch.save, of several GPUs with "module." before every name. The encoder and the two
decoders have the names and the order of Convolutional Occupancy Networks. The solver
has no weights: its settings are not in a file, so the config has to say them.
"""

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from occnet_jax.interop import convonet_weights, onet_weights, state_dict
from occnet_jax.interop.onet_weights import Imported
from occnet_jax.interop.torch_format import file

MODEL = "state_dict"
LAST_LAYER = "decoder_offset.fc_out.weight"  # three rows for each offset
_TOP = ("encoder", "decoder_normal", "decoder_offset")


def _order(name: str) -> tuple[Any, ...]:
  """Sort key of a tensor; both decoders are those of convolutional networks."""
  top, _, rest = name.partition(".")
  return _TOP.index(top), convonet_weights.order(f"{top.partition('_')[0]}.{rest}")


_LAYOUT = state_dict.Layout(order=_order)


def to_state_dict(variables: Mapping[str, Any]) -> dict[str, np.ndarray]:
  """The published state_dict of a network, in the published order.

  Args:
    variables: {"params", "batch_stats"}; the latter may be missing.
  """
  return state_dict.to_state_dict(variables, _LAYOUT)


def from_state_dict(state: state_dict.State, template: Mapping[str, Any]) -> Any:
  """The linen variables of a published state_dict; see `state_dict`.

  Raises:
    ValueError: the state_dict is of another system or another number of offsets than
      the template, or does not fit it.
  """
  named = {state_dict.current_name(name): array for name, array in state.items()}
  if LAST_LAYER not in named:
    raise ValueError(
      f"it lacks {LAST_LAYER}, which all networks of Shape As Points have; import it "
      "with the config of its own system, or choose another file"
    )
  in_file = np.shape(named[LAST_LAYER])[:1]
  offsets = template["params"]["decoder_offset"]["fc_out"]["kernel"].shape[-1]
  if in_file and in_file[0] != offsets:
    raise ValueError(
      f"it makes {in_file[0] / 3:g} points of each, but the config's network "
      f"{offsets // 3}; set config.model.offsets, or choose another file"
    )
  return state_dict.from_state_dict(state, template, _LAYOUT)


def read_checkpoint(path: str | os.PathLike, template: Mapping[str, Any]) -> Imported:
  """Reads a published checkpoint, or a bare state_dict.

  Args:
    path: a .pt file of torch.save.
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
    return Imported(
      from_state_dict(state_dict.tensors_of(content[MODEL]), template),
      onet_weights.read_count(content.get("it", 0), "it"),
      onet_weights.read_count(content.get("epoch", 0), "epoch"),
      onet_weights.read_best(content.get("loss_val_best")),
      None,
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
  """Writes a checkpoint in the published layout, which has no place for Adam's moments.

  Args:
    path: a .pt file, replaced in one piece.
    variables: {"params", "batch_stats"} of the network.
    step, epoch, best, adam: as in `onet_weights.Imported`.
  """
  del adam
  content: dict[str, Any] = {"epoch": int(epoch), "it": int(step)}
  if best is not None:
    content["loss_val_best"] = float(best)
  file.write(path, {**content, MODEL: to_state_dict(variables)})
