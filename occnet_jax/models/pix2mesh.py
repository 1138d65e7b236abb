"""Pixel2Mesh (Wang et al., ECCV 2018): a sphere deformed to what an image shows.

The form that occupancy networks were compared with (Mescheder et al. 2019, section 4).
Everything but the result happens in the frame of the camera, in units of the cube. The
latent is {"maps": four maps of the image, "world_mat", "camera_mat"}: without a camera
there are no features of a vertex, and no place of the mesh in the cube.

Device, jnp. Shape letters: b shapes, v vertices, n target points.
"""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from occnet_jax.config import lookup
from occnet_jax.geometry import template_files
from occnet_jax.models import point_sets
from occnet_jax.nn import graph_mesh, mesh_losses
from occnet_jax.nn.chamfer import chamfer
from occnet_jax.nn.pix2mesh import (
  MapsEncoder,
  MeshDecoder,
  Prediction,
  to_camera,
  to_world,
  transform,
)
from occnet_jax.types import BuildOptions, Latent, Mesh, Method

ENCODERS = {"pix2mesh": lambda model: MapsEncoder(model["c_dim"])}


class Pixel2Mesh(nn.Module):
  """An encoder of images with cameras and a decoder of meshes.

  Attributes:
    encoder: images -> maps.
    decoder: (maps, camera_mat, template, stages) -> the meshes of its blocks.
  """

  encoder: MapsEncoder
  decoder: MeshDecoder

  def __call__(
    self, inputs: dict[str, Array], template: graph_mesh.Template
  ) -> tuple[Prediction, ...]:
    return self.decode(self.encode(inputs), template)

  def encode(self, inputs: dict[str, Array]) -> Latent:
    maps = self.encoder(inputs["image"])
    return {"maps": maps, **{k: inputs[k] for k in ("world_mat", "camera_mat")}}

  def decode(
    self, latent: Latent, template: graph_mesh.Template
  ) -> tuple[Prediction, ...]:
    """The meshes of all blocks in the camera's frame."""
    start = jnp.asarray(template.vertices)[None]
    offset = latent["world_mat"][:, None, :, 3]
    if self.decoder.published:  # where Choy's views have their shapes, about
      offset = jnp.broadcast_to(jnp.array(graph_mesh.CENTRE), offset.shape)
    return self.decoder(
      latent["maps"], latent["camera_mat"], start + offset, template.stages
    )


def build(model: Mapping[str, Any], options: BuildOptions) -> Method:
  """The network that the fields of configs/models/pix2mesh.py describe.

  Raises:
    ValueError: an unknown encoder, a size that it cannot have, or a template that is no
      closed sphere.
  """
  point_sets.check_options("pix2mesh", model, options)
  make_encoder = lookup(ENCODERS, model["encoder"], "model.encoder")
  if model["c_dim"] % 32 or model["c_dim"] < 32:
    raise ValueError(
      f"config.model.c_dim is {model['c_dim']}; want a multiple of 32, of which the "
      "encoder's first layers have a share of 1 / 32"
    )
  net = Pixel2Mesh(
    make_encoder(model),
    MeshDecoder(model["hidden_size"], model["align_corners"], model["published"]),
  )
  template = _make_template(model)
  adjusted = model["adjust_losses"]

  def init(key, batch):
    return net.init(key, batch["inputs"], template)

  def encode(variables, inputs):
    return net.apply(variables, inputs, method="encode")

  def decode(variables, latent):
    *_, last = net.apply(variables, latent, template, method="decode")
    faces = jnp.asarray(template.stages[-1].faces)
    return to_world(last.vertices, latent["world_mat"]), faces

  def loss(variables, batch, key, train):
    del key, train  # nothing is drawn, and there is no norm
    surface, normals = _target(batch)
    pairs = zip(
      net.apply(variables, batch["inputs"], template), template.stages, strict=True
    )
    blocks = [mesh_losses.block_terms(p, surface, normals, s) for p, s in pairs]
    terms = mesh_losses.weigh(blocks, adjusted=adjusted)
    total = sum(terms.values())
    return total, (variables.get("batch_stats", {}), {"loss": total, **terms})

  def score(variables, batch):
    *_, last = net.apply(variables, batch["inputs"], template)
    return {"loss": chamfer(last.vertices, _target(batch)[0])}

  return Method(init, loss, encode, decode, Mesh(closed=True), score)


def _make_template(model: Mapping[str, Any]) -> graph_mesh.Template:
  """The built-in template, or that of a file, around the origin."""
  if not model["template_file"]:
    return graph_mesh.make_template(model["template_vertices"])
  path = pathlib.Path(model["template_file"])
  vertices, faces = template_files.read_template(path)
  if path.suffix == ".dat":  # of the published code, in front of the camera
    vertices = vertices - np.array([graph_mesh.CENTRE])
  return graph_mesh.refine(vertices, faces)


def _target(
  batch: Mapping[str, Any],
) -> Sequence[Float[Array, "b n 3"]]:
  """Target points and their normals in the camera's frame."""
  surface = point_sets.surface_of(batch, "pix2mesh")
  world_mat = batch["inputs"]["world_mat"]
  rotated = transform(batch["normals"], world_mat[..., :3])
  return to_camera(surface, world_mat), rotated
