"""Checkpoints of Convolutional Occupancy Networks (host, numpy).

autonomousvision/convolutional_occupancy_networks saves them in the same form as
Occupancy Networks, which `onet_weights` reads and writes. The sets of planes and their
resolutions are not in a file: networks of one plane and of three have the same tensors,
so the config has to say which it is.
"""

import functools
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from occnet_jax.interop import onet_weights, state_dict

# Order in which the reference registers modules and parameters, level by level.
_SECOND = {
  "decoder": ("fc_c", "fc_p", "blocks", "fc_out"),
  "encoder": (
    *("fc_pos", "blocks", "fc_c", "conv_in", "unet", "unet3d"),
    *("sa1", "sa2", "sa3", "fp3", "fp2", "fp1"),
  ),
}
_INNER = (
  *("fc_0", "fc_1", "shortcut", "mlp_convs", "mlp_bns"),
  *("down_convs", "up_convs", "upconv", "conv1", "conv2", "conv_final"),
  *("encoders", "decoders", "basic_module", "SingleConv1", "SingleConv2"),
  *("groupnorm", "conv", "final_conv", "weight", "bias", *state_dict.BUFFERS),
)
# Modules of the encoder that tell one variant of the network from another.
_VARIANTS = {
  "fc_pos": "an encoder of clouds",
  "conv_in": "an encoder of voxels",
  "sa1": "PointNet++",
  "unet": "a U-Net of planes",
  "unet3d": "a U-Net of a grid",
}


def order(name: str) -> tuple[int, int, list[int]]:
  """Sort key of a tensor of the encoder or the decoder, as the reference numbers them.

  Modules in a list have their number as their name.
  """
  top, second, *rest = name.split(".")
  ranks = [int(part) if part.isdigit() else _INNER.index(part) for part in rest]
  return list(_SECOND).index(top), _SECOND[top].index(second), ranks


def _window_axes(path: tuple[str, ...]) -> int:
  """The layers of PointNet++ are 2D convolutions on its way down, 1D on its way up."""
  if "mlp_convs" not in path:
    return 0
  return 2 if path[1].startswith("sa") else 1


_LAYOUT = state_dict.Layout(order=order, window_axes=_window_axes)


def to_state_dict(variables: Mapping[str, Any]) -> dict[str, np.ndarray]:
  """The reference's state_dict of a network, in the reference's order.

  Args:
    variables: {"params", "batch_stats"}; the latter may be missing.
  """
  return state_dict.to_state_dict(variables, _LAYOUT)


def from_state_dict(state: state_dict.State, template: Mapping[str, Any]) -> Any:
  """The linen variables of a state_dict of the reference; see `state_dict`.

  Modules have the published names. The kernels of transposed convolutions are stored
  there as (in, out, h, w), which is (h, w, out, in) here like any other kernel, as
  `conv.ConvTranspose` has that of the convolution whose transpose it is.

  Raises:
    ValueError: the state_dict is of another variant than the template, of another
      system, or does not fit it.
  """
  names = [state_dict.current_name(name) for name in state]
  if not any(name.startswith("decoder.fc_c.0.") for name in names):
    raise ValueError(
      "it lacks decoder.fc_c.0, which all convolutional occupancy networks have; "
      "import it with the config of its own system, or choose another file"
    )
  in_file = _variant(n.split(".")[1] for n in names if n.startswith("encoder."))
  in_config = _variant(template["params"]["encoder"])
  if in_file != in_config:
    raise ValueError(
      f"it holds {in_file}, but the config's network has {in_config}; choose the "
      "variant of configs/convonet.py that it was trained with (config.model.encoder, "
      "features, unet_depth, unet3d_levels), or another file"
    )
  return state_dict.from_state_dict(state, template, _LAYOUT)


read_checkpoint = functools.partial(
  onet_weights.read_checkpoint, convert=from_state_dict
)
write_checkpoint = functools.partial(
  onet_weights.write_checkpoint, to_state=to_state_dict
)


def _variant(modules: Iterable[str]) -> str:
  """What an encoder of these modules consists of, in words."""
  present = set(modules)
  words = [words for module, words in _VARIANTS.items() if module in present]
  return " and ".join(words) or "no encoder of such a network"
