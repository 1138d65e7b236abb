import jax
import numpy as np
import pytest

from occnet_jax.config import parse
from occnet_jax.data.example_batch import example_batch
from occnet_jax.models import registry
from occnet_jax.viz import preview


@pytest.fixture
def variables(tiny_config):
  method = registry.build(tiny_config["model"])
  specs = registry.variable_specs(method, example_batch(parse(tiny_config).data))
  return jax.tree.map(lambda spec: np.full(spec.shape, 0.01, spec.dtype), specs)


def draw(config, folder, variables):
  return preview.make_preview(parse(config), folder).fn(variables, {"level": 0.0})


def test_a_picture_shows_the_observation_and_the_truth_of_every_shape(
  variables, tiny_config, tmp_path
):
  pytest.importorskip("embreex")
  tiny_config["train"]["preview_shapes"] = 2
  before = jax.tree.map(np.copy, variables)
  picture = draw(tiny_config, tmp_path, variables)["shapes"]
  assert picture.dtype == np.uint8 and picture.shape == (192, 6 * 192, 3)
  tiles = np.split(picture, 6, axis=1)
  inked = [bool((tile < 250).any()) for tile in tiles]
  assert [inked[i] for i in (0, 2, 3, 5)] == [True] * 4
  assert not np.array_equal(tiles[2], tiles[5])  # another shape
  assert (tmp_path / "logs" / "validation.png").stat().st_size > 1000
  jax.tree.map(np.testing.assert_array_equal, variables, before)


def test_a_picture_that_fails_is_a_warning_and_not_the_end(
  variables, tiny_config, tmp_path, caplog
):
  pytest.importorskip("embreex")
  tiny_config["data"]["dir"] = str(tmp_path / "nowhere")
  assert draw(tiny_config, tmp_path, variables) == {}
  assert "no picture of validation" in caplog.text
