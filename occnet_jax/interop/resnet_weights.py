"""Weights of a ResNet from a torchvision file (host)."""

import os
from collections.abc import Mapping
from typing import Any

from occnet_jax.interop import state_dict
from occnet_jax.interop.torch_format import file


def read_torchvision(
  path: str | os.PathLike, template: Mapping[str, Any]
) -> dict[str, Any]:
  """The weights of a ResNet as torchvision publishes them, without its classifier.

  Args:
    path: a .pth file.
    template: {"params", "batch_stats"} of the encoder's "features".

  Raises:
    ValueError: the file holds no ResNet, or another one.
  """
  content = file.read(path)
  try:
    tensors = state_dict.tensors_of(content).items()
    state = {name: v for name, v in tensors if not str(name).startswith("fc.")}
    return state_dict.from_state_dict(state, template)
  except ValueError as error:
    raise ValueError(f"{path}: {error}") from error


def with_pretrained_features(
  path: str | os.PathLike, encoder: Mapping[str, Any]
) -> dict[str, Any]:
  """An encoder whose ResNet starts from the weights in a torchvision file.

  Args:
    path: a .pth file.
    encoder: {"params", "batch_stats"} of an image encoder; stays as it is.

  Returns:
    The same with other "features".

  Raises:
    ValueError: the encoder has no ResNet, or not the one in the file.
  """
  if "features" not in encoder["params"]:
    raise ValueError(
      f"config.model.pretrained is {path}, but config.model.encoder is no ResNet; set "
      'pretrained to "", or the encoder to a ResNet'
    )
  read = read_torchvision(path, {k: tree["features"] for k, tree in encoder.items()})
  return {k: {**tree, "features": read[k]} for k, tree in encoder.items()}
