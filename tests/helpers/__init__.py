"""Code that several tests share."""

import pathlib
from importlib.metadata import version

import numpy as np
from PIL import Image

ROOT = pathlib.Path(__file__).parents[2]


def read_picture(path):
  """The pixels of a picture file."""
  with Image.open(path) as picture:
    return np.asarray(picture)


# XLA's older emitters of fusions, which jaxlib had before 0.11; it ends a process that
# names a flag it does not have.
HAS_OLD_EMITTERS = tuple(map(int, version("jaxlib").split(".")[:2])) < (0, 11)
