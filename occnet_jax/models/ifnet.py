"""IF-Net (Chibane et al., CVPR 2020): feature grids at several scales (device, jnp).

encode: an occupancy grid, or a cloud that is made one -> a tuple of feature grids;
decode: their features at a point and its six neighbours -> a logit. The grids span the
unit cube [-0.5, 0.5]^3 without padding; queries beyond it, up to 0.55 in this package,
read the grids' border or zeros.
"""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
from jaxtyping import Array, Float

from occnet_jax.models import occupancy
from occnet_jax.nn.multiscale import (
  MultiscaleDecoder,
  MultiscaleEncoder,
  check_side,
  voxelise,
)
from occnet_jax.nn.norm import NormSettings
from occnet_jax.types import BuildOptions, Method

Volumes = tuple[Float[Array, "..."], ...]  # grids (b, r, r, r, f), finest first
OUTSIDE = ("border", "zeros")


class IFNet(nn.Module):
  """An encoder of grids and a decoder of points.

  Attributes:
    encoder: grid (b, r, r, r) -> feature grids.
    decoder: (points (b, t, 3), feature grids) -> logits (b, t).
    resolution: nodes along a side of the grid that a cloud becomes.
  """

  encoder: MultiscaleEncoder
  decoder: MultiscaleDecoder
  resolution: int = 128

  def __call__(
    self, inputs: Float[Array, "b ..."], points: Float[Array, "b t 3"], *, train: bool
  ) -> Float[Array, "b t"]:
    return self.decode(points, self.encode(inputs, train=train), train=train)

  def encode(self, inputs: Float[Array, "b ..."], *, train: bool) -> Volumes:
    """The feature grids of occupancy grids (b, r, r, r) or of clouds (b, n, 3).

    Raises:
      ValueError: inputs of another form, or a side that does not suit the levels.
    """
    if inputs.ndim == 3 and inputs.shape[-1] == 3:
      inputs = voxelise(inputs, self.resolution)
    if inputs.ndim != 4 or len(set(inputs.shape[1:])) > 1:
      raise ValueError(
        f"inputs of shape {inputs.shape}; ifnet wants clouds (b, n, 3) or grids "
        "(b, r, r, r): set config.data.inputs to cloud or voxels"
      )
    return self.encoder(inputs, train=train)

  def decode(
    self, points: Float[Array, "b t 3"], volumes: Volumes, *, train: bool
  ) -> Float[Array, "b t"]:
    del train  # the decoder has no norm
    return self.decoder(points, volumes)


def build(model: Mapping[str, Any], options: BuildOptions) -> Method:
  """The network that the fields of configs/models/ifnet.py describe.

  Raises:
    ValueError: fields that do not go together, or a setting that this system lacks.
  """
  if options.remat:
    raise ValueError("config.train.remat is set, but ifnet has no blocks; unset it")
  if model["outside"] not in OUTSIDE:
    raise ValueError(
      f"config.model.outside is {model['outside']!r}; want one of: {', '.join(OUTSIDE)}"
    )
  levels = tuple(tuple(level) for level in model["levels"])
  check_side(model["resolution"], len(levels))
  norm = NormSettings(options.axis_name, model["unbiased_variance"])
  net = IFNet(
    MultiscaleEncoder(levels, norm),
    MultiscaleDecoder(
      hidden_sizes=tuple(model["hidden_sizes"]),
      displacement=model["displacement"],
      border=model["outside"] == "border",
      coordinates=model["coordinates"],
    ),
    model["resolution"],
  )
  chosen = options.threshold
  return occupancy.method(
    net,
    tau=model["tau"] if chosen is None else chosen,
    candidates=tuple(model["tau_grid"]) if chosen is None else (),
  )
