"""The closed mesh from which labels and pictures are made (host, numpy).

Shape letters: v vertices, f faces.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int


class Solid(NamedTuple):
  """A closed, consistently wound mesh whose faces look outward.

  Attributes:
    vertices: (v, 3) float64, each used by a face.
    faces: (f, 3) int64, at least four.
  """

  vertices: Float[np.ndarray, "v 3"]
  faces: Int[np.ndarray, "f 3"]
