"""A ResNet's weights from a torchvision file (host)."""

import os
from collections.abc import Mapping
from typing import Any

from occnet_jax.interop.onet_weights import _state
from occnet_jax.interop.state_dict import from_state_dict
from occnet_jax.interop.torch_format import file


def read_torchvision(
  path: str | os.PathLike, template: Mapping[str, Any]
) -> dict[str, Any]:
  """The weights of a ResNet as torchvision publishes them, without its classifier.

  Args:
    path: a .pth file.
    template: {"params", "batch_stats"} of the encoder's "features".

  Raises:
    ValueError: it is no such file, or does not fit.
  """
  content = file.read(path)
  try:
    state = {k: v for k, v in _state(content).items() if str(k)[:3] != "fc."}
    return from_state_dict(state, template)
  except ValueError as error:
    raise ValueError(f"{path}: {error}") from error
