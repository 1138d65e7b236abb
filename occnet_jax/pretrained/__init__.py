"""Pretrained models that the package brings: a directory each, with weights and card.

`interop.weights` has the layout of these directories.
"""

import pathlib

DIRECTORY = pathlib.Path(__file__).parent


def names() -> list[str]:
  """Names of the packaged models, in order; each is a directory of DIRECTORY."""
  return sorted(path.parent.name for path in DIRECTORY.glob("*/config.json"))
