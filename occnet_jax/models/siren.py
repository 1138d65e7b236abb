"""SIREN: the signed distance of one shape, from its surface alone (device, jnp).

Sitzmann et al., "Implicit neural representations with periodic activation functions",
NeurIPS 2020, section 4.2. There are no labels: the loss wants values of zero and slopes
along the normals on the surface, and slopes of length 1 everywhere. So a scan with
normals is enough, also an open one.

The network works in coordinates from -1 to 1, twice those of the cube, in which the
published weights of the loss belong together. It gives distances, negative inside; a
Method's field is larger inside, so `decode` negates them, in cube units.

Shape letters: b shapes, which differ in their points alone, n surface points, t points.
"""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from occnet_jax import losses
from occnet_jax.models.single import check_options
from occnet_jax.nn.point_mlp import PointMLP
from occnet_jax.nn.positional import fourier_features
from occnet_jax.types import BuildOptions, Field, Method, Variables

SCALE = 2.0  # the network's coordinates per cube unit
TERMS = ("surface", "off_surface", "normal", "eikonal")


class Siren(nn.Module):
  """A perceptron of points.

  Attributes:
    mlp: the perceptron, with sines as published.
    octaves: octaves of Fourier features of the points; 0 for plain coordinates.
  """

  mlp: PointMLP
  octaves: int = 0

  def __call__(self, points: Float[Array, "b t 3"]) -> Float[Array, "b t"]:
    """Signed distances of points from -1 to 1, in the units of these coordinates."""
    return self.mlp(fourier_features(points, self.octaves))


def values_and_slopes(
  net: Siren, variables: Variables, points: Float[Array, "b t 3"]
) -> tuple[Float[Array, "b t"], Float[Array, "b t 3"]]:
  """The network's values and their gradients by the points, in its coordinates."""

  def field(point):
    return net.apply(variables, point[None, None])[0, 0]

  return jax.vmap(jax.vmap(jax.value_and_grad(field)))(points)


def method(
  net: Siren,
  *,
  weights: tuple[float, float, float, float] = (3000.0, 100.0, 100.0, 50.0),
  level: float = 0.0,
) -> Method:
  """SIREN as a Method; batches have surface points and normals.

  Args:
    net: the module.
    weights: weights of the terms of the loss, in the order of `TERMS`.
    level: negated signed distance of the surface, in cube units.
  """

  def init(key, batch):
    return net.init(key, batch["points"])

  def terms_of(variables, batch):
    _check_targets(batch)
    on = values_and_slopes(net, variables, SCALE * batch["surface"])
    off = values_and_slopes(net, variables, SCALE * batch["points"])
    terms = losses.surface_terms(on, off, batch["normals"])
    total = sum(w * terms[name] for w, name in zip(weights, TERMS, strict=True))
    return total, terms, -off[0] / SCALE

  def loss(variables, batch, key, train):
    del key, train  # nothing is random
    total, terms, field = terms_of(variables, batch)
    iou = losses.batch_iou(field, batch["occupancies"], level)
    return total, ({}, {"loss": total, **terms, "iou": iou})

  def encode(variables, inputs):
    del variables
    return jnp.zeros((len(inputs), 0))

  def decode(variables, latent, points):
    del latent
    return -net.apply(variables, SCALE * points) / SCALE

  def score(variables, batch):
    def of_shape(shape):
      total, _, field = terms_of(variables, jax.tree.map(lambda x: x[None], shape))
      return {
        "loss": total,
        "iou": losses.batch_iou(field, shape["occupancies"][None], level),
      }

    return jax.lax.map(of_shape, batch)  # gradients of one shape in memory at a time

  return Method(init, loss, encode, decode, Field(level), score)


def _check_targets(batch: Mapping[str, Any]) -> None:
  if "surface" not in batch:
    raise ValueError(
      "config.data.targets lacks 'surface', the points and normals that siren is "
      "trained with; add it"
    )


def build(model: Mapping[str, Any], options: BuildOptions) -> Method:
  """The network that the fields of configs/models/siren.py describe.

  Raises:
    ValueError: a setting that this system does not have.
  """
  check_options("siren", options)
  mlp = PointMLP(model["hidden_size"], model["hidden_layers"], omega=model["omega"])
  return method(
    Siren(mlp, model["fourier_octaves"]),
    weights=tuple(model["loss_weights"]),
    level=0.0 - (options.threshold or 0.0),  # -0.0 would be shown as it is
  )
