"""The surface of every system lies where the config's threshold says, in its unit."""

import math

import pytest

from configs import base
from occnet_jax import config as config_lib
from occnet_jax.evaluation import validation_meshes
from occnet_jax.models import registry


def make_model(name, **fields):
  return base.get_config(name).to_dict()["model"] | {"codes": 3} | fields


@pytest.mark.parametrize(
  ("name", "threshold", "level"),
  [
    ("convonet", None, math.log(0.2 / 0.8)),
    ("onet", None, math.log(0.2 / 0.8)),
    ("onet", 0.3, math.log(0.3 / 0.7)),
    ("ifnet", None, 0.0),
    ("ifnet", 0.3, math.log(0.3 / 0.7)),
    ("r2n2", None, math.log(0.4 / 0.6)),
    ("r2n2", 0.3, math.log(0.3 / 0.7)),
    ("deepsdf", None, 0.0),
    ("single", None, 0.0),
    ("single", 0.3, math.log(0.3 / 0.7)),
    ("siren", None, 0.0),
    ("siren", 0.01, -0.01),
    ("sap", None, 0.0),
    ("sap", -0.1, -0.1),
    ("deepsdf", 0.01, -0.01),  # fields are larger inside, distances are negative there
  ],
)
def test_a_threshold_is_a_probability_or_a_distance_or_a_value(name, threshold, level):
  output = registry.build(make_model(name), threshold=threshold).output
  assert output.level == pytest.approx(level)
  assert not f"{output.level:.3g}".startswith("-0") or level < 0


def test_the_level_of_validation_counts_unless_a_threshold_is_given():
  model = make_model("onet")
  assert registry.build(model, level=-1.0).output.level == -1.0
  assert registry.build(model, level=-1.0, threshold=0.5).output.level == 0.0
  assert registry.build(make_model("r2n2"), level=-1.0).output.level != -1.0


@pytest.mark.parametrize("name", ["onet", "r2n2", "ifnet", "single"])
def test_a_probability_of_zero_is_no_threshold(name):
  with pytest.raises(ValueError, match="want a probability between 0 and 1"):
    registry.build(make_model(name), threshold=0.0)


@pytest.mark.parametrize("encoder", ["none", "code_table"])
def test_a_grid_needs_an_observation(encoder):
  config = base.get_config("r2n2").to_dict()
  config["model"]["encoder"] = encoder
  with pytest.raises(ValueError, match=f"'{encoder}'; r2n2 wants an encoder of clouds"):
    registry.build(config_lib.with_codes(config, 3)["model"])


@pytest.mark.parametrize("name", ["onet", "r2n2", "deepsdf"])
def test_meshes_of_validation_have_the_threshold_of_the_config(name):
  config = base.get_config(name)
  config.test.threshold = 0.3
  if name == "deepsdf":
    config.model.codes = 3
  settings = config_lib.parse(config.to_dict())
  meshes = validation_meshes.ValidationMeshes(settings, 1)
  expected = -0.3 if name == "deepsdf" else math.log(0.3 / 0.7)
  assert meshes.method.output.level == pytest.approx(expected)
