"""Words that every other module shares: shape letters, batch keys, the Method record.

Shape letters: b shapes, n input points, t query points, v vertices, f faces, c code,
z latent, r grid side, h w image height and width.

Batch keys (float32 unless said otherwise):
  points       (b, t, 3)  query points in the padded cube [-0.55, 0.55]^3
  occupancies  (b, t)     1 inside, 0 outside
  inputs       (b, n, 3)  what the shape is observed as; here a noisy point cloud
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import flax.linen as nn
from jaxtyping import Array, Float, PyTree

Batch = dict[str, Any]
Variables = dict[str, Any]  # {"params": ..., "batch_stats": ...}
Latent = PyTree  # arrays with a leading axis b
Key = Any  # a JAX random key
Scalars = dict[str, Float[Array, ""]]
InitFn = Callable[[Key, Batch], Variables]
LossFn = Callable[
  [Variables, Batch, Key, bool], tuple[Float[Array, ""], tuple[PyTree, Scalars]]
]
EncodeFn = Callable[[Variables, Any], Latent]
DecodeFn = Callable[[Variables, Latent, Float[Array, "b t 3"]], Any]


class Method(NamedTuple):
  """One published system, so that no caller asks which model it holds.

  Attributes:
    net: linen module; holds sizes, never arrays.
    init: (key, batch) -> fresh variables for batches of this form.
    loss: (variables, batch, key, train) -> (loss, (new_stats, scalars)).
    encode: (variables, inputs) -> latent pytree, leading axis b.
    decode: (variables, latent, points (b, t, 3)) -> logits (b, t) for a field.
    output: which branch of extract/pipeline.py turns the output into a mesh.
    level: isosurface value: logit(tau) for occupancies, 0 for a distance.
  """

  net: nn.Module
  init: InitFn
  loss: LossFn
  encode: EncodeFn
  decode: DecodeFn
  output: Literal["field", "grid", "points", "mesh"]
  level: float
