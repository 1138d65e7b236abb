"""Networks of convolutional occupancy networks as the recordings name and call them.

The published code has features first: (b, c, r, r). A recorded plane (b, c, z, x) is
ours (b, z, x, c), because both have the axes of space in the same order.
"""

import jax.numpy as jnp

from occnet_jax.models.convonet import ConvolutionalOccupancyNetwork
from occnet_jax.nn.crops import Crop
from occnet_jax.nn.grid_features import Layout
from occnet_jax.nn.local_decoder import LocalDecoder, LocalPointDecoder
from occnet_jax.nn.local_encoders import LocalPoolPointnet, LocalVoxelEncoder
from occnet_jax.nn.pointnet2 import PointNetPlusPlus
from occnet_jax.nn.unet import UNet, UNet3D

FAMILY = "conv_onet"
KINKED = {  # see parity.KINKED
  "conv_cloud_grid": 2e-5,
  "conv_crop_grid_local": 2e-5,
  "conv_crop_planes_sincos": 2e-5,
  "conv_pointconv": 2e-5,
  "conv_voxels_grid": 2e-5,
}
# Tolerances of outputs: sums in float32 over the groups of a mostly empty grid leave
# errors of 4e-5.
SUMMED = {
  "conv_cloud_grid": 2e-4,
  "conv_crop_grid_local": 2e-4,
  # Waves of 2^9 pi: a rounding of a position is 3,000 times as large in a phase.
  "conv_crop_planes_sincos": 5e-4,
  "conv_voxels_grid": 2e-4,
}
SLIDING = "conv_crop_sliding"  # a recording of many windows: tests/extract/batch
# 3D U-Nets that are compared by XLA's own convolutions, because nearly all their time
# is compilation. conv_cloud_grid, conv_cloud_combine and unet3d_odd have the CPU's.
PLAIN = ("unet3d_even",)


class NetworkAndGrids(ConvolutionalOccupancyNetwork):
  """The network, which returns its planes and grid besides."""

  def __call__(self, inputs, points, *, train):
    grids = self.encode(inputs, train=train)
    return self.decode(points, grids, train=train), grids


class FeaturesFirstUNet(UNet):
  def __call__(self, x, *, train):
    del train
    return jnp.moveaxis(super().__call__(jnp.moveaxis(x, 1, -1)), -1, 1)


class FeaturesFirstUNet3D(UNet3D):
  def __call__(self, x, *, train):
    del train
    return jnp.moveaxis(super().__call__(jnp.moveaxis(x, 1, -1)), -1, 1)


def network(about):
  """The network of a case, with the sizes that the published code was given."""
  config = about["config"]
  if about["kind"] == "UNet":
    size = config["num_classes"]
    return FeaturesFirstUNet(
      size,
      config["depth"],
      config["start_filts"],
      config["merge_mode"],
      up={"upsample": "bilinear"}.get(config.get("up_mode"), "transposed"),
    )
  if about["kind"] == "UNet3D":
    size = config["out_channels"]
    return FeaturesFirstUNet3D(size, config["num_levels"], config["f_maps"])
  if about["kind"] == "LocalDecoder":
    return _decoder(config, config["padding"], None)
  kwargs, padding = config["encoder_kwargs"], config["padding"]
  if config["encoder"] == "pointnet_plus_plus":
    sizes = config["decoder_kwargs"]
    decoder = LocalPointDecoder(sizes["hidden_size"], sigma=sizes["gaussian_val"])
    return NetworkAndGrids(PointNetPlusPlus(config["c_dim"]), decoder)
  names = kwargs["plane_type"]
  crop = _crop(kwargs) if "crop" in config["encoder"] else None
  layout = Layout(
    (names,) if isinstance(names, str) else tuple(names),
    kwargs.get("plane_resolution", 0),
    kwargs.get("grid_resolution", 0),
    padding,
    crop,
  )
  shared = {"layout": layout, "c_dim": config["c_dim"]}
  if kwargs.get("unet"):
    sizes = kwargs["unet_kwargs"]
    shared["unet"] = UNet(
      config["c_dim"], sizes["depth"], sizes["start_filts"], sizes["merge_mode"]
    )
  if kwargs.get("unet3d"):
    sizes = kwargs["unet3d_kwargs"]
    shared["unet3d"] = UNet3D(config["c_dim"], sizes["num_levels"], sizes["f_maps"])
  if config["encoder"] == "voxel_simple_local":
    encoder = LocalVoxelEncoder(kernel_size=kwargs.get("kernel_size", 3), **shared)
  else:
    encoder = LocalPoolPointnet(
      hidden_dim=kwargs["hidden_dim"],
      n_blocks=kwargs.get("n_blocks", 5),
      pooling=kwargs.get("scatter_type", "max"),
      **shared,
    )
  return NetworkAndGrids(encoder, _decoder(config["decoder_kwargs"], padding, crop))


def _crop(kwargs):
  encoding = "sin_cos" if kwargs["pos_encoding"] == "sin_cos" else "local"
  return Crop(kwargs["unit_size"], encoding if kwargs["local_coord"] else "")


def _decoder(sizes, padding, crop):
  return LocalDecoder(
    sizes["hidden_size"],
    sizes.get("n_blocks", 5),
    sizes.get("leaky", False),
    sizes["sample_mode"],
    padding,
    crop=crop,
  )


def arguments(given):
  """The arguments of a case's network, from its recorded inputs."""
  if "x" in given:
    return (jnp.asarray(given["x"]),)
  grids = {
    name.removeprefix("c/"): jnp.moveaxis(jnp.asarray(array), 1, -1)
    for name, array in given.items()
    if name.startswith("c/")
  }
  points = jnp.asarray(given["p"])
  if "mask" in given:  # the points outside of a window, which were set to its centre
    outside = jnp.asarray(given["mask"])[..., None]
    return jnp.where(outside, 9, jnp.asarray(given["points"])), points
  return (points, grids) if grids else (jnp.asarray(given["inputs"]), points)


def named_outputs(outputs):
  """Outputs by their names in a recording."""
  if not isinstance(outputs, tuple):
    return {"out0": outputs}
  logits, grids = outputs
  if "points" in grids:
    return {"logits": logits, **{f"c/{name}": grid for name, grid in grids.items()}}
  planes = {f"c/{name}": jnp.moveaxis(grid, -1, 1) for name, grid in grids.items()}
  return {"logits": logits, **planes}
