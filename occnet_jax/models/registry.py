"""The one place where a string in a config becomes an object."""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import optax
import optax.contrib

from occnet_jax.models import onet
from occnet_jax.nn import decoders, pointnet
from occnet_jax.types import Method


def _pointnet_resnet(model, **norm) -> nn.Module:
  del norm
  return pointnet.ResnetPointnet(
    model["c_dim"], model["encoder_hidden_size"], model["octaves"]
  )


def _cbatchnorm(model, **norm) -> nn.Module:
  return decoders.CBatchNormDecoder(
    model["hidden_size"], model["leaky"], model["octaves"], **norm
  )


ENCODERS = {"pointnet_resnet": _pointnet_resnet}
DECODERS = {"cbatchnorm": _cbatchnorm}


def lookup(table: Mapping[str, Any], name: str, field: str) -> Any:
  """table[name], or a ValueError that lists the names there are."""
  if name not in table:
    known = ", ".join(sorted(table))
    raise ValueError(f"config.{field} is {name!r}; want one of: {known}")
  return table[name]


def _onet(model, tau, **norm) -> Method:
  encoder = lookup(ENCODERS, model["encoder"], "model.encoder")(model, **norm)
  decoder = lookup(DECODERS, model["decoder"], "model.decoder")(model, **norm)
  return onet.method(onet.OccupancyNetwork(encoder, decoder), tau=tau)


METHODS = {"onet": _onet}


def build(
  model: Mapping[str, Any], *, tau: float, axis_name: str | None = None
) -> Method:
  """The Method that `config.model` describes.

  Args:
    model: the fields of config.model (configs/base.py lists them).
    tau: occupancy probability of the surface.
    axis_name: device axis that batch norm averages over; None for one device.

  Raises:
    ValueError: a name that no table has.
  """
  norm = {"axis_name": axis_name, "unbiased_variance": model["unbiased_variance"]}
  return lookup(METHODS, model["name"], "model.name")(model, tau, **norm)


SCHEDULES = {
  "constant": lambda peak, steps: optax.constant_schedule(peak),
  "cosine": lambda peak, steps: optax.cosine_decay_schedule(peak, max(steps, 1)),
}
OPTIMIZERS = {
  "adam": lambda optim, rate: optax.adam(rate),
  "adamw": lambda optim, rate: optax.adamw(rate, weight_decay=optim["weight_decay"]),
  "muon": lambda optim, rate: optax.contrib.muon(rate),
  "sgd": lambda optim, rate: optax.sgd(rate, momentum=0.9),
}


def optimizer(optim: Mapping[str, Any], steps: int) -> optax.GradientTransformation:
  """The optimiser that `config.optim` describes, for a run of so many steps.

  Raises:
    ValueError: a name that no table has, or weight decay where it would do nothing.
  """
  if optim["weight_decay"] and optim["name"] != "adamw":
    raise ValueError(
      f"config.optim.weight_decay is {optim['weight_decay']} with optimiser "
      f"{optim['name']!r}, which has none; set config.optim.name to adamw"
    )
  peak, warmup = optim["learning_rate"], optim["warmup_steps"]
  schedule = lookup(SCHEDULES, optim["schedule"], "optim.schedule")
  rate = schedule(peak, steps - warmup)
  if warmup:
    ramp = optax.linear_schedule(0.0, peak, warmup)
    rate = optax.join_schedules([ramp, rate], [warmup])
  update = lookup(OPTIMIZERS, optim["name"], "optim.name")(optim, rate)
  if optim["clip_norm"]:
    return optax.chain(optax.clip_by_global_norm(optim["clip_norm"]), update)
  return update
