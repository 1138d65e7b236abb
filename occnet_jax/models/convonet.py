"""Convolutional Occupancy Networks (Peng et al., ECCV 2020) (device, jnp).

encode: cloud or voxels -> {"xz": (b, r, r, c), ..., "grid": (b, r, r, r, c)}, the
features of planes and grid after their U-Nets, axes as in nn/grid_features.py; or, of
PointNet++, with which the paper compares, {"points": (b, n, 3), "features": (b, n, c)}.
With config.model.knn the latent also has "points" and "point_features".
decode: points (b, t, 3) -> logits, from the features around each point alone.
"""

import math
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
from jaxtyping import Array, Float

from occnet_jax.config import lookup
from occnet_jax.models import occupancy
from occnet_jax.nn import crops, grid_features, unet
from occnet_jax.nn.local_decoder import LocalDecoder, LocalPointDecoder
from occnet_jax.nn.local_encoders import LocalPoolPointnet, LocalVoxelEncoder
from occnet_jax.nn.norm import NormSettings
from occnet_jax.nn.pointnet2 import PointNetPlusPlus
from occnet_jax.types import BuildOptions, Method, Windows

Features = dict[str, Float[Array, "b ..."]]
ModelConfig = Mapping[str, Any]  # the fields of config.model


class ConvolutionalOccupancyNetwork(nn.Module):
  """An encoder of observations into planes and grids, and a decoder of points.

  Attributes:
    encoder: (inputs, train=...) -> features by name.
    decoder: (points (b, t, 3), features, train=...) -> logits (b, t).
  """

  encoder: nn.Module
  decoder: nn.Module

  def __call__(
    self, inputs: Any, points: Float[Array, "b t 3"], *, train: bool
  ) -> Float[Array, "b t"]:
    return self.decode(points, self.encode(inputs, train=train), train=train)

  def encode(self, inputs: Any, *, train: bool) -> Features:
    return self.encoder(inputs, train=train)

  def decode(
    self, points: Float[Array, "b t 3"], features: Features, *, train: bool
  ) -> Float[Array, "b t"]:
    return self.decoder(points, features, train=train)


def _local_pool(model: ModelConfig, norm: NormSettings) -> nn.Module:
  del norm  # it has no batch norm
  lookup(grid_features.POOLINGS, model["pooling"], "model.pooling")
  return LocalPoolPointnet(
    layout(model, model["padding"], _crop(model)),
    model["c_dim"],
    model["encoder_hidden_size"],
    model["encoder_blocks"],
    model["pooling"],
    keep_points=model["knn"] > 0,
    octaves=model["fourier_octaves"],
    **unets(model),
  )


def _voxels(model: ModelConfig, norm: NormSettings) -> nn.Module:
  del norm  # it has no batch norm
  if model["voxel_kernel_size"] % 2 == 0:
    raise ValueError(
      f"config.model.voxel_kernel_size is {model['voxel_kernel_size']}; want an odd "
      "number, so that the convolution keeps the side of the grid"
    )
  cells = layout(model, model["padding"], _crop(model))
  sizes = model["c_dim"], model["voxel_kernel_size"]
  return LocalVoxelEncoder(cells, *sizes, **unets(model))


def _pointnet_plus_plus(model: ModelConfig, norm: NormSettings) -> nn.Module:
  return PointNetPlusPlus(model["c_dim"], norm)


ENCODERS = {
  "pointnet_local_pool": _local_pool,
  "pointnet_plus_plus": _pointnet_plus_plus,
  "voxel_simple_local": _voxels,
}


def _decoder(model: ModelConfig) -> nn.Module:
  """The decoder of what the encoder makes: planes and grids, or points."""
  lookup(grid_features.SAMPLINGS, model["sample_mode"], "model.sample_mode")
  lookup(dict.fromkeys(crops.READ_AT), model["read_at"], "model.read_at")
  sizes = model["hidden_size"], model["decoder_blocks"], model["decoder_leaky"]
  if model["knn"] and model["encoder"] != "pointnet_local_pool":
    raise ValueError(
      f"config.model.knn is {model['knn']} with encoder {model['encoder']!r}; want 0, "
      "or the encoder pointnet_local_pool, whose points have features"
    )
  if model["encoder"] == "pointnet_plus_plus":
    return LocalPointDecoder(*sizes, model["point_sigma"])
  return LocalDecoder(
    *sizes,
    model["sample_mode"],
    model["padding"],
    model["knn"],
    model["fourier_octaves"],
    _crop(model),
    model["read_at"],
  )


def layout(
  model: ModelConfig, padding: float | None, crop: crops.Crop | None = None
) -> grid_features.Layout:
  """The planes and grid that the fields of a config name.

  Raises:
    ValueError: a name that there is not, or none at all.
  """
  names = tuple(model["features"])
  if not names:
    raise ValueError(
      "config.model.features is empty, so nothing would reach the decoder; want one or "
      f"more of {', '.join(grid_features.AXES)}"
    )
  for name in names:
    lookup(grid_features.AXES, name, "model.features")
  resolutions = model["plane_resolution"], model["grid_resolution"]
  return grid_features.Layout(names, *resolutions, padding, crop)


