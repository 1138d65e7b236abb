"""Weights that a run starts with in place of random ones (host)."""

import pathlib
from typing import Any

import jax
import numpy as np

from occnet_jax import api
from occnet_jax.config import Config
from occnet_jax.interop import resnet_weights
from occnet_jax.train import state as state_lib
from occnet_jax.train.state import TrainState


def initialise(config: Config, state: TrainState) -> TrainState:
  """A fresh state with the weights that the config names, if it names any.

  Args:
    config: `train.start_from` names a run or a pretrained model, whose optimiser's
      state and step are left behind; `model.pretrained` a file of a ResNet's features.
    state: the fresh state.

  Raises:
    ValueError: there is no such model, or its arrays are of other shapes.
  """
  variables = {"params": state.params, "batch_stats": state.batch_stats}
  if name := config["train"]["start_from"]:
    variables = _read_model(name, variables)
  if path := config["model"].get("pretrained"):
    encoder = {part: tree.get("encoder", {}) for part, tree in variables.items()}
    encoder = resnet_weights.with_pretrained_features(path, encoder)
    variables = {
      part: {**tree, "encoder": encoder[part]} for part, tree in variables.items()
    }
  ema = None if state.ema is None else jax.tree.map(np.copy, variables)
  return state.replace(**variables, ema=ema)


def _read_model(name: str, variables: Any) -> Any:
  """The variables of a run or a pretrained model, in the place of these."""
  is_run = (pathlib.Path(name) / "checkpoints").is_dir()
  model = api.restore(name) if is_run else api.from_pretrained(name)
  try:
    return state_lib.refill(variables, {"batch_stats": {}, **model.variables})
  except ValueError as error:
    raise ValueError(f"config.train.start_from={name}: {error}") from error
