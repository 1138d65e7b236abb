"""Checkpoints of DeepSDF (host, numpy).

facebookresearch/DeepSDF saves a network in two files of one name below the directory of
an experiment: ModelParameters/<name>.pth has the decoder, whose names are those of
`nn.sdf_decoder` behind "module.", and LatentCodes/<name>.pth the codes of the training
shapes. The file that is named here is the former; the latter is found beside it. The
unit of lengths is not in a file: see config.model.scale.

A weight-normed layer has weight_g (out, 1), weight_v (out, in) and a bias.
"""

import os
import pathlib
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from occnet_jax.interop import onet_weights, state_dict
from occnet_jax.interop.onet_weights import Imported
from occnet_jax.interop.torch_format import file

MODEL, CODES = "model_state_dict", "latent_codes"
MODEL_FOLDER, CODES_FOLDER = "ModelParameters", "LatentCodes"
PREFIX = "module."
# Order in which a layer registers its tensors; lengths and directions come last.
_LEAVES = ("weight", "bias", "weight_g", "weight_v")
_LENGTHS = "_lengths"  # of the modules that hold the lengths alone, in between


def _order(name: str) -> tuple[int, bool, int]:
  """Sort key of a tensor: a layer before its norm, as the published code makes them."""
  module, _, leaf = name.rpartition(".")
  return int(re.sub(r"\D", "", module)), module.startswith("bn"), _LEAVES.index(leaf)


def to_state_dict(decoder: Mapping[str, Any]) -> dict[str, np.ndarray]:
  """The published state_dict of the parameters of a decoder."""
  state, split = {}, _split(decoder)
  named = state_dict.to_state_dict({"params": split}, state_dict.GENERIC)
  for name, array in named.items():
    module, _, leaf = name.rpartition(".")
    if module.endswith(_LENGTHS):
      state[f"{module.removesuffix(_LENGTHS)}.weight_g"] = array[:, None]
    elif leaf == "weight" and module + _LENGTHS in split:
      state[f"{module}.weight_v"] = array
    else:
      state[name] = array
  return {name: state[name] for name in sorted(state, key=_order)}


def from_state_dict(
  state: state_dict.State, decoder: Mapping[str, Any]
) -> dict[str, Any]:
  """The parameters of a decoder from a published state_dict; see `state_dict`.

  Args:
    state: name -> array, with or without "module.".
    decoder: parameters of this form, arrays or jax.ShapeDtypeStruct.
  """
  named = {}
  for name, array in state.items():
    module, _, leaf = state_dict.current_name(name).rpartition(".")
    if leaf == "weight_g" and getattr(array, "ndim", 0) == 2:
      named[f"{module}{_LENGTHS}.weight"] = array[:, 0]
    else:
      named[f"{module}.{'weight' if leaf == 'weight_v' else leaf}"] = array
  split = state_dict.from_state_dict(named, {"params": _split(decoder)})["params"]
  return {
    name: {
      leaf: split[name + _LENGTHS]["scale"]
      if leaf == "scale" and "kernel" in leaves
      else split[name][leaf]
      for leaf in leaves
    }
    for name, leaves in decoder.items()
  }


def _split(decoder: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
  """The decoder with the lengths of weight norms as modules of their own.

  A layer norm has a scale as well, but no kernel.
  """
  split: dict[str, dict[str, Any]] = {}
  for name, leaves in decoder.items():
    rest = dict(leaves)
    if "kernel" in leaves and "scale" in leaves:
      split[name + _LENGTHS] = {"scale": rest.pop("scale")}
    split[name] = rest
  return split


def codes_path(path: str | os.PathLike) -> pathlib.Path:
  """The file of the codes that belongs to a file of a decoder.

  Raises:
    ValueError: the file of the decoder is not in a folder of the published name.
  """
  path = pathlib.Path(path)
  if path.absolute().parent.name != MODEL_FOLDER:
    raise ValueError(
      f"{path}: a network of DeepSDF is two files; want the one in a folder "
      f"{MODEL_FOLDER}, beside which {CODES_FOLDER} has one of the same name"
    )
  return path.absolute().parent.parent / CODES_FOLDER / path.name


def count_codes(path: str | os.PathLike) -> int:
  """The number of codes in the file that belongs to a decoder."""
  return len(_read_codes(codes_path(path))[0])


def _read_codes(path: pathlib.Path) -> tuple[np.ndarray, int]:
  """The codes (n, c) of a file, and its epoch."""
  content = file.read(path)
  table = content.get(CODES) if isinstance(content, Mapping) else None
  table = table.get("weight") if isinstance(table, Mapping) else table
  if not isinstance(table, np.ndarray) or table.ndim != 2:
    raise ValueError(
      f"{path}: holds no codes; want a file of {CODES_FOLDER} with {CODES!r}, a table "
      "(shapes, size of a code)"
    )
  return table, onet_weights.read_count(content.get("epoch", 0), "epoch")


def read_checkpoint(path: str | os.PathLike, template: Mapping[str, Any]) -> Imported:
  """Reads a published network from its two files; they count epochs, and no steps.

  Args:
    path: the .pth file in ModelParameters.
    template: {"params", "batch_stats"} of the network, arrays or
      jax.ShapeDtypeStruct.

  Raises:
    ValueError: a file is missing or no checkpoint, does not fit the network, or is of
      another epoch than the other.
  """
  table, epoch_of_codes = _read_codes(codes_path(path))
  content = file.read(path)
  try:
    if not isinstance(content, Mapping) or MODEL not in content:
      raise ValueError(f"holds no {MODEL!r}; want a file that DeepSDF's training wrote")
    epoch = onet_weights.read_count(content.get("epoch", 0), "epoch")
    if epoch != epoch_of_codes:
      raise ValueError(
        f"is of epoch {epoch}, its codes of epoch {epoch_of_codes}; take two files of "
        "one epoch"
      )
    state = state_dict.tensors_of(content[MODEL])
    params = template["params"]
    decoder = from_state_dict(state, params["decoder"])
    encoder = state_dict.from_state_dict(
      {"weight": table}, {"params": params["encoder"]}
    )
  except ValueError as error:
    raise ValueError(f"{path}: {error}") from error
  variables = {"params": {"decoder": decoder, "encoder": encoder["params"]}}
  return Imported({**variables, "batch_stats": {}}, 0, epoch, None, None)


def write_checkpoint(
  path: str | os.PathLike,
  variables: Mapping[str, Any],
  *,
  step: int,
  epoch: int = 0,
  best: float | None = None,
  adam: Mapping[str, Any] | None = None,
) -> None:
  """Writes the two files of a network, which have no place for step and best.

  Adam's moments, which DeepSDF keeps in a third file, are left out.

  Args:
    path: a .pth file in a folder ModelParameters; both files are replaced in one piece.
    variables: {"params", "batch_stats"} of the network.
    step, epoch, best, adam: as in `onet_weights.Imported`.
  """
  del step, best, adam
  params, codes = variables["params"], codes_path(path)
  state = to_state_dict(params["decoder"])
  for target, content in (
    (pathlib.Path(path), {MODEL: {PREFIX + k: array for k, array in state.items()}}),
    (codes, {CODES: {"weight": np.asarray(params["encoder"]["embedding"])}}),
  ):
    file.write(target, {"epoch": int(epoch), **content})
