"""Networks of the recorded cases by the names that their specifications give them."""

import functools

import flax.linen as nn
import jax.numpy as jnp

from occnet_jax.nn import (
  decoders,
  image_encoders,
  pointnet,
  resnet,
  voxel_encoder,
)
from occnet_jax.nn.grid_decoder import R2N2Decoder
from occnet_jax.nn.latent_encoder import LatentEncoder
from occnet_jax.nn.sdf_decoder import SDFDecoder


class Unconditional(nn.Module):
  """The unconditional occupancy network: an encoder of z and a decoder."""

  z_dim: int

  @nn.compact
  def __call__(self, points, occupancies, noise, z, *, train):
    encoder = LatentEncoder(self.z_dim, name="encoder_latent")
    decoder = decoders.SimpleDecoder(name="decoder")
    mean, logstd = encoder(points, occupancies, None, train=train)
    latents = mean + jnp.exp(logstd) * noise, z, 0 * z
    return mean, logstd, *(decoder(points, a, None, train=train) for a in latents)


class R2N2FromPoints(nn.Module):
  """An encoder of point clouds and a decoder of grids."""

  c_dim: int
  hidden_dim: int

  @nn.compact
  def __call__(self, inputs, *, train):
    encoder = pointnet.ResnetPointnet(self.c_dim, self.hidden_dim, name="encoder")
    return R2N2Decoder(name="decoder")(encoder(inputs, train=train), train=train)


def network(about):
  """The network of a case, with the sizes that the reference was given."""
  if about["kind"] == "OccupancyNetwork":
    return Unconditional(about["config"]["z_dim"])
  if about["kind"] == "im2mesh.r2n2.models.R2N2":
    return R2N2FromPoints(about["c_dim"], **about["encoder_kwargs"])
  if about["kind"] == "im2mesh.r2n2.models.decoder.Decoder":
    return R2N2Decoder()
  if about["kind"] == "deep_sdf.Decoder":
    return sdf_decoder(about["config"])
  sizes = about["kwargs"]
  kind = about["kind"].removeprefix("im2mesh.")
  if kind.startswith("onet.models.decoder."):
    chosen = {k: sizes[k] for k in ("hidden_size", "leaky", "n_blocks") if k in sizes}
    return {
      "Decoder": decoders.SimpleDecoder,
      "DecoderCBatchNorm": decoders.CBatchNormDecoder,
      "DecoderCBatchNorm2": decoders.CBatchNormDecoder2,
      "DecoderCBatchNormNoResnet": decoders.CBatchNormNoResnetDecoder,
      "DecoderBatchNorm": decoders.BatchNormDecoder,
    }[kind.rpartition(".")[2]](**chosen)
  if kind == "onet.models.encoder_latent.Encoder":
    return LatentEncoder(sizes["z_dim"], leaky=sizes.get("leaky", False))
  return {
    "encoder.pointnet.SimplePointnet": pointnet.PointnetSimple,
    "encoder.pointnet.ResnetPointnet": pointnet.ResnetPointnet,
    "encoder.conv.ConvEncoder": image_encoders.SimpleConv,
    "encoder.conv.Resnet18": functools.partial(resnet.Resnet, 18),
    "encoder.conv.Resnet34": functools.partial(resnet.Resnet, 34),
    "encoder.r2n2.SimpleConv": image_encoders.R2N2Simple,
    "encoder.r2n2.Resnet": image_encoders.R2N2Resnet,
    "encoder.voxels.VoxelEncoder": voxel_encoder.VoxelSimple,
  }[kind](**sizes)


def sdf_decoder(config):
  """The decoder that a specs.json of DeepSDF describes."""
  assert config["dropout"] == list(range(len(config["dims"])))
  assert not config["latent_dropout"]
  return SDFDecoder(
    hidden_sizes=tuple(config["dims"]),
    skip_layers=tuple(config["latent_in"]),
    norm_layers=tuple(config["norm_layers"]),
    weight_norm=config["weight_norm"],
    dropout_rate=config["dropout_prob"],
    points_in_all=config["xyz_in_all"],
    extra_tanh=config["use_tanh"],
  )
