"""The one place where a string in a config becomes an object."""

import functools
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import optax
import optax.contrib

from occnet_jax.models import onet
from occnet_jax.nn import (
  codes,
  convnets,
  decoders,
  latent,
  pointnet,
  resnet,
  voxels,
)
from occnet_jax.nn import precision as precision_lib
from occnet_jax.types import Method

Model = Mapping[str, Any]  # the fields of config.model; configs/base.py lists them


def _pointnet(kind):
  def make(model: Model, **norm) -> nn.Module:
    del norm  # it has no batch norm
    return kind(model["c_dim"], model["encoder_hidden_size"], model["octaves"])

  return make


def _by_code_size(kind):
  def make(model: Model, **norm) -> nn.Module:
    del norm
    return kind(model["c_dim"])

  return make


def _resnet(depth: int):
  def make(model: Model, **norm) -> nn.Module:
    return resnet.Resnet(
      depth, model["c_dim"], use_linear=model["encoder_linear"], **norm
    )

  return make


def _code_table(model: Model, **norm) -> nn.Module:
  del norm
  return codes.CodeTable(model["codes"], model["c_dim"])


def _nothing(model: Model, **norm) -> None:
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
  "r2n2_resnet": _by_code_size(convnets.R2N2Resnet),
  "r2n2_simple": _by_code_size(convnets.R2N2Simple),
  "resnet18": _resnet(18),
  "resnet34": _resnet(34),
  "resnet50": _resnet(50),
  "resnet101": _resnet(101),
  "simple_conv": _by_code_size(convnets.SimpleConv),
  "voxel_simple": _by_code_size(voxels.VoxelSimple),
}


def _decoder(kind, *, has_norm: bool = True, has_blocks: bool = True):
  def make(model: Model, remat: bool, **norm) -> nn.Module:
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


def lookup(table: Mapping[str, Any], name: str, field: str) -> Any:
  """table[name], or a ValueError that lists the names there are."""
  if name not in table:
    known = ", ".join(sorted(table))
    raise ValueError(f"config.{field} is {name!r}; want one of: {known}")
  return table[name]


def _onet(model: Model, tau: float, remat: bool, **norm) -> Method:
  encoder = lookup(ENCODERS, model["encoder"], "model.encoder")(model, **norm)
  decoder = lookup(DECODERS, model["decoder"], "model.decoder")(model, remat, **norm)
  encoder_latent, z_dim = None, model["z_dim"]
  if z_dim:
    encoder_latent = latent.LatentEncoder(z_dim, model["latent_hidden_size"])
  elif encoder is None:
    raise ValueError(
      "config.model has neither an encoder nor a z_dim: every shape would be the same; "
      "set one of them"
    )
  net = onet.OccupancyNetwork(encoder, decoder, encoder_latent, z_dim)
  return onet.method(net, tau=tau, kl_weight=model["kl_weight"])


METHODS = {"onet": _onet}


def build(
  model: Model,
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


SCHEDULES = {
  "constant": lambda peak, steps: optax.constant_schedule(peak),
  "cosine": lambda peak, steps: optax.cosine_decay_schedule(peak, max(steps, 1)),
  "wsd": lambda peak, steps: optax.join_schedules(  # warm-up, stable, decay
    [
      optax.constant_schedule(peak),
      optax.linear_schedule(peak, 0.0, max(steps // 5, 1)),
    ],
    [steps - steps // 5],
  ),
}
OPTIMIZERS = {
  "adam": lambda optim, rate: optax.adam(rate),
  "adamw": lambda optim, rate: optax.adamw(rate, weight_decay=optim["weight_decay"]),
  # Three Newton-Schulz steps after Schatten scaling train as well as five without it.
  "muon": lambda optim, rate: optax.contrib.muon(
    rate, ns_steps=3, preconditioning="schatten"
  ),
  "sgd": lambda optim, rate: optax.sgd(rate, momentum=0.9),
}


BATCH_SIZE = 64  # the reference's, and that of a learning rate that is to be scaled
SCALINGS = {
  "none": lambda ratio: 1.0,
  "linear": lambda ratio: ratio,  # for SGD: Goyal et al. 2017
  "root": lambda ratio: ratio**0.5,  # for Adam: Malladi et al. 2022
}


def optimizer(
  optim: Mapping[str, Any], steps: int, batch_size: int = BATCH_SIZE
) -> optax.GradientTransformation:
  """The optimiser that `config.optim` describes, for a run of so many steps.

  Args:
    optim: the fields of config.optim.
    steps: of the run; the schedule ends with it.
    batch_size: shapes a step, by which the learning rate may be scaled.

  Raises:
    ValueError: a name that no table has, or weight decay where it would do nothing.
  """
  if optim["weight_decay"] and optim["name"] != "adamw":
    raise ValueError(
      f"config.optim.weight_decay is {optim['weight_decay']} with optimiser "
      f"{optim['name']!r}, which has none; set config.optim.name to adamw"
    )
  scale = lookup(SCALINGS, optim["batch_scaling"], "optim.batch_scaling")
  peak = optim["learning_rate"] * scale(batch_size / BATCH_SIZE)
  warmup = optim["warmup_steps"]
  schedule = lookup(SCHEDULES, optim["schedule"], "optim.schedule")
  rate = schedule(peak, steps - warmup)
  if warmup:
    ramp = optax.linear_schedule(0.0, peak, warmup)
    rate = optax.join_schedules([ramp, rate], [warmup])
  update = lookup(OPTIMIZERS, optim["name"], "optim.name")(optim, rate)
  if optim["clip_norm"]:
    return optax.chain(optax.clip_by_global_norm(optim["clip_norm"]), update)
  return update
