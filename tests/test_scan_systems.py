"""The systems that benchmarks.scan_systems compares have the same data and draws."""

import argparse
import pathlib

import pytest

from benchmarks import scan_systems
from configs import scan
from occnet_jax import config as config_lib
from occnet_jax.models import registry

FOLDERS = {name: pathlib.Path(name) for name in ("data", "hollow", "mine")}


@pytest.mark.parametrize("system", scan_systems.SYSTEMS)
def test_a_system_has_the_data_and_draws_of_the_recipe(system):
  config = scan_systems.configure(system, argparse.Namespace(**FOLDERS), steps=40)
  settings = config_lib.parse(config)
  registry.build(settings.model)
  recipe = config_lib.parse(scan.get_config().to_dict())
  assert settings.data.mixture == (("hollow", 1), ("mine", 1))
  assert settings.data.dir == "data" and settings.train.steps == 40
  draws = settings.data.scan
  if system == "code":  # of a fixed number of points
    assert tuple(draws.points) == (300, 300)
    draws = draws._replace(points=recipe.data.scan.points)
  assert draws == recipe.data.scan
  for name in ("points", "near_fraction", "random_stretch"):
    assert getattr(settings.data, name) == getattr(recipe.data, name)
  assert settings.train.batch_size == 8
  assert settings.generation == recipe.generation
  same_optimiser = settings.optim._replace(ema_batches=0) == recipe.optim
  assert same_optimiser == (system != "code")
