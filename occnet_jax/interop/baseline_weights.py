"""Checkpoints of the baselines in the code of Occupancy Networks (host, numpy).

autonomousvision/occupancy_networks trained 3D-R2N2, PSGN and Pixel2Mesh, too, and saved
them in the form that `onet_weights` reads and writes.
"""

import functools
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from occnet_jax.interop import onet_weights, state_dict

# Order in which the reference registers modules; the layers of a Sequential have their
# number as their name.
_SECOND = {
  "decoder": (
    *("fc_in", "convtrp_", "fc_branch", "fc_", "fc_out", "deconv_", "conv_"),
    *("conv_out", "gc"),
  ),
  "encoder": ("conv_block", "trans_conv"),
}
_LINEAR = ("lin", "lin2")  # of a graph convolution
_LEAVES = ("weight", "bias")


def _order(name: str) -> list[tuple[int, int]]:
  top, second, *inner, leaf = name.split(".")
  table = _SECOND[top]
  stem, number = re.fullmatch(r"(.*?)(\d*)", second).groups()
  if second not in table and stem not in table:  # an encoder of occupancy networks
    return onet_weights.registration_rank(name, simple=True)
  position = table.index(second if second in table else stem)
  # The first pair agrees with that of `registration_rank`, whose tables have a decoder
  # first and the encoder behind that of latents.
  ranks = [(0 if top == "decoder" else 2, 0), (position, int(number or 0))]
  numbers = (_LINEAR.index(part) if part in _LINEAR else int(part) for part in inner)
  return [*ranks, *((0, number) for number in numbers), (0, _LEAVES.index(leaf))]


_LAYOUT = state_dict.Layout(order=_order)


def to_state_dict(variables: Mapping[str, Any]) -> dict[str, np.ndarray]:
  """The reference's state_dict of a network, in the reference's order.

  Args:
    variables: {"params", "batch_stats"}; the latter may be missing.
  """
  return state_dict.to_state_dict(variables, _LAYOUT)


def from_state_dict(state: state_dict.State, template: Mapping[str, Any]) -> Any:
  """The linen variables of a state_dict of the reference; see `state_dict`."""
  return state_dict.from_state_dict(state, template, _LAYOUT)


read_checkpoint = functools.partial(
  onet_weights.read_checkpoint, convert=from_state_dict
)
write_checkpoint = functools.partial(
  onet_weights.write_checkpoint, to_state=to_state_dict
)
