"""Checkpoints of Deep Marching Cubes in the code of Occupancy Networks (host, numpy).

autonomousvision/occupancy_networks trained it, too, and saved it in the form that
`onet_weights` reads and writes.
"""

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np

from occnet_jax.interop import onet_weights, state_dict

# Order in which the reference registers modules; batch norms follow all other layers.
_LAYERS = (
  *("deconv4", "deconv3_1", "deconv3_2", "deconv2_off_1", "deconv2_off_2"),
  *("deconv2_occ_1", "deconv2_occ_2", "deconv1_off_1", "deconv1_off_2"),
  *("deconv1_occ_1", "deconv1_occ_2"),
  *("conv1_1", "conv1_2", "conv2_1", "conv2_2", "conv3_1", "conv3_2", "conv4"),
)
_LEAVES = ("weight", "bias", *state_dict.BUFFERS)


def _order(name: str) -> list[int]:
  top, second, *rest, leaf = name.split(".")
  if top == "encoder":  # of points: conv1.0 and conv2
    return [1, int(second == "conv2"), 0, _LEAVES.index(leaf)]
  (layer,) = rest
  position = _LAYERS.index(layer.removesuffix("_bn"))
  position += len(_LAYERS) if layer.endswith("_bn") else 0
  return [0, int(second == "encoder"), position, _LEAVES.index(leaf)]


def _window_axes(path: tuple[str, ...]) -> int:
  """The encoder's layers over points are convolutions of width 1."""
  return 1 if path[0] == "encoder" else 0


_LAYOUT = state_dict.Layout(order=_order, window_axes=_window_axes)


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
