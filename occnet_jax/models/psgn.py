"""PSGN (Fan et al., CVPR 2017): points on the surface from a code (device, jnp).

The form that occupancy networks were compared with (Mescheder et al. 2019, section 4):
an encoder of clouds or images and linear layers; and the original with two branches.
"""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
from jaxtyping import Array, Float

from occnet_jax.config import lookup
from occnet_jax.models import point_sets
from occnet_jax.models.encoders import ENCODERS
from occnet_jax.nn.psgn import PointSetDecoder, TwoBranchDecoder, TwoBranchEncoder
from occnet_jax.types import BuildOptions, Latent, Method, Points


class PSGN(nn.Module):
  """An encoder of observations and a decoder of points.

  Attributes:
    encoder: (inputs, train=...) -> code (b, c); a `TwoBranchEncoder` has no `train`.
    decoder: latent -> points (b, n, 3).
  """

  encoder: nn.Module
  decoder: nn.Module

  def __call__(self, inputs: Any, *, train: bool) -> Float[Array, "b n 3"]:
    return self.decode(self.encode(inputs, train=train))

  def encode(self, inputs: Any, *, train: bool) -> Latent:
    if isinstance(self.encoder, TwoBranchEncoder):
      return self.encoder(inputs)
    return self.encoder(inputs, train=train)

  def decode(self, latent: Latent) -> Float[Array, "b n 3"]:
    return self.decoder(latent)


def build(model: Mapping[str, Any], options: BuildOptions) -> Method:
  """The network that the fields of configs/models/psgn.py describe.

  Raises:
    ValueError: an unknown encoder or decoder, or two that do not go together.
  """
  point_sets.check_options("psgn", model, options)
  norm = {
    "axis_name": options.axis_name,
    "unbiased_variance": model["unbiased_variance"],
  }
  if (model["encoder"] == "two_branch") != (model["decoder"] == "two_branch"):
    raise ValueError(
      f"config.model.encoder is {model['encoder']!r} with config.model.decoder="
      f"{model['decoder']!r}; want 'two_branch' for both or for neither"
    )
  if model["decoder"] == "two_branch":
    encoder = TwoBranchEncoder(model["c_dim"])
    decoder = TwoBranchDecoder(model["n_points"], model["published_points"])
  else:
    encoder = lookup(ENCODERS, model["encoder"], "model.encoder")(model, **norm)
    decoders = {"simple": PointSetDecoder(model["n_points"], model["hidden_size"])}
    decoder = lookup(decoders, model["decoder"], "model.decoder")
  net = PSGN(encoder, decoder)

  def encode(variables, inputs):
    return net.apply(variables, inputs, train=False, method="encode")

  def decode(variables, latent):
    return net.apply(variables, latent, method="decode")

  def predict(variables, batch, key, train):
    del key  # nothing is drawn
    if not train:
      return decode(variables, encode(variables, batch["inputs"])), {}
    return net.apply(variables, batch["inputs"], train=True, mutable=["batch_stats"])

  def init(key, batch):
    return net.init(key, batch["inputs"], train=True)

  return Method(
    init,
    point_sets.chamfer_loss("psgn", predict),
    encode,
    decode,
    Points(),
    point_sets.chamfer_score("psgn", predict),
  )
