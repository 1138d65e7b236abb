"""AtlasNet's encoder of clouds, its patches and their templates (device, jnp; host).

Groueix et al., "A Papier-Mache Approach to Learning 3D Surface Generation", CVPR 2018.
Modules have the published names, but those of the patches hold the weights of all
patches, as their first axis.

Shape letters: p patches, t points of a patch, d coordinates of a template (2 or 3),
k size of the latent, v vertices, f faces.
"""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import trimesh
from jaxtyping import Array, Float, Int

from occnet_jax.nn.linear import Linear
from occnet_jax.nn.norm import BatchNorm, NormSettings
from occnet_jax.nn.pooling import max_over

SPHERE_SUBDIVISIONS = 4  # of an icosahedron: 2,562 vertices and 5,120 faces


class PatchPointnet(nn.Module):
  """PointNet of AtlasNet: cloud (b, n, 3) -> latent (b, k).

  Attributes:
    size: k.
    norm: settings that all batch norms share.
  """

  size: int = 1024
  norm: NormSettings = NormSettings()

  @nn.compact
  def __call__(
    self, points: Float[Array, "b n 3"], *, train: bool
  ) -> Float[Array, "b k"]:
    net = points
    for i, features in enumerate((64, 128, self.size), start=1):
      net = Linear(features, name=f"conv{i}")(net)
      net = BatchNorm(self.norm, name=f"bn{i}")(net, train=train)
      net = nn.relu(net) if i < 3 else net
    net = max_over(net, 1)
    for i in (1, 2):
      net = Linear(self.size, name=f"lin{i}")(net)
      norm = BatchNorm(self.norm, name=f"bn{3 + i}")
      net = nn.relu(norm(net[:, None], train=train)[:, 0])
    return net


class _Patch(nn.Module):
  """An MLP from points of a template to the surface, given the latent.

  Attributes: those of `Patches`.
  """

  hidden_size: int
  layers: int
  norm: NormSettings

  @nn.compact
  def __call__(
    self, template: Float[Array, "t d"], latent: Float[Array, "b k"], train: bool
  ) -> Float[Array, "b t 3"]:
    # The first layer sees the template alone; the latent is added as its bias would be.
    net = Linear(latent.shape[-1], name="conv1")(template)[None] + latent[:, None]
    net = nn.relu(BatchNorm(self.norm, name="bn1")(net, train=train))
    net = Linear(self.hidden_size, name="conv2")(net)
    net = nn.relu(BatchNorm(self.norm, name="bn2")(net, train=train))
    for i in range(self.layers):
      net = Linear(self.hidden_size, name=f"conv_list_{i}")(net)
      net = nn.relu(BatchNorm(self.norm, name=f"bn_list_{i}")(net, train=train))
    return Linear(3, name="last_conv")(net)


class Patches(nn.Module):
  """Decoder: points of p templates -> points of the surface, an MLP for each patch.

  Attributes:
    hidden_size: features of the layers after the first, which has those of the latent.
    layers: number of further layers.
    norm: settings that all batch norms share.
  """

  hidden_size: int = 512
  layers: int = 2
  norm: NormSettings = NormSettings()

  @nn.compact
  def __call__(
    self, templates: Float[Array, "p t d"], latent: Float[Array, "b k"], *, train: bool
  ) -> Float[Array, "b p t 3"]:
    """The points of each patch; in training, norms use the statistics of a patch."""
    patches = nn.vmap(
      _Patch,
      variable_axes={"params": 0, "batch_stats": 0},
      split_rngs={"params": True},
      in_axes=(0, None, None),
      out_axes=1,
    )(self.hidden_size, self.layers, self.norm, name="decoder")
    return patches(templates, latent, train)


def draw_squares(key: jax.Array, patches: int, count: int) -> Float[Array, "p t 2"]:
  """Uniform points of unit squares, `count` in all: templates of a training step."""
  return jax.random.uniform(key, (patches, count // patches, 2))


def draw_sphere(key: jax.Array, count: int) -> Float[Array, "1 t 3"]:
  """Uniform points of the unit sphere: the template of a training step."""
  points = jax.random.normal(key, (1, count, 3))
  return points / jnp.maximum(jnp.linalg.norm(points, axis=-1, keepdims=True), 1e-12)


@functools.cache
def square_mesh(
  patches: int, side: int
) -> tuple[Float[np.ndarray, "p t 2"], Int[np.ndarray, "f 3"]]:
  """Grids of side^2 points over unit squares, and the faces of all of them.

  Point i * side + j of a square is at (i, j) / (side - 1).
  """
  axis = np.linspace(0, 1, side, dtype=np.float32)
  grid = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)
  i, j = np.indices((side - 1, side - 1)).reshape(2, -1)
  corner = i * side + j  # of each cell the one at (i, j); i + 1 is `side` further
  lower = np.stack([corner + side, corner + side + 1, corner], axis=1)
  upper = np.stack([corner + 1, corner, corner + side + 1], axis=1)
  faces = np.concatenate([lower, upper])
  offsets = np.arange(patches)[:, None, None] * side**2
  return np.tile(grid, (patches, 1, 1)), (faces + offsets).reshape(-1, 3)


@functools.cache
def sphere_mesh() -> tuple[Float[np.ndarray, "1 t 3"], Int[np.ndarray, "f 3"]]:
  """The vertices and faces of a subdivided icosahedron."""
  mesh = trimesh.creation.icosphere(subdivisions=SPHERE_SUBDIVISIONS)
  return np.asarray(mesh.vertices, np.float32)[None], np.asarray(mesh.faces)
