"""A run that starts with the weights of another."""

import jax
import numpy as np
import pytest

from occnet_jax import api
from occnet_jax import config as config_lib
from occnet_jax.cli import first_weights, stages
from occnet_jax.data.example_batch import example_batch
from occnet_jax.models import registry
from occnet_jax.train import checkpoint, optimizers
from occnet_jax.train import state as state_lib


def fresh_state(config):
  settings = config_lib.parse(config)
  return state_lib.create(
    registry.build(settings.model),
    optimizers.make(settings.optim, settings.train.steps),
    example_batch(settings.data, 2),
    seed=0,
    ema=settings.optim.ema_decay > 0,
  )


@pytest.mark.parametrize("form", ["run", "pretrained"])
def test_a_run_starts_with_the_published_weights_of_another(
  tiny_config, tiny_run, tmp_path, form
):
  model = api.restore(tiny_run)
  name = tiny_run
  if form == "pretrained":
    name = tmp_path / "model"
    model.save_pretrained(name, dtype="float32")
  fresh = fresh_state(tiny_config)
  tiny_config["train"]["start_from"] = str(name)
  state = first_weights.initialise(tiny_config, fresh)
  for part in ("params", "batch_stats"):
    for tree in (getattr(state, part), state.ema[part]):
      jax.tree.map(np.testing.assert_array_equal, tree, model.variables[part])
  assert int(state.step) == 0
  jax.tree.map(np.testing.assert_array_equal, state.opt_state, fresh.opt_state)


def test_the_stage_trains_on_from_them(tiny_config, tiny_run, tmp_path):
  tiny_config["train"] |= {"start_from": str(tiny_run), "steps": 1, "preview_shapes": 0}
  tiny_config["optim"]["learning_rate"] = 0.0
  stages.train(tiny_config, tmp_path)
  saved = checkpoint.restore(tmp_path).state["params"]
  expected = api.restore(tiny_run).variables["params"]
  jax.tree.map(np.testing.assert_array_equal, saved, expected)


def test_weights_of_another_network_are_refused(tiny_config, tiny_run):
  tiny_config["model"]["c_dim"] = 8
  fresh = fresh_state(tiny_config)
  tiny_config["train"]["start_from"] = str(tiny_run)
  with pytest.raises(ValueError, match=r"start_from=\S+: the checkpoint does not fit"):
    first_weights.initialise(tiny_config, fresh)
