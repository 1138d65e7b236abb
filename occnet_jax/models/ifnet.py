"""IF-Net (Chibane et al., CVPR 2020): feature grids at several scales (device, jnp).

encode: an occupancy grid, or a cloud that is made one -> a tuple of feature grids;
decode: their features at a point and its six neighbours -> a logit. The grids span the
unit cube [-0.5, 0.5]^3 without padding; queries beyond it, up to 0.55 in this package,
read the grids' border or zeros.
"""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

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
    levels_used: grids that are used, counted from the coarsest; 0 for all.
  """

  encoder: MultiscaleEncoder
  decoder: MultiscaleDecoder
  resolution: int = 128
  levels_used: int = 0

  def __call__(
    self,
    inputs: Float[Array, "b ..."],
    points: Float[Array, "b t 3"],
    levels: Int[Array, " b"] | None = None,
    *,
    train: bool,
  ) -> Float[Array, "b t"]:
    return self.decode(points, self.encode(inputs, levels, train=train), train=train)

  def encode(
    self,
    inputs: Float[Array, "b ..."],
    levels: Int[Array, " b"] | None = None,
    *,
    train: bool,
  ) -> Volumes:
    """The feature grids of occupancy grids (b, r, r, r) or of clouds (b, n, 3).

    Args:
      inputs: grids or clouds.
      levels: number of grids that each shape uses, counted from the coarsest; the
        others are zeros. None for `levels_used`.
      train: whether batch norm uses the statistics of the batch.

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
    volumes = self.encoder(inputs, train=train)
    if levels is None:
      first = len(volumes) - self.levels_used if self.levels_used else 0
      return tuple(x if i >= first else 0 * x for i, x in enumerate(volumes))
    used = levels.reshape(-1, 1, 1, 1, 1)  # the finest grid is the first
    return tuple(
      jnp.where(used >= len(volumes) - i, x, 0) for i, x in enumerate(volumes)
    )

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
  grids, used, share = len(levels) + 1, model["levels_used"], model["level_dropout"]
  if not 0 <= used <= grids or not 0 <= share <= 1:
    raise ValueError(
      f"config.model has levels_used={used} and level_dropout={share}; want at most "
      f"{grids}, the grids of this network with its input, or 0 for all, and a share"
    )
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
    used,
  )
  chosen = options.threshold
  method = occupancy.method(
    net,
    tau=model["tau"] if chosen is None else chosen,
    candidates=tuple(model["tau_grid"]) if chosen is None else (),
  )._replace(pads=True)
  return _with_dropout(method, net, grids, share) if share else method


def _with_dropout(method: Method, net: IFNet, grids: int, share: float) -> Method:
  """The method, trained so that its coarsest grids alone give a surface, too.

  Args:
    method: that of the network.
    net: the network.
    grids: its number of grids, the input among them.
    share: share of the shapes of a batch that use fewer, 1 to all but one as often.
  """

  def loss(variables, batch, key, train):
    if not train:
      return method.loss(variables, batch, key, train)
    which, how_many = jax.random.split(key)
    shapes = len(batch["points"])
    dropped = jax.random.uniform(which, (shapes,)) < share
    fewer = jax.random.randint(how_many, (shapes,), 1, grids)
    levels = jnp.where(dropped, fewer, grids)
    args = batch["inputs"], batch["points"], levels
    logits, stats = occupancy.apply(net, variables, *args, train=True)
    value, logged = occupancy.scalars(logits, batch, method.output)
    return occupancy.loss_result(value, stats, logged, batch)

  return method._replace(loss=loss)
