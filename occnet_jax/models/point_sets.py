"""What systems that predict points on the surface share (device, jnp)."""

from collections.abc import Callable, Mapping
from typing import Any

from jaxtyping import Array, Float

from occnet_jax.nn.chamfer import chamfer
from occnet_jax.types import Batch, BuildOptions, Key, LossFn, ScoreFn, Variables

# (variables, batch, key, train) -> (points (b, n, 3), changed collections)
PredictFn = Callable[
  [Variables, Batch, Key | None, bool], tuple[Float[Array, "b n 3"], Mapping[str, Any]]
]


def chamfer_loss(system: str, predict: PredictFn) -> LossFn:
  """The loss of a Method: the mean over shapes of `nn.chamfer.chamfer`.

  Args:
    system: its name, for messages.
    predict: the network.
  """

  def loss(variables, batch, key, train):
    points, changed = predict(variables, batch, key, train)
    value = chamfer(points, surface_of(batch, system)).mean()
    stats = changed.get("batch_stats", variables.get("batch_stats", {}))
    return value, (stats, {"loss": value})

  return loss


def chamfer_score(system: str, predict: PredictFn) -> ScoreFn:
  """The score of a Method: that Chamfer distance of each shape, as "loss"."""

  def score(variables, batch):
    points, _ = predict(variables, batch, None, False)
    return {"loss": chamfer(points, surface_of(batch, system))}

  return score


def surface_of(batch: Batch, system: str) -> Float[Array, "b n 3"]:
  """The target points of a batch; ValueError where the data lack them."""
  if "surface" not in batch:
    raise ValueError(
      f"config.data.targets lacks 'surface', the points that {system} is trained on"
    )
  return batch["surface"]


def check_options(system: str, model: Mapping[str, Any], options: BuildOptions) -> None:
  """Raises ValueError for settings that no system of points or meshes has."""
  if options.remat:
    raise ValueError(f"config.train.remat is set, but {system} has no blocks; unset it")
  if options.threshold is not None:
    raise ValueError(
      f"config.test.threshold is {options.threshold}, but {system} has no level of a "
      "surface; unset it"
    )
  if model["encoder"] in ("none", "code_table"):
    raise ValueError(
      f"config.model.encoder is {model['encoder']!r}; {system} wants an encoder of "
      "clouds, images or voxels"
    )
