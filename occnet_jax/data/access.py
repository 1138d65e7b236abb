"""How the arrays of a stored example are read (host, or device under jax.vmap)."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np


class Access(NamedTuple):
  """Where an example's arrays lie.

  Attributes:
    xp: numpy, or jax.numpy.
    take: (array, rows) -> these rows of an array of the example.
  """

  xp: Any
  take: Callable[[Any, Any], Any]


HOST = Access(np, lambda array, rows: array[rows])