def _crop(model: ModelConfig) -> crops.Crop | None:
  """The window that planes and grid cover; None for the cube."""
  if not model["unit_size"]:
    return None
  lookup(crops.COORDINATES, model["local_coordinates"], "model.local_coordinates")
  return crops.Crop(model["unit_size"], model["local_coordinates"], model["read_at"])


def _windows(model: ModelConfig) -> Windows | None:
  """How the network covers scenes; None for one of whole shapes.

  Windows are moved by multiples of what the U-Net pools, so that its cells are the same
  ones in all windows, and as far as the middle that training decodes allows.
  """
  if not (unit := model["unit_size"]):
    return None
  if unit < 0 or model["encoder"] != "pointnet_local_pool":
    raise ValueError(
      f"config.model.unit_size is {unit} and encoder {model['encoder']!r}; want a "
      "length above 0 and pointnet_local_pool, the encoder that knows windows, or 0"
    )
  if model["knn"] or model["fourier_octaves"]:
    raise ValueError(
      f"config.model.unit_size is {unit} with knn={model['knn']} and "
      f"fourier_octaves={model['fourier_octaves']}; want 0 of both, for they are of "
      "whole shapes: local_coordinates='sin_cos' has waves for windows"
    )
  planes = set(model["features"]) & set(grid_features.PLANES)
  sides = {model["plane_resolution"]} if planes else set()
  sides |= {model["grid_resolution"]} if "grid" in model["features"] else set()
  side, query = max(sides), model["query_cells"]
  if len(sides) > 1 or side % 2 or not 0 < query <= side:
    raise ValueError(
      f"config.model has {' and '.join(map(str, sorted(sides)))} cells along a window "
      f"and query_cells={query}; want one even number, and no more query cells"
    )
  pooled = [2 ** max(model["unet_depth"] - 1, 0)] if planes else []
  if "grid" in model["features"] and (levels := model["unet3d_levels"]):
    pooled.append(model["unet3d_patch"] * 2 ** (levels - 1))
  step = math.lcm(1, *pooled)
  return Windows(unit, side, query, max(query // step * step, min(query, step)))


def unets(model: ModelConfig) -> dict[str, nn.Module | None]:
  """The U-Nets of the planes and of the grid, where there are any.

  Raises:
    ValueError: a name that no table has, or sides that their levels do not suit.
  """
  made: dict[str, nn.Module | None] = {"unet": None, "unet3d": None}
  depth, levels = model["unet_depth"], model["unet3d_levels"]
  lookup(unet.STARTS, model["unet_start"], "model.unet_start")
  if depth and set(model["features"]) & set(grid_features.PLANES):
    lookup(unet.MERGES, model["unet_merge"], "model.unet_merge")
    if (side := model["plane_resolution"]) % 2 ** (depth - 1):
      raise ValueError(
        f"config.model.plane_resolution is {side}; want a multiple of "
        f"{2 ** (depth - 1)}, which a U-Net of depth {depth} halves {depth - 1} times"
      )
    up = model["unet_up"]
    lookup(dict.fromkeys(unet.UPSAMPLINGS), up, "model.unet_up")
    forms = model["unet_filters"], model["unet_merge"], model["unet_start"], up
    made["unet"] = unet.UNet(model["c_dim"], depth, *forms)
  if levels and "grid" in model["features"]:
    side, patch = model["grid_resolution"], model["unet3d_patch"]
    if patch < 1 or side % patch:
      raise ValueError(
        f"config.model.unet3d_patch is {patch} with grid_resolution={side}; want a "
        "number from 1 that divides it"
      )
    merge = model["unet3d_merge"]
    lookup(unet.MERGES, merge, "model.unet3d_merge")
    if merge == "add" and side % (patch * 2 ** (levels - 1)):
      raise ValueError(
        f"config.model.grid_resolution is {side}; want a multiple of "
        f"{patch * 2 ** (levels - 1)} with unet3d_merge='add', or 'concat'"
      )
    if side < (least := patch * 2 ** (levels - 1)):
      raise ValueError(
        f"config.model.grid_resolution is {side}; want at least {least}, which a U-Net "
        f"of {levels} levels halves {levels - 1} times"
      )
    sizes = model["unet3d_filters"], model["unet3d_norm"], patch
    forms = model["unet_start"], merge
    made["unet3d"] = unet.UNet3D(model["c_dim"], levels, *sizes, *forms)
  return made


def build(model: ModelConfig, options: BuildOptions) -> Method:
  """The network that the fields of configs/models/convonet.py describe.

  Raises:
    ValueError: a name that no table has, or fields that do not go together.
  """
  if options.remat:
    raise ValueError(
      "config.train.remat is set, but convonet's decoder keeps little; unset it"
    )
  windows = _windows(model)
  make = lookup(ENCODERS, model["encoder"], "model.encoder")
  encoder = make(model, NormSettings(options.axis_name, model["unbiased_variance"]))
  chosen = options.threshold
  return occupancy.method(
    ConvolutionalOccupancyNetwork(encoder, _decoder(model)),
    tau=model["tau"] if chosen is None else chosen,
    candidates=tuple(model["tau_grid"]) if chosen is None else (),
  )._replace(windows=windows, pads=model["encoder"] == "pointnet_local_pool")
