"""Words that every other module shares: shape letters, batch keys, the Method record.

Shape letters: b shapes, n input points, t query points, v vertices, f faces, c code,
z latent, r grid side, h w image height and width, k images of one shape.

Batch keys (float32 unless said otherwise):
  points       (b, t, 3)  query points in the padded cube [-0.55, 0.55]^3
  occupancies  (b, t)     1 inside, 0 outside
  inputs                  what the shape is observed as, by config.data.inputs:
    cloud      (b, n, 3)        noisy points on its surface
    image      (b, h, w, 3)     one view of it, 0 to 1
    images     (b, k, h, w, 3)  several views
    voxels     (b, r, r, r)     a coarse occupancy grid, indexed (x, y, z)
    index      (b,) int32       its place in the training split, for a code table
    none       (b, 0)           nothing
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import flax.linen as nn
import numpy as np
from jaxtyping import Array, Float, PyTree, UInt8

Batch = dict[str, Any]
Variables = dict[str, Any]  # {"params": ..., "batch_stats": ...}
Latent = PyTree  # arrays with a leading axis b
Key = Any  # a JAX random key
Scalars = dict[str, Float[Array, ""]]
Picture = UInt8[np.ndarray, "h w 3"]


class Posterior(NamedTuple):
  """q(z | points, occupancies, inputs): normal, independent along z.

  Attributes:
    mean, logstd: (b, z).
  """

  mean: Any
  logstd: Any


InitFn = Callable[[Key, Batch], Variables]
LossFn = Callable[
  [Variables, Batch, Key, bool], tuple[Float[Array, ""], tuple[PyTree, Scalars]]
]
EncodeFn = Callable[[Variables, Any], Latent]
DecodeFn = Callable[[Variables, Latent, Float[Array, "b t 3"]], Any]
PosteriorFn = Callable[[Variables, Batch], Posterior]
WithLatentFn = Callable[[Latent, Float[Array, "b z"]], Latent]


class Method(NamedTuple):
  """One published system, so that no caller asks which model it holds.

  Attributes:
    net: linen module; holds sizes, never arrays.
    init: (key, batch) -> fresh variables for batches of this form.
    loss: (variables, batch, key, train) -> (loss, (new_stats, scalars)).
    encode: (variables, inputs) -> latent pytree, leading axis b; where there is a
      random z, at the mean of its prior.
    decode: (variables, latent, points (b, t, 3)) -> logits (b, t) for a field.
    output: which branch of extract/pipeline.py turns the output into a mesh.
    level: isosurface value: logit(tau) for occupancies, 0 for a distance.
    z_dim: size of the random z; 0 where there is none, and then the next two are None.
    posterior: (variables, batch) -> where z of these labelled points lies.
    with_z: (latent, z (b, z)) -> the latent with this z in it.
  """

  net: nn.Module
  init: InitFn
  loss: LossFn
  encode: EncodeFn
  decode: DecodeFn
  output: Literal["field", "grid", "points", "mesh"]
  level: float
  z_dim: int = 0
  posterior: PosteriorFn | None = None
  with_z: WithLatentFn | None = None
