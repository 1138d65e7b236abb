"""The one place where a string in a config becomes an object."""

import functools
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import numpy as np

from occnet_jax.config import lookup
from occnet_jax.models import onet
from occnet_jax.nn import (
  decoders,
  embedding,
  image_encoders,
  latent_encoder,
  pointnet,
  resnet,
  voxel_encoder,
)
from occnet_jax.nn import precision as precision_lib
from occnet_jax.types import Method, Variables

ModelConfig = Mapping[
  str, Any
]  # the fields of config.model; configs/base.py lists them


def _pointnet(kind):
  def make(model: ModelConfig, **norm) -> nn.Module:
    del norm  # it has no batch norm
    return kind(model["c_dim"], model["encoder_hidden_size"], model["octaves"])

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


def _decoder(kind, *, has_norm: bool = True, has_blocks: bool = True):
  def make(model: ModelConfig, remat: bool, **norm) -> nn.Module:
    settings = {name: model[name] for name in ("hidden_size", "leaky", "octaves")}
    if has_norm:
      settings |= norm
    if has_blocks:
      settings["remat"] = remat
    elif remat:
      raise ValueError(
        f"config.train.remat is set, but the decoder {model['decoder']!r} has no "
        "residual blocks to compute again; set config.train.accumulate instead"
      )
    return kind(**settings)

  return make


DECODERS = {
  "batchnorm": _decoder(decoders.BatchNormDecoder),
  "cbatchnorm": _decoder(decoders.CBatchNormDecoder),
  "cbatchnorm2": _decoder(decoders.CBatchNormDecoder2),
  "cbatchnorm_noresnet": _decoder(decoders.CBatchNormNoResnetDecoder, has_blocks=False),
  "simple": _decoder(decoders.SimpleDecoder, has_norm=False),
}


def _onet(model: ModelConfig, tau: float, remat: bool, **norm) -> Method:
  encoder = lookup(ENCODERS, model["encoder"], "model.encoder")(model, **norm)
  decoder = lookup(DECODERS, model["decoder"], "model.decoder")(model, remat, **norm)
  encoder_latent, z_dim = None, model["z_dim"]
  if z_dim:
    encoder_latent = latent_encoder.LatentEncoder(z_dim, model["latent_hidden_size"])
  elif encoder is None:
    raise ValueError(
      "config.model has neither an encoder nor a z_dim: every shape would be the same; "
      "set one of them"
    )
  net = onet.OccupancyNetwork(encoder, decoder, encoder_latent, z_dim)
  return onet.method(net, tau=tau, kl_weight=model["kl_weight"])


METHODS = {"onet": _onet}


def build(
  model: ModelConfig,
  *,
  tau: float,
  axis_name: str | None = None,
  precision: str = "float32",
  remat: bool = False,
) -> Method:
  """The Method that `config.model` describes.

  Args:
    model: the fields of config.model.
    tau: occupancy probability of the surface.
    axis_name: device axis that batch norm averages over; None for one device.
    precision: of matrix products, one of `nn.precision.PRECISIONS`.
    remat: whether training computes the decoder's blocks twice, for less memory.

  Raises:
    ValueError: a name that no table has, or fields that do not go together.
  """
  norm = {"axis_name": axis_name, "unbiased_variance": model["unbiased_variance"]}
  method = lookup(METHODS, model["name"], "model.name")(model, tau, remat, **norm)
  precise = functools.partial(precision_lib.scoped, precision_lib.resolve(precision))
  return method._replace(
    loss=precise(method.loss),
    encode=precise(method.encode),
    decode=precise(method.decode),
    posterior=method.posterior and precise(method.posterior),
  )


def variable_forms(method: Method, inputs: np.ndarray) -> Variables:
  """The shapes and types of a method's variables, as jax.ShapeDtypeStruct.

  Args:
    method: any.
    inputs: what is observed of one shape; only its shape and type count.
  """
  forms = {
    "points": np.zeros((1, 1, 3), np.float32),
    "occupancies": np.zeros((1, 1), np.float32),
    "inputs": inputs[None],
  }
  variables = jax.eval_shape(method.init, jax.random.PRNGKey(0), forms)
  return {name: variables.get(name, {}) for name in ("params", "batch_stats")}
