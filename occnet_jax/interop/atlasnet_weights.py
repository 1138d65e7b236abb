"""Checkpoints of the published implementation of AtlasNet (host, numpy).

ThibaultGROUEIX/AtlasNet saves a bare state_dict, with the prefix of parallel training.
Its layers over points are convolutions of width 1, and every patch has modules of its
own, whose weights have a common first axis here:

  published                        here
  decoder.decoder.<p>.conv1        decoder/decoder/conv1, entry p
  decoder.decoder.<p>.bn_list.<i>  decoder/decoder/bn_list_<i>, entry p

Only the networks of clouds have these files: images pass another encoder here.
"""

import functools
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from flax import traverse_util

from occnet_jax.interop import onet_weights, state_dict

_MODULES = (
  *("encoder", "decoder"),
  *("conv1", "conv2", "conv_list", "conv3", "lin1", "lin2", "last_conv"),
  *("bn1", "bn2", "bn_list", "bn3", "bn4", "bn5"),
  *("weight", "bias", *state_dict.BUFFERS),
)


def _order(name: str) -> list[int]:
  parts = name.split(".")
  return [int(part) if part.isdigit() else _MODULES.index(part) for part in parts]


def _window_axes(path: tuple[str, ...]) -> int:
  return 0 if path[-1].startswith("lin") else 1


_LAYOUT = state_dict.Layout(order=_order, window_axes=_window_axes)


def to_state_dict(variables: Mapping[str, Any]) -> dict[str, np.ndarray]:
  """The published state_dict of a network, in the order of its modules.

  Args:
    variables: {"params", "batch_stats"}; the latter may be missing.
  """
  return state_dict.to_state_dict(_apart(variables), _LAYOUT)


def from_state_dict(state: state_dict.State, template: Mapping[str, Any]) -> Any:
  """The linen variables of a published state_dict; see `state_dict`."""
  flat = state_dict.from_state_dict(state, _apart(template), _LAYOUT)
  return _together(flat)


read_checkpoint = functools.partial(
  onet_weights.read_checkpoint, convert=from_state_dict
)
write_checkpoint = functools.partial(
  onet_weights.write_checkpoint, to_state=to_state_dict
)


def _apart(variables: Mapping[str, Any]) -> dict[str, Any]:
  """Variables with modules for each patch; leaves are arrays or ShapeDtypeStruct."""
  apart: dict[tuple[str, ...], Any] = {}
  for path, leaf in traverse_util.flatten_dict(dict(variables)).items():
    if path[1:3] != ("decoder", "decoder"):
      apart[path] = leaf
      continue
    module = re.fullmatch(r"(.*_list)_(\d+)", path[3])
    names = module.groups() if module else (path[3],)
    for patch in range(leaf.shape[0]):
      place = (*path[:3], str(patch), *names, *path[4:])
      apart[place] = (
        np.asarray(leaf)[patch]
        if hasattr(leaf, "__array__")
        else type(leaf)(leaf.shape[1:], leaf.dtype)
      )
  return traverse_util.unflatten_dict(apart)


def _together(variables: Mapping[str, Any]) -> dict[str, Any]:
  """The inverse of `_apart` for arrays."""
  together: dict[tuple[str, ...], Any] = {}
  patches: dict[tuple[str, ...], dict[int, np.ndarray]] = {}
  for path, leaf in traverse_util.flatten_dict(dict(variables)).items():
    if path[1:3] != ("decoder", "decoder"):
      together[path] = leaf
      continue
    *names, last = path[4:]
    place = (*path[:3], "_".join(names), last)
    patches.setdefault(place, {})[int(path[3])] = leaf
  for place, leaves in patches.items():
    together[place] = np.stack([leaves[patch] for patch in range(len(leaves))])
  return traverse_util.unflatten_dict(together)
