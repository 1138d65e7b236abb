"""Neural field of one shape: an encoding of points and a perceptron (device, jnp).

The network has no input but the point: its weights are the shape. Encodings are random
Fourier features (Tancik et al., NeurIPS 2020), a hash grid (Müller et al., SIGGRAPH
2022), feature grids of several resolutions (Takikawa et al., CVPR 2021), or none. It
learns occupancies or signed distances. `models/siren.py` learns from a surface alone.

Feature grids have one perceptron for each number of levels, and all are trained
together, so that a trained network decodes at any level of detail.

Shape letters: b shapes, which differ in their points alone, t query points, l levels.
"""

from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from occnet_jax import losses
from occnet_jax.config import lookup
from occnet_jax.nn.feature_grids import FeatureGrids
from occnet_jax.nn.hash_grid import HashGrid
from occnet_jax.nn.point_mlp import PointMLP
from occnet_jax.nn.positional import RandomFourierFeatures
from occnet_jax.types import BuildOptions, Field, Method

CUBE = 1.1  # side of the padded cube

LossOfValues = Callable[[Float[Array, "b t"], Float[Array, "b t"]], Float[Array, ""]]


def _cross_entropy(logits, occupancies):
  return losses.occupancy_cross_entropy(logits, occupancies) / logits.shape[1]


def _squared(distances, true_distances):
  return jnp.square(distances - true_distances).mean()


LOSSES: dict[str, tuple[str, LossOfValues]] = {  # the target in batches, and the loss
  "cross_entropy": ("occupancies", _cross_entropy),
  "relative_l1": ("distances", losses.relative_l1),
  "squared": ("distances", _squared),
}
ENCODINGS: dict[str, Callable[[Mapping[str, Any]], nn.Module | None]] = {
  "none": lambda model: None,
  "fourier": lambda model: RandomFourierFeatures(
    model["fourier_features"], model["fourier_sigma"]
  ),
  "hash": lambda model: HashGrid(
    model["levels"],
    model["level_features"],
    model["base_resolution"],
    model["finest_resolution"],
    2 ** model["hash_log2_entries"],
  ),
  "grids": lambda model: FeatureGrids(
    model["levels"],
    (model["base_resolution"] - 1).bit_length() - 1,
    model["level_features"],
  ),
}


class SingleField(nn.Module):
  """An encoding and a perceptron for each of the encodings that it returns.

  Attributes:
    encoding: points from 0 to 1 (b, t, 3) -> features (b, t, k), or a tuple of them
      from coarse to fine; None for the points from -1 to 1.
    hidden_size, hidden_layers, use_bias: sizes of each perceptron.
  """

  encoding: nn.Module | None
  hidden_size: int
  hidden_layers: int
  use_bias: bool = True

  @nn.compact
  def __call__(self, points: Float[Array, "b t 3"]) -> tuple[Float[Array, "b t"], ...]:
    """Values at points of the padded cube, for each level of detail."""
    unit = points / CUBE + 0.5
    encoded = 2 * unit - 1 if self.encoding is None else self.encoding(unit)
    levels = encoded if isinstance(encoded, tuple) else (encoded,)
    return tuple(
      PointMLP(self.hidden_size, self.hidden_layers, self.use_bias, name=f"mlp_{i}")(x)
      for i, x in enumerate(levels)
    )


def method(
  net: SingleField,
  *,
  loss_name: str = "cross_entropy",
  levels_used: int = 0,
  level: float = 0.0,
) -> Method:
  """The field of one shape as a Method.

  Args:
    net: the module.
    loss_name: loss of the values of each level of detail, one of `LOSSES`; training
      minimises the sum over levels.
    levels_used: level of detail of `decode` and `score`, from 1; 0 for the finest.
    level: value of the surface: a logit, or a negated signed distance.
  """
  target, loss_of_values = LOSSES[loss_name]
  # Values are distances, negative inside, where fields are larger inside.
  sign = 1.0 if target == "occupancies" else -1.0

  def init(key, batch):
    return net.init(key, batch["points"])

  def targets_of(batch):
    if target not in batch:
      raise ValueError(
        f"config.data.targets lacks {target!r}, the targets of "
        f"config.model.loss={loss_name!r}; add them, and prepare the data with "
        "config.prep.distances"
      )
    return batch[target]

  def loss(variables, batch, key, train):
    del key, train  # nothing is random
    targets, values = targets_of(batch), net.apply(variables, batch["points"])
    value = sum(loss_of_values(each, targets) for each in values)
    field = sign * values[levels_used - 1]
    iou = losses.batch_iou(field, batch["occupancies"], level)
    return value, (variables.get("batch_stats", {}), {"loss": value, "iou": iou})

  def encode(variables, inputs):
    del variables
    return jnp.zeros((len(inputs), 0))

  def decode(variables, latent, points):
    del latent
    return sign * net.apply(variables, points)[levels_used - 1]

  def score(variables, batch):
    values = decode(variables, None, batch["points"])
    per_shape = jax.vmap(lambda f, s: loss_of_values(f[None], s[None]))
    return {
      "loss": per_shape(sign * values, targets_of(batch)),
      "iou": losses.iou_at_levels(values, batch["occupancies"], (level,))[:, 0],
    }

  return Method(init, loss, encode, decode, Field(level), score)


def build(model: Mapping[str, Any], options: BuildOptions) -> Method:
  """The network that the fields of configs/models/single.py describe.

  Raises:
    ValueError: a setting that this system does not have, or one out of range.
  """
  check_options("single", options)
  encoding = lookup(ENCODINGS, model["encoding"], "model.encoding")(model)
  target, _ = lookup(LOSSES, model["loss"], "model.loss")
  base = model["base_resolution"]
  if model["encoding"] == "grids" and (base < 2 or (base - 1).bit_count() != 1):
    raise ValueError(
      f"config.model.base_resolution is {base}; want a power of two plus 1 nodes for "
      "encoding='grids', such as 5"
    )
  levels = model["levels"] if model["encoding"] == "grids" else 1
  if not 0 <= model["levels_used"] <= levels:
    raise ValueError(
      f"config.model.levels_used is {model['levels_used']}; want at most {levels}, the "
      "levels of detail that this network has, or 0 for the finest"
    )
  threshold = options.threshold
  if target == "occupancies":
    level = losses.logit(model["tau"] if threshold is None else threshold)
  else:
    level = 0.0 - (threshold or 0.0)  # -0.0 would be shown as it is
  net = SingleField(
    encoding, model["hidden_size"], model["hidden_layers"], model["use_bias"]
  )
  return method(
    net, loss_name=model["loss"], levels_used=model["levels_used"], level=level
  )


def check_options(name: str, options: BuildOptions) -> None:
  """Raises ValueError for options that a network of a single shape does not have."""
  if options.remat:
    raise ValueError(f"config.train.remat is set, but {name} has no blocks; unset it")
