"""Deep Marching Cubes (Liao et al., CVPR 2018): occupied corners and vertices between
them (device, jnp).

encode: cloud (b, n, 3) -> features at the corners of a grid (b, s, s, s, f).
decode: -> occupancies of the corners (b, s, s, s) and offsets of the vertices on edges
(b, 3, s, s, s); `extract.grid.cell_topologies` makes a mesh of them. The form is that
with which occupancy networks were compared. The grid covers a cube of side 1.2.
"""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from occnet_jax.models import point_sets
from occnet_jax.nn import dmc_losses
from occnet_jax.nn.dmc import CellDecoder, CellEncoder
from occnet_jax.nn.norm import NormSettings
from occnet_jax.types import BuildOptions, CellTopologies, Method

BOX = 1.2  # side of the grid's cube, in cube units


class DeepMarchingCubes(nn.Module):
  """The network.

  Attributes:
    encoder: points in cells -> features at the corners.
    decoder: features -> occupancies and offsets.
  """

  encoder: CellEncoder
  decoder: CellDecoder

  def __call__(self, inputs: Float[Array, "b n 3"], *, train: bool):
    return self.decode(self.encode(inputs), train=train)

  def encode(self, inputs: Float[Array, "b n 3"]) -> Float[Array, "b s s s f"]:
    return self.encoder(to_cells(inputs, self.encoder.side))

  def decode(self, features: Float[Array, "b s s s f"], *, train: bool):
    return self.decoder(features, train=train)


def to_cells(points: Float[Array, "... 3"], side: int) -> Float[Array, "... 3"]:
  """Points in cube units -> in cells of the grid, 0 to `side`."""
  return side * (points / BOX + 0.5)


def build(model: Mapping[str, Any], options: BuildOptions) -> Method:
  """The network that the fields of configs/models/dmc.py describe.

  Raises:
    ValueError: a setting that this system does not have, or a grid that is too coarse.
  """
  point_sets.check_options("dmc", {"encoder": "cells"}, options)
  side = model["resolution"]
  if side < 7:
    raise ValueError(
      f"config.model.resolution is {side}; want at least 7 cells a side, which three "
      "poolings leave one of"
    )
  norm = NormSettings(options.axis_name, model["unbiased_variance"])
  net = DeepMarchingCubes(CellEncoder(side, model["c_dim"]), CellDecoder(norm))

  def init(key, batch):
    return net.init(key, batch["inputs"], train=True)

  def encode(variables, inputs):
    return net.apply(variables, inputs, method="encode")

  def decode(variables, latent):
    return net.apply(variables, latent, train=False, method="decode")

  @jax.checkpoint  # a shape has 220 triangles in each cell
  def terms_of(shape):
    occupancy, offset, surface = shape
    return dmc_losses.loss_terms(
      occupancy,
      offset,
      to_cells(surface, side),
      published=model["published_curvature"],
    )

  def terms(predicted, batch):
    surface = point_sets.surface_of(batch, "dmc")
    return lax.map(terms_of, (*predicted, surface))  # one shape in memory at a time

  def loss(variables, batch, key, train):
    del key  # nothing is drawn
    if train:
      predicted, changed = net.apply(
        variables, batch["inputs"], train=True, mutable=["batch_stats"]
      )
    else:
      predicted, changed = net.apply(variables, batch["inputs"], train=False), {}
    means = {name: term.mean() for name, term in terms(predicted, batch).items()}
    value = jnp.stack(list(means.values())).sum()
    stats = changed.get("batch_stats", variables.get("batch_stats", {}))
    return value, (stats, {"loss": value, **means})

  def score(variables, batch):
    predicted = decode(variables, encode(variables, batch["inputs"]))
    return {"loss": jnp.stack(list(terms(predicted, batch).values())).sum(0)}

  return Method(init, loss, encode, decode, CellTopologies(BOX), score)
