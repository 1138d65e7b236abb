"""Occupancy Networks (Mescheder et al., CVPR 2019), all variants (device, jnp).

encode: what was seen of a shape -> code c (b, c); decode: points (b, t, 3) -> logits.
The generative model draws z (b, z) besides, from N(0, 1) or, while its labels are
known, from the posterior that a latent encoder makes of them (paper, section 3.2).
"""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from occnet_jax import losses
from occnet_jax.types import Batch, Method, Posterior


class LatentCode(NamedTuple):
  """What a decoder knows of its shapes: the latent of this system.

  Attributes:
    c: (b, c) code of what was observed, or None.
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


def method(net: OccupancyNetwork, *, tau: float, kl_weight: float = 1.0) -> Method:
  """An occupancy network as a Method.

  Args:
    net: the module.
    tau: occupancy probability of the surface; also of the IoU that training reports.
    kl_weight: of KL(q || N(0, 1)) in the loss of a model with z (paper, Eq. 4: 1).
  """
  level = losses.logit(tau)

  def init(key, batch):
    return net.init(key, batch, None, train=True)

  def loss(variables, batch, key, train):
    noise = None
    if net.z_dim:
      noise = jax.random.normal(key, (batch["points"].shape[0], net.z_dim))
    if train:
      (logits, posterior), changed = net.apply(
        variables, batch, noise, train=True, mutable=["batch_stats"]
      )
      stats = changed.get("batch_stats", {})
    else:
      logits, posterior = net.apply(variables, batch, noise, train=False)
      stats = variables.get("batch_stats", {})
    value = losses.occupancy_cross_entropy(logits, batch["occupancies"])
    iou = losses.batch_iou(logits, batch["occupancies"], level)
    scalars = {"iou": iou}
    if posterior is not None:
      kl = losses.kl_to_standard_normal(*posterior)
      scalars |= {"cross_entropy": value, "kl": kl}
      value = value + kl_weight * kl
    return value, (stats, {"loss": value, **scalars})

  def encode(variables, inputs):
    return net.apply(variables, inputs, train=False, method="encode")

  def decode(variables, latent, points):
    return net.apply(variables, points, latent, train=False, method="decode")

  def posterior(variables, batch):
    return net.apply(variables, batch, method="posterior_of")

  def with_z(latent, z):
    return latent._replace(z=z)

  generative = {"z_dim": net.z_dim, "posterior": posterior, "with_z": with_z}
  return Method(
    net,
    init,
    loss,
    encode,
    decode,
    "field",
    level,
    **(generative if net.z_dim else {}),
  )
