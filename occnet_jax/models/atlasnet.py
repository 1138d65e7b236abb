"""AtlasNet (Groueix et al., CVPR 2018): deformed squares or a sphere (device, jnp).

The latent is the code (b, k). In training the points of the templates are drawn anew
for each step, the same for all shapes of a batch; meshes have those of regular grids.
As the paper of occupancy networks has it, clouds are in cube units, not normalised to
the unit ball, and images pass the encoders that all systems share here.
"""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from occnet_jax.config import lookup
from occnet_jax.models import point_sets
from occnet_jax.models.encoders import ENCODERS
from occnet_jax.nn import atlasnet
from occnet_jax.nn.norm import NormSettings
from occnet_jax.types import BuildOptions, Mesh, Method

TEMPLATES = ("squares", "sphere")


class AtlasNet(nn.Module):
  """An encoder of observations and a decoder of patches.

  Attributes:
    encoder: (inputs, train=...) -> code (b, k).
    decoder: the patches.
  """

  encoder: nn.Module
  decoder: atlasnet.Patches

  def __call__(
    self, inputs: Any, templates: Float[Array, "p t d"], *, train: bool
  ) -> Float[Array, "b p t 3"]:
    return self.decode(self.encode(inputs, train=train), templates, train=train)

  def encode(self, inputs: Any, *, train: bool) -> Float[Array, "b k"]:
    return self.encoder(inputs, train=train)

  def decode(
    self, code: Float[Array, "b k"], templates: Float[Array, "p t d"], *, train: bool
  ) -> Float[Array, "b p t 3"]:
    return self.decoder(templates, code, train=train)


def build(model: Mapping[str, Any], options: BuildOptions) -> Method:
  """The network that the fields of configs/models/atlasnet.py describe.

  Raises:
    ValueError: an unknown encoder or template, or a number of points that the patches
      do not divide into squares.
  """
  point_sets.check_options("atlasnet", model, options)
  _check_templates(model)
  norm = {
    "axis_name": options.axis_name,
    "unbiased_variance": model["unbiased_variance"],
  }
  encoders = {**ENCODERS, "atlasnet": _pointnet}
  net = AtlasNet(
    lookup(encoders, model["encoder"], "model.encoder")(model, **norm),
    atlasnet.Patches(model["hidden_size"], model["layers"], NormSettings(**norm)),
  )
  if model["template"] == "sphere":
    templates, faces = atlasnet.sphere_mesh()
  else:
    side = round((model["n_points"] // model["patches"]) ** 0.5)
    templates, faces = atlasnet.square_mesh(model["patches"], side)

  def draw(key):
    if model["template"] == "sphere":
      return atlasnet.draw_sphere(key, model["n_points"])
    return atlasnet.draw_squares(key, model["patches"], model["n_points"])

  def init(key, batch):
    return net.init(key, batch["inputs"], jnp.asarray(templates), train=True)

  def encode(variables, inputs):
    return net.apply(variables, inputs, train=False, method="encode")

  def vertices_of(variables, latent):
    given = jnp.asarray(templates)
    points = net.apply(variables, latent, given, train=False, method="decode")
    return points.reshape(points.shape[0], -1, 3)

  def decode(variables, latent):
    return vertices_of(variables, latent), jnp.asarray(faces, jnp.int32)

  def predict(variables, batch, key, train):
    if not train:
      return vertices_of(variables, encode(variables, batch["inputs"])), {}
    given = draw(jax.random.fold_in(key, 0))
    points, changed = net.apply(
      variables, batch["inputs"], given, train=True, mutable=["batch_stats"]
    )
    return points.reshape(points.shape[0], -1, 3), changed

  return Method(
    init,
    point_sets.chamfer_loss("atlasnet", predict),
    encode,
    decode,
    Mesh(closed=model["template"] == "sphere"),
    point_sets.chamfer_score("atlasnet", predict),
  )


def _pointnet(model: Mapping[str, Any], **norm) -> nn.Module:
  return atlasnet.PatchPointnet(model["c_dim"], NormSettings(**norm))


def _check_templates(model: Mapping[str, Any]) -> None:
  """Raises ValueError for an unknown template, or patches without a square grid."""
  if model["template"] not in TEMPLATES:
    raise ValueError(
      f"config.model.template is {model['template']!r}; want one of "
      f"{', '.join(map(repr, TEMPLATES))}"
    )
  if model["template"] == "sphere":
    return
  count, patches = model["n_points"], model["patches"]
  side = round((count / max(patches, 1)) ** 0.5)
  if patches < 1 or side < 2 or patches * side**2 != count:
    best = max(patches, 1) * max(side, 2) ** 2
    raise ValueError(
      f"config.model.n_points is {count} with config.model.patches={patches}; want a "
      f"square number of points for each patch, such as n_points={best}"
    )
