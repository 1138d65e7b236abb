"""Shape As Points (Peng et al., NeurIPS 2021): oriented points and a Poisson solver
(device, jnp).

encode: cloud (b, n, 3) -> {"grid": (b, r, r, r)}, the field at the nodes of a periodic
grid, about 0.5 inside and -0.5 outside, indexed (x, y, z). A network moves m copies of
every input point a little and gives each a normal; `nn.poisson` makes the field.
decode: points (b, t, 3) -> its trilinear interpolation; there is nothing else to do.

Two frames meet here. Inputs and queries are in cube units about the origin. The network
and the solver work in the unit cube [0, 1]^3, which is a box of side 1.2 in cube units:
u = p / 1.2 + 0.5.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from occnet_jax import losses
from occnet_jax.config import lookup
from occnet_jax.models import convonet
from occnet_jax.nn import grid_features, periodic, poisson
from occnet_jax.nn.local_decoder import LocalDecoder
from occnet_jax.nn.local_encoders import LocalPoolPointnet
from occnet_jax.types import BuildOptions, Field, Method

LAST = 0.99  # of a coordinate in the unit cube, as published: 1 is 0 again


class OrientedPoints(NamedTuple):
  """What the network makes of clouds (b, n, 3), m for every input point.

  Attributes:
    points: (b, n m, 3) in the unit cube; those of one input point stand together.
    normals: (b, n m, 3) of any length.
    offsets: (b, n m, 3), by which points were moved, before their scale.
  """

  points: Any
  normals: Any
  offsets: Any


class Solver(NamedTuple):
  """Settings of the Poisson solver.

  Attributes:
    side: nodes r along an axis.
    sigma: smoothing, as of `poisson.solve`.
    box: side of the unit cube in cube units.
    corner_outside: as of `poisson.indicator`.
  """

  side: int = 128
  sigma: float = 2.0
  box: float = 1.2
  corner_outside: bool = False

  def to_unit(self, points: Float[Array, "b n 3"]) -> Float[Array, "b n 3"]:
    """Points in cube units as points of the unit cube."""
    return points / self.box + 0.5


class ShapeAsPoints(nn.Module):
  """An encoder of clouds, and decoders of offsets and of normals.

  Attributes:
    encoder: (points, positions=...) -> planes and grid, in the unit cube.
    decoder_normal: (points, planes and grid) -> normals.
    decoder_offset: (points, planes and grid, positions=...) -> m offsets (b, n, 3 m).
    solver: settings of the solver.
    offset_scale: of offsets, in the unit cube.
  """

  encoder: LocalPoolPointnet
  decoder_normal: LocalDecoder
  decoder_offset: LocalDecoder
  solver: Solver = Solver()
  offset_scale: float = 1e-3

  def __call__(
    self, inputs: Float[Array, "b n 3"], *, train: bool
  ) -> Float[Array, "b r r r"]:
    """The field of clouds in cube units, with the sign of the published code."""
    return self.solve(self.orient(self.solver.to_unit(inputs), train=train))

  def solve(self, oriented: OrientedPoints) -> Float[Array, "b r r r"]:
    """The field of oriented points."""
    return poisson.indicator(
      oriented.points,
      oriented.normals,
      self.solver.side,
      self.solver.sigma,
      corner_outside=self.solver.corner_outside,
    )

  def orient(self, points: Float[Array, "b n 3"], *, train: bool) -> OrientedPoints:
    """The oriented points of clouds in the unit cube."""
    b, n, _ = points.shape
    layout = self.encoder.layout
    cells = points * layout.side("grid" if "grid" in layout.names else "planes")
    within = cells - jnp.floor(cells)  # where in its cell a point is
    grids = self.encoder(points, train=train, positions=within)
    offsets = self.decoder_offset(points, grids, train=train, positions=within)
    offsets = offsets.reshape(b, -1, 3)
    copies = jnp.repeat(points, offsets.shape[1] // n, axis=1)
    moved = copies + self.offset_scale * offsets
    # As published, this decoder gets the position in the cube, not that in its cell.
    normals = self.decoder_normal(moved, grids, train=train)
    return OrientedPoints(jnp.clip(moved, 0, LAST), normals, offsets)


def method(net: ShapeAsPoints, *, level: float = 0.0) -> Method:
  """Shape As Points as a Method; batches have surface points with normals.

  Args:
    net: the module.
    level: value of the surface, between -0.5 outside and 0.5 inside.
  """
  solver = net.solver

  def init(key, batch):
    return net.init(key, batch["inputs"], train=True)

  def fields(variables, batch, train):
    """Fields of the batch's clouds and of its true surfaces, as published."""
    _check_targets(batch)
    surface = solver.to_unit(batch["surface"])
    targets = poisson.indicator(surface, batch["normals"], solver.side, 0.0)
    return net.apply(variables, batch["inputs"], train=train), targets

  def read(field, points):
    return periodic.read(field, solver.to_unit(points))

  def loss(variables, batch, key, train):
    del key  # nothing is drawn
    field, targets = fields(variables, batch, train)
    value = losses.tanh_l2(field, targets)
    iou = losses.batch_iou(read(-field, batch["points"]), batch["occupancies"], level)
    return value, (variables.get("batch_stats", {}), {"loss": value, "iou": iou})

  def encode(variables, inputs):
    return {"grid": -net.apply(variables, inputs, train=False)}

  def decode(variables, latent, points):
    del variables
    return read(latent["grid"], points)

  def score(variables, batch):
    """The published measure of validation, which has no tanh, and the IoU."""
    field, targets = fields(variables, batch, False)
    values = read(-field, batch["points"])
    return {
      "loss": jnp.square(field - targets).mean((1, 2, 3)),
      "iou": losses.iou_at_levels(values, batch["occupancies"], (level,))[:, 0],
    }

  return Method(init, loss, encode, decode, Field(level), score)


def _check_targets(batch: Mapping[str, Any]) -> None:
  if "surface" not in batch:
    raise ValueError(
      "config.data.targets lacks 'surface', the points and normals of the field that "
      "sap is trained with; add it"
    )


def build(model: Mapping[str, Any], options: BuildOptions) -> Method:
  """The network that the fields of configs/models/sap.py describe.

  Raises:
    ValueError: a name that no table has, or fields that do not go together.
  """
  if options.remat:
    raise ValueError(
      "config.train.remat is set, but sap's decoders keep little; unset it"
    )
  for name in ("offsets", "poisson_resolution"):
    if model[name] < 1:
      raise ValueError(f"config.model.{name} is {model[name]}; want at least 1")
  if (box := model["poisson_box"]) <= 1.1:
    raise ValueError(
      f"config.model.poisson_box is {box}; want more than 1.1, the side of the cube of "
      "the queries, whose far faces would otherwise be the same"
    )
  lookup(grid_features.POOLINGS, model["pooling"], "model.pooling")
  encoder = LocalPoolPointnet(
    convonet.layout(model, padding=None),
    model["c_dim"],
    model["encoder_hidden_size"],
    model["encoder_blocks"],
    model["pooling"],
    **convonet.unets(model),
  )
  sizes = model["hidden_size"], model["decoder_blocks"]
  normals, offsets = (
    LocalDecoder(*sizes, padding=None, outputs=count)
    for count in (3, 3 * model["offsets"])
  )
  smoothing = model["poisson_sigma"]
  outside = model["poisson_corner_outside"]
  solver = Solver(model["poisson_resolution"], smoothing, box, outside)
  net = ShapeAsPoints(encoder, normals, offsets, solver, model["offset_scale"])
  return method(net, level=options.threshold or 0.0)
