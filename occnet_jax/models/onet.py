"""Occupancy Networks (Mescheder et al., CVPR 2019), all variants (device, jnp).

encode: the observation of a shape -> code c (b, c); decode: points (b, t, 3) -> logits.
The generative model also draws z (b, z), from N(0, 1) or, where labels are known, from
the posterior that a latent encoder computes from them (paper, section 3.2).
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from occnet_jax import losses
from occnet_jax.config import lookup
from occnet_jax.models import occupancy
from occnet_jax.models.encoders import ENCODERS
from occnet_jax.nn import decoders, latent_encoder
from occnet_jax.nn.norm import NormSettings
from occnet_jax.types import (
  Batch,
  BuildOptions,
  LatentPrior,
  Method,
  Posterior,
)


def _decoder(kind, *, has_norm: bool = True, has_blocks: bool = True):
  def make(model: Mapping[str, Any], remat: bool, **norm) -> nn.Module:
    settings = {
      "hidden_size": model["hidden_size"],
      "leaky": model["decoder_leaky"],
      "octaves": model["fourier_octaves"],
    }
    if has_norm:
      settings["norm"] = NormSettings(**norm)
    if has_blocks:
      settings["remat"] = remat
    elif remat:
      raise ValueError(
        f"config.train.remat is set, but the decoder {model['decoder']!r} has no "
        "residual blocks to compute again; unset it"
      )
    return kind(**settings)

  return make


DECODERS = {
  "batchnorm": _decoder(decoders.BatchNormDecoder),
  "cbatchnorm": _decoder(decoders.CBatchNormDecoder),
  "cbatchnorm2": _decoder(decoders.CBatchNormDecoder2),
  "cbatchnorm_noresnet": _decoder(decoders.CBatchNormNoResnetDecoder, has_blocks=False),
  "simple": _decoder(decoders.SimpleDecoder, has_norm=False),
}


class LatentCode(NamedTuple):
  """The latent of this system.

  Attributes:
    c: (b, c) code of the observation, or None.
    z: (b, z) random part, or None.
  """

  c: Any
  z: Any


class OccupancyNetwork(nn.Module):
  """An encoder of observations, a decoder of points, and where z is drawn its encoder.

  Attributes:
    encoder: (inputs, train=...) -> code (b, c); None if nothing is observed.
    decoder: (points (b, t, 3), z, c, train=...) -> logits (b, t).
    encoder_latent: (points, occupancies (b, t), c, train=...) -> mean and logarithm of
      the standard deviation of z (b, z); None for a model without z.
    z_dim: size of z, 0 for a model without.
  """

  encoder: nn.Module | None
  decoder: nn.Module
  encoder_latent: nn.Module | None = None
  z_dim: int = 0

  def __call__(
    self, batch: Batch, noise: Float[Array, "b z"] | None, *, train: bool
  ) -> tuple[Float[Array, "b t"], Posterior | None]:
    """Logits at the batch's points, with z of the posterior's mean + std * noise."""
    code, posterior = self.encode(batch["inputs"], train=train), None
    if self.encoder_latent is not None:
      posterior = self.posterior(batch, code.c, train=train)
      z = posterior.mean
      if noise is not None:
        z = z + jnp.exp(posterior.logstd) * noise
      code = code._replace(z=z)
    return self.decode(batch["points"], code, train=train), posterior

  def encode(self, inputs: Any, *, train: bool) -> LatentCode:
    """The code of what was observed, z at the mean of its prior: zero."""
    shapes = inputs.shape[0]
    if self.encoder is None:
      c = None
    elif inputs.ndim == 5:  # several images of a shape: the mean of their codes
      images = inputs.reshape(-1, *inputs.shape[2:])
      c = self.encoder(images, train=train).reshape(shapes, inputs.shape[1], -1).mean(1)
    else:
      c = self.encoder(inputs, train=train)
    z = jnp.zeros((shapes, self.z_dim)) if self.z_dim else None
    return LatentCode(c, z)

  def posterior(
    self, batch: Batch, c: Float[Array, "b c"] | None, *, train: bool
  ) -> Posterior:
    return Posterior(
      *self.encoder_latent(batch["points"], batch["occupancies"], c, train=train)
    )

  def posterior_of(self, batch: Batch) -> Posterior:
    code = self.encode(batch["inputs"], train=False)
    return self.posterior(batch, code.c, train=False)

  def decode(
    self, points: Float[Array, "b t 3"], code: LatentCode, *, train: bool
  ) -> Float[Array, "b t"]:
    return self.decoder(points, code.z, code.c, train=train)


def method(
  net: OccupancyNetwork,
  *,
  tau: float,
  candidates: tuple[float, ...] = (),
  kl_weight: float = 1.0,
  posterior_points: int = 0,
) -> Method:
  """An occupancy network as a Method.

  Args:
    net: the module.
    tau: occupancy probability of the surface; also of the IoU that training reports.
    candidates: probabilities among which validation chooses; () for tau alone.
    kl_weight: weight of KL(q || N(0, 1)) in the loss of a model with z; 1 in the
      paper's Eq. 4.
    posterior_points: see `types.BuildOptions`.
  """
  output = occupancy.field(tau, candidates)

  def init(key, batch):
    return net.init(key, batch, None, train=True)

  def loss(variables, batch, key, train):
    noise = None
    if net.z_dim:
      noise = jax.random.normal(key, (batch["points"].shape[0], net.z_dim))
    (logits, posterior), stats = occupancy.apply(
      net, variables, batch, noise, train=train
    )
    value, scalars = occupancy.scalars(logits, batch, output)
    if posterior is not None:
      kl = losses.kl_to_standard_normal(*posterior)
      scalars |= {"cross_entropy": value, "kl": kl}
      value = value + kl_weight * kl
    return occupancy.loss_result(value, stats, scalars, batch)

  def encode(variables, inputs):
    return net.apply(variables, inputs, train=False, method="encode")

  def decode(variables, latent, points):
    return net.apply(variables, points, latent, train=False, method="decode")

  def posterior(variables, batch):
    return net.apply(variables, batch, method="posterior_of")

  def insert(latent, z):
    return latent._replace(z=z)

  def score(variables, batch):
    """Loss and IoU of every shape, with z at the mean of its posterior."""
    latent, kl = encode(variables, batch["inputs"]), 0.0
    if net.z_dim:
      some = slice(posterior_points or None)
      labelled = {name: batch[name][:, some] for name in ("points", "occupancies")}
      mean, logstd = posterior(variables, {**batch, **labelled})
      latent = insert(latent, mean)
      kl = jax.vmap(losses.kl_to_standard_normal)(mean[:, None], logstd[:, None])
    logits = decode(variables, latent, batch["points"])
    return occupancy.score(logits, batch, output, kl_weight * kl)

  return Method(
    init,
    loss,
    encode,
    decode,
    output,
    score,
    LatentPrior(net.z_dim, posterior, insert) if net.z_dim else None,
    occupancy.fidelity(decode),
  )


def build(model: Mapping[str, Any], options: BuildOptions) -> Method:
  """The occupancy network that the fields of configs/models/onet.py describe.

  Raises:
    ValueError: a name that no table has, or fields that do not go together.
  """
  norm = {
    "axis_name": options.axis_name,
    "unbiased_variance": model["unbiased_variance"],
  }
  encoder = lookup(ENCODERS, model["encoder"], "model.encoder")(model, **norm)
  make_decoder = lookup(DECODERS, model["decoder"], "model.decoder")
  encoder_latent, z_dim = None, model["z_dim"]
  if z_dim:
    encoder_latent = latent_encoder.LatentEncoder(z_dim, model["latent_hidden_size"])
  elif encoder is None:
    raise ValueError(
      "config.model has neither an encoder nor a z_dim: every shape would be the same; "
      "set one of them"
    )
  decoder = make_decoder(model, options.remat, **norm)
  net = OccupancyNetwork(encoder, decoder, encoder_latent, z_dim)
  chosen = options.threshold
  return method(
    net,
    tau=model["tau"] if chosen is None else chosen,
    candidates=tuple(model["tau_grid"]) if chosen is None else (),
    kl_weight=model["kl_weight"],
    posterior_points=options.posterior_points,
  )
