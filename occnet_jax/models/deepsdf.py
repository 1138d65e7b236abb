"""DeepSDF (Park et al., CVPR 2019): distances from a table of codes (device, jnp).

The decoder gives distances, negative inside. A Method's field is larger inside, so
`decode` negates them. Lengths are cube units; the published code scales shapes to a
sphere of radius 1 / 1.03 instead, so its clamp of 0.1 is a shorter share of a shape.
`scale` is for weights of that code: with 2 / 1.1 the cube of side 1.1 is the network's
own, from -1 to 1.
"""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
from jaxtyping import Array, Float, Int

from occnet_jax import losses
from occnet_jax.nn.embedding import CodeTable
from occnet_jax.nn.sdf_decoder import SDFDecoder
from occnet_jax.types import BuildOptions, Field, Method


class DeepSDF(nn.Module):
  """A table of codes and a decoder of points.

  Attributes:
    encoder: rows of the training split (b,) -> codes (b, c).
    decoder: (points (b, t, 3), codes, train=...) -> signed distances (b, t).
    scale: lengths of the decoder are those in cube units times this.
  """

  encoder: CodeTable
  decoder: SDFDecoder
  scale: float = 1.0

  def __call__(
    self, indices: Int[Array, " b"], points: Float[Array, "b t 3"], *, train: bool
  ) -> tuple[Float[Array, "b t"], Float[Array, "b c"]]:
    """Signed distances of the points to each shape, and the shapes' codes."""
    codes = self.encode(indices)
    return self.decode(points, codes, train=train), codes

  def encode(self, indices: Int[Array, " b"]) -> Float[Array, "b c"]:
    return self.encoder(indices, train=False)

  def decode(
    self, points: Float[Array, "b t 3"], codes: Float[Array, "b c"], *, train: bool
  ) -> Float[Array, "b t"]:
    return self.decoder(self.scale * points, codes, train=train) / self.scale


def method(
  net: DeepSDF, *, clamp: float = 0.1, code_weight: float = 1e-4, level: float = 0.0
) -> Method:
  """DeepSDF as a Method; batches have signed distances under "distances".

  Args:
    net: the module.
    clamp: largest distance that counts in the loss.
    code_weight: weight of the mean length of the codes. (The published code raises it
      from 0 during the first 100 epochs.)
    level: negated signed distance of the surface.
  """

  def init(key, batch):
    keys = {"params": key, "dropout": key}
    return net.init(keys, batch["inputs"], batch["points"], train=True)

  def loss(variables, batch, key, train):
    _check_targets(batch)
    distances, codes = net.apply(
      variables, batch["inputs"], batch["points"], train=train, rngs={"dropout": key}
    )
    error = losses.clamped_l1(distances, batch["distances"], clamp)
    value = error + code_weight * losses.mean_code_norm(codes)
    iou = losses.batch_iou(-distances, batch["occupancies"], level)
    scalars = {"loss": value, "clamped_l1": error, "iou": iou}
    return value, (variables.get("batch_stats", {}), scalars)

  def encode(variables, inputs):
    return net.apply(variables, inputs, method="encode")

  def decode(variables, latent, points):
    return -net.apply(variables, points, latent, train=False, method="decode")

  def score(variables, batch):
    _check_targets(batch)
    values = decode(variables, encode(variables, batch["inputs"]), batch["points"])
    per_shape = jax.vmap(lambda f, s: losses.clamped_l1(f, s, clamp))
    return {
      "loss": per_shape(-values[:, None], batch["distances"][:, None]),
      "iou": losses.iou_at_levels(values, batch["occupancies"], (level,))[:, 0],
    }

  def fidelity(variables, latent, batch):
    values = decode(variables, latent, batch["points"])
    return losses.clamped_l1(-values, batch["distances"], clamp)

  return Method(
    init, loss, encode, decode, Field(level), score, prior=None, fidelity=fidelity
  )


def _check_targets(batch: Mapping[str, Any]) -> None:
  if "distances" not in batch:
    raise ValueError(
      "config.data.targets lacks 'distances', the targets of deepsdf; prepare the data "
      "with config.prep.distances"
    )


def build(model: Mapping[str, Any], options: BuildOptions) -> Method:
  """The network that the fields of configs/models/deepsdf.py describe.

  Raises:
    ValueError: a setting that this system does not have.
  """
  if options.remat:
    raise ValueError("config.train.remat is set, but deepsdf has no blocks; unset it")
  if model["encoder"] != "code_table":
    raise ValueError(
      f"config.model.encoder is {model['encoder']!r}; deepsdf wants code_table"
    )
  table = CodeTable(
    model["codes"],
    model["c_dim"],
    stddev=model["code_stddev"] * model["c_dim"] ** -0.5,
    max_norm=model["code_max_norm"],
  )
  if (scale := model["scale"]) <= 0:
    raise ValueError(f"config.model.scale is {scale}; want a factor above 0")
  decoder = SDFDecoder(
    hidden_sizes=tuple(model["hidden_sizes"]),
    skip_layers=tuple(model["skip_layers"]),
    weight_norm=model["weight_norm"],
    dropout_rate=model["dropout_rate"],
  )
  return method(
    DeepSDF(table, decoder, scale),
    clamp=model["clamp"],
    code_weight=model["code_weight"],
    level=0.0 - (options.threshold or 0.0),  # -0.0 would be shown as it is
  )
