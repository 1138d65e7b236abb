"""Validation: means over shapes and the level that does best."""

import jax.numpy as jnp
import numpy as np
import pytest

from occnet_jax.train import evaluators
from occnet_jax.types import Field, Grid, Method

IOUS = np.array([[0.1, 0.5, 0.4], [0.3, 0.7, 0.9], [0.2, 0.6, 0.2], [9.0, 9.0, 9.0]])


def method(output, name="iou"):
  """Scores are the inputs themselves."""

  def score(variables, batch):
    scale = variables["params"]["scale"]
    return {"loss": scale * batch["inputs"][:, 0], name: batch["inputs"]}

  return Method(None, None, None, None, output, score)


def batches():
  """Three shapes that count in two batches of two."""
  scores = jnp.asarray(IOUS, jnp.float32)
  return [({"inputs": scores[:2]}, 2), ({"inputs": scores[2:]}, 1)]


def test_scores_are_means_over_shapes_at_the_level_that_does_best():
  variables = {"params": {"scale": jnp.float32(2.0)}}
  output = Field(0.0, (-1.0, 0.25, 2.0))
  results = evaluators.validate(method(output), variables, batches())
  assert results.keys() == {"loss", "iou", "level"}
  assert results["level"] == 0.25  # not the last, whose best shape is better
  assert results["iou"] == pytest.approx(0.6)
  assert results["loss"] == pytest.approx(2 * 0.2)


def test_a_grid_has_no_level_to_choose():
  def score(variables, batch):
    return {"loss": batch["inputs"][:, 0]}

  grid = Method(None, None, None, None, Grid(0.5), score)
  assert evaluators.validate(grid, {}, batches()) == {"loss": pytest.approx(0.2)}


def test_no_shape_is_an_error():
  with pytest.raises(ValueError, match="the validation split is empty"):
    evaluators.validate(method(Field(0.0)), {}, [])
