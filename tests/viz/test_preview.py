import jax
import numpy as np
import pytest

from occnet_jax.data import inputs as inputs_lib
from occnet_jax.models import registry
from occnet_jax.viz import preview


@pytest.fixture
def variables(tiny_config):
  method = registry.build(tiny_config["model"], tau=0.5)
  forms = registry.variable_forms(method, inputs_lib.make(tiny_config["data"]).form)
  return jax.tree.map(lambda form: np.full(form.shape, 0.01, form.dtype), forms)


def test_a_picture_shows_the_input_and_the_truth_of_every_shape(
  variables, tiny_config, tmp_path
):
  pytest.importorskip("embreex")
  tiny_config["train"]["pictures"] = 2
  before = jax.tree.map(np.copy, variables)
  found = preview.make(tiny_config, tmp_path)(variables, 0.5)
  assert found.dtype == np.uint8 and found.shape == (192, 6 * 192, 3)
  tiles = np.split(found, 6, axis=1)
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
  assert preview.make(tiny_config, tmp_path)(variables, 0.5) is None
  assert "no picture of validation" in caplog.text


def test_no_pictures_are_no_work(variables, tiny_config, tmp_path):
  tiny_config["train"]["pictures"] = 0
  assert preview.make(tiny_config, tmp_path)(variables, 0.5) is None
  assert not (tmp_path / "logs").exists()
