"""Code that several tests share."""

import pathlib

import numpy as np
from PIL import Image

ROOT = pathlib.Path(__file__).parents[2]


def read_picture(path):
  """The pixels of a picture file."""
  with Image.open(path) as picture:
    return np.asarray(picture)
