"""3D-R2N2 (Choy et al., ECCV 2016), no recurrence: a grid from a code (device, jnp).

The form that occupancy networks were compared with (Mescheder et al. 2019, section 4):
one encoder of images or clouds, and transposed convolutions to a grid of 32^3 cells.
"""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from occnet_jax import losses
from occnet_jax.config import lookup
from occnet_jax.models.encoders import ENCODERS
from occnet_jax.nn.grid_decoder import R2N2Decoder
from occnet_jax.types import BuildOptions, Grid, Method


class R2N2(nn.Module):
  """An encoder of observations and a decoder of grids.

  Attributes:
    encoder: (inputs, train=...) -> code (b, c).
    decoder: (code, train=...) -> logits (b, r, r, r).
  """

  encoder: nn.Module
  decoder: R2N2Decoder

  def __call__(self, inputs: Any, *, train: bool) -> Float[Array, "b r r r"]:
    return self.decoder(self.encoder(inputs, train=train), train=train)

  def encode(self, inputs: Any, *, train: bool) -> Float[Array, "b c"]:
    return self.encoder(inputs, train=train)

  def decode(
    self, code: Float[Array, "b c"], *, train: bool
  ) -> Float[Array, "b r r r"]:
    return self.decoder(code, train=train)


def cells_at(
  grid: Float[Array, "b r r r"], points: Float[Array, "b t 3"]
) -> Float[Array, "b t"]:
  """The value of the cell of [-0.5, 0.5]^3 around each point; -inf outside the cube."""
  side = grid.shape[-1]
  # The floor, not a cut: a point just below -0.5 is outside, not in cell 0.
  cells = jnp.floor((points + 0.5) * side).astype(jnp.int32)
  inside = ((cells >= 0) & (cells < side)).all(-1)
  x, y, z = jnp.moveaxis(jnp.clip(cells, 0, side - 1), -1, 0)
  values = jax.vmap(lambda cells, i, j, k: cells[i, j, k])(grid, x, y, z)
  return jnp.where(inside, values, -jnp.inf)


def method(net: R2N2, *, tau: float) -> Method:
  """3D-R2N2 as a Method; batches have the target grid under "voxels".

  Args:
    net: the module.
    tau: occupancy probability from which on a cell is inside.
  """
  level = losses.logit(tau)

  def init(key, batch):
    return net.init(key, batch["inputs"], train=True)

  def ious(logits, batch):
    flat = logits.reshape(len(logits), -1), batch["voxels"].reshape(len(logits), -1)
    at_points = cells_at(logits, batch["points"])
    return {
      "iou": losses.iou_at_levels(at_points, batch["occupancies"], (level,))[:, 0],
      "iou_voxels": losses.iou_at_levels(*flat, (level,))[:, 0],
    }

  def loss(variables, batch, key, train):
    del key  # nothing is drawn
    if train:
      logits, changed = net.apply(
        variables, batch["inputs"], train=True, mutable=["batch_stats"]
      )
      stats = changed.get("batch_stats", {})
    else:
      logits = net.apply(variables, batch["inputs"], train=False)
      stats = variables.get("batch_stats", {})
    _check_side(logits, batch)
    value = losses.grid_cross_entropy(logits, batch["voxels"])
    means = {name: iou.mean() for name, iou in ious(logits, batch).items()}
    return value, (stats, {"loss": value, **means})

  def encode(variables, inputs):
    return net.apply(variables, inputs, train=False, method="encode")

  def decode(variables, latent):
    return net.apply(variables, latent, train=False, method="decode")

  def score(variables, batch):
    logits = decode(variables, encode(variables, batch["inputs"]))
    _check_side(logits, batch)
    per_shape = jax.vmap(losses.grid_cross_entropy)
    loss = per_shape(logits[:, None], batch["voxels"][:, None])
    return {"loss": loss, **ious(logits, batch)}

  return Method(init, loss, encode, decode, Grid(level), score)


def _check_side(logits: Float[Array, "b r r r"], batch: Mapping[str, Any]) -> None:
  """Raises ValueError if the data lack the grid, or it has another side."""
  if "voxels" not in batch:
    raise ValueError("config.data.targets lacks 'voxels', the target grid of r2n2")
  if logits.shape != batch["voxels"].shape:
    raise ValueError(
      f"config.model.channels make a grid of {logits.shape[-1]} cells a side, but "
      f"config.prep.voxel_side={batch['voxels'].shape[-1]}; want the same"
    )


def build(model: Mapping[str, Any], options: BuildOptions) -> Method:
  """The network that the fields of configs/models/r2n2.py describe.

  Raises:
    ValueError: an unknown encoder, or a setting that this system does not have.
  """
  if options.remat:
    raise ValueError("config.train.remat is set, but r2n2 has no blocks; unset it")
  norm = {
    "axis_name": options.axis_name,
    "unbiased_variance": model["unbiased_variance"],
  }
  if model["encoder"] in ("none", "code_table"):
    raise ValueError(
      f"config.model.encoder is {model['encoder']!r}; r2n2 wants an encoder of clouds, "
      "images or voxels"
    )
  encoder = lookup(ENCODERS, model["encoder"], "model.encoder")(model, **norm)
  net = R2N2(encoder, R2N2Decoder(tuple(model["channels"])))
  chosen = options.threshold
  return method(net, tau=model["tau"] if chosen is None else chosen)
