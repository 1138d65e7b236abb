"""Encoders of observations by their names in config.model.encoder (device, jnp)."""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn

from occnet_jax.nn import embedding, image_encoders, pointnet, resnet, voxel_encoder

ModelConfig = Mapping[str, Any]  # the fields of config.model


def _pointnet(kind):
  def make(model: ModelConfig, **norm) -> nn.Module:
    del norm  # it has no batch norm
    return kind(model["c_dim"], model["encoder_hidden_size"], model["fourier_octaves"])

  return make


def _by_code_size(kind):
  def make(model: ModelConfig, **norm) -> nn.Module:
    del norm
    return kind(model["c_dim"])

  return make


def _resnet(depth: int):
  def make(model: ModelConfig, **norm) -> nn.Module:
    return resnet.Resnet(
      depth, model["c_dim"], use_linear=model["encoder_linear"], **norm
    )

  return make


def _code_table(model: ModelConfig, **norm) -> nn.Module:
  del norm
  return embedding.CodeTable(model["codes"], model["c_dim"])


def _nothing(model: ModelConfig, **norm) -> None:
  del norm
  if model["c_dim"]:
    raise ValueError(
      f"config.model.c_dim is {model['c_dim']} without an encoder; set it to 0, or "
      "config.model.encoder to what makes the code"
    )


ENCODERS = {
  "code_table": _code_table,
  "none": _nothing,
  "pointnet_resnet": _pointnet(pointnet.ResnetPointnet),
  "pointnet_simple": _pointnet(pointnet.PointnetSimple),
  "r2n2_resnet": _by_code_size(image_encoders.R2N2Resnet),
  "r2n2_simple": _by_code_size(image_encoders.R2N2Simple),
  "resnet18": _resnet(18),
  "resnet34": _resnet(34),
  "resnet50": _resnet(50),
  "resnet101": _resnet(101),
  "simple_conv": _by_code_size(image_encoders.SimpleConv),
  "voxel_simple": _by_code_size(voxel_encoder.VoxelSimple),
}
