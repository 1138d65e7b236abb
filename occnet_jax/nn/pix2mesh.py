"""Pixel2Mesh's encoder of images, its projection and its decoder (device, jnp).

Wang et al., ECCV 2018, as the code of the occupancy networks has it, whose names the
modules have. Vertices are in the frame of the camera: x right, y down, z forward. A
camera has a world_mat [R | t], which takes a point p of the cube to R p + t there, and
a camera_mat, which takes it from there to the image, whose sides are -1 and 1.

Shape letters: b shapes, v vertices, c features, h w sides of an image or map.
"""

from collections.abc import Sequence
from typing import NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from occnet_jax.nn import interpolate
from occnet_jax.nn.conv import Conv
from occnet_jax.nn.graph_mesh import GraphConv, Stage, unpool

NEAR = 0.1  # smallest depth of a guarded projection
# Features, in units of m, sides of the window and strides of each block's convolutions.
_BLOCKS = (
  (*[(1, 3, 1)] * 2, (2, 3, 2), *[(2, 3, 1)] * 2, (4, 3, 2), *[(4, 3, 1)] * 2),
  ((8, 3, 2), (8, 3, 1), (8, 3, 1)),
  ((16, 5, 2), (16, 3, 1), (16, 3, 1)),
  ((32, 5, 2), (32, 3, 1), (32, 3, 1), (32, 3, 1)),
)
_LAYERS = (12, 12, 13)  # further graph convolutions of each block of the decoder


class Prediction(NamedTuple):
  """The mesh of one block of the decoder.

  Attributes:
    vertices: (b, v, 3).
    before: (b, v, 3), what the block started from: the template, or the vertices of the
      block before with the midpoints of its edges. Gradients reach that block by them.
  """

  vertices: Array
  before: Array


class MapsEncoder(nn.Module):
  """Images of values from 0 to 1 -> four maps; "pixel2mesh_cond" in the reference.

  Attributes:
    c_dim: features of the last map, 32 m.
  """

  c_dim: int = 512

  @nn.compact
  def __call__(
    self, images: Float[Array, "b h w 3"]
  ) -> tuple[Float[Array, "b _ _ _"], ...]:
    """Maps of an h / 4, h / 8, h / 16 and h / 32 a side, with 4 m to 32 m features."""
    net, maps = images, []
    for i, block in enumerate(_BLOCKS, start=1):
      net = _ConvBlock(self.c_dim // 32, block, name=f"block_{i}")(net)
      maps.append(net)
    return tuple(maps)


class _ConvBlock(nn.Module):
  """Convolutions with a ReLU after each; a PyTorch Sequential counts both."""

  unit: int
  layers: tuple[tuple[int, int, int], ...]

  @nn.compact
  def __call__(self, x: Float[Array, "b h w i"]) -> Float[Array, "b k l o"]:
    for i, (units, side, stride) in enumerate(self.layers):
      x = nn.relu(Conv(units * self.unit, side, stride, side // 2, name=str(2 * i))(x))
    return x


def project(
  vertices: Float[Array, "b v 3"],
  camera_mat: Float[Array, "b 3 3"],
  maps: Sequence[Float[Array, "b _ _ _"]],
  *,
  align_corners: bool = True,
  near: float | None = None,
) -> Float[Array, "b v c"]:
  """Each vertex and the features that the maps have where the camera sees it.

  Outside of the image they are 0. Gradients flow into the vertices by both.

  Args:
    vertices: in the camera's frame.
    camera_mat: from there to [-1, 1]^2, column before row.
    maps: of the image.
    align_corners: whether -1 and 1 are the centres of a map's outer pixels, as in the
      reference, or their outer borders, where the image ends.
    near: depth in place of smaller ones; None divides by any depth, as the reference
      does, also by those behind the camera.
  """
  seen = transform(vertices, camera_mat)
  depth = seen[..., 2:] if near is None else jnp.maximum(seen[..., 2:], near)
  places = seen[..., 1::-1] / depth  # row before column, as maps have their axes
  features = [vertices]
  for each in maps:
    sides = jnp.array(each.shape[1:3], places.dtype).reshape(1, 1, 2)
    if align_corners:
      nodes = (places + 1) / 2 * (sides - 1)
    else:
      nodes = ((places + 1) * sides - 1) / 2
    # From -1 or the number of nodes on there is nothing to interpolate. Points near the
    # plane of the camera would be beyond what an integer holds.
    nodes = jnp.clip(nodes, -2, sides + 1)
    features.append(interpolate.linear(each, nodes, border=False))
  return jnp.concatenate(features, axis=-1)


def transform(
  points: Float[Array, "b v 3"], matrix: Float[Array, "b 3 3"]
) -> Float[Array, "b v 3"]:
  """The matrix times each point, in full precision on any device."""
  return (points[:, :, None] * matrix[:, None]).sum(-1)


def to_camera(
  points: Float[Array, "b v 3"], world_mat: Float[Array, "b 3 4"]
) -> Float[Array, "b v 3"]:
  """Points of the cube in the camera's frame."""
  return transform(points, world_mat[..., :3]) + world_mat[:, None, :, 3]


def to_world(
  points: Float[Array, "b v 3"], world_mat: Float[Array, "b 3 4"]
) -> Float[Array, "b v 3"]:
  """The inverse of `to_camera`, for any R that has one: it may hold a scale."""
  rows = world_mat[..., :3]
  # The columns of the inverse are cross products of the rows over the determinant.
  columns = jnp.stack(
    [jnp.cross(rows[:, i - 2], rows[:, i - 1]) for i in range(3)], axis=-1
  )
  determinant = (rows[:, 0] * columns[..., 0]).sum(-1)
  inverse = columns / determinant[:, None, None]
  return transform(points - world_mat[:, None, :, 3], inverse)


class _Activated(nn.Module):
  """A graph convolution and a ReLU; a PyTorch Sequential counts both."""

  features: int

  @nn.compact
  def __call__(self, x: Float[Array, "b v i"], stage: Stage) -> Float[Array, "b v o"]:
    return nn.relu(GraphConv(self.features, name="0")(x, stage))


class _Residual(nn.Module):
  """Graph convolutions, of which every second is averaged with what came two before."""

  features: int
  layers: int

  @nn.compact
  def __call__(self, x: Float[Array, "b v c"], stage: Stage) -> Float[Array, "b v c"]:
    earlier, net = x, x
    for i in range(self.layers):
      following = _Activated(self.features, name=str(i))(net, stage)
      if i % 2:
        following = (following + earlier) / 2
      earlier, net = net, following
    return net


class MeshDecoder(nn.Module):
  """Deforms a template in three blocks, each of a mesh with four times the faces.

  Attributes:
    hidden_size: features of the layers.
    align_corners: as in `project`.
    published: whether vertices are formed as by the published code, for its weights:
      blocks give positions, and the projection divides by any depth. Otherwise blocks
      give offsets from what they start from, so that an untrained network gives
      about the template, and smaller depths than NEAR count as that.
  """

  hidden_size: int = 192
  align_corners: bool = True
  published: bool = False

  @nn.compact
  def __call__(
    self,
    maps: Sequence[Float[Array, "b _ _ _"]],
    camera_mat: Float[Array, "b 3 3"],
    start: Float[Array, "b v 3"],
    stages: Sequence[Stage],
  ) -> tuple[Prediction, ...]:
    """The meshes of all blocks.

    Args:
      maps, camera_mat: of the image, as in `project`.
      start: the template in the camera's frame.
      stages: graphs of its stages, one for each block.
    """
    predictions: list[Prediction] = []
    vertices, hidden, near = start, None, None if self.published else NEAR
    for i, stage in enumerate(stages):
      net = project(
        vertices, camera_mat, maps, align_corners=self.align_corners, near=near
      )
      before = vertices
      if hidden is not None:
        net = unpool(jnp.concatenate([net, hidden], axis=-1), stages[i - 1])
        before = unpool(vertices, stages[i - 1])
      hidden = _Activated(self.hidden_size, name=f"gc{3 * i + 1}")(net, stage)
      layers = _Residual(self.hidden_size, _LAYERS[i], name=f"gc{3 * i + 2}")
      hidden = layers(hidden, stage)
      vertices = GraphConv(3, name=f"gc{3 * i + 3}")(hidden, stage)
      if not self.published:
        vertices = before + vertices
      predictions.append(Prediction(vertices, before))
    return tuple(predictions)
