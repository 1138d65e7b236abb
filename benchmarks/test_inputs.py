"""The network's inputs of some test shapes of a run."""

import numpy as np

from occnet_jax.api import Model
from occnet_jax.data import batches, loader, source


def read_test_inputs(model: Model, count: int) -> dict[int, np.ndarray]:
  """Inputs of evenly spread test shapes, by their index in the split."""
  settings = model.settings
  split = source.open_split(
    settings.data.dir, settings.test.split, {**model.observation.fields, "points": True}
  )
  transform = batches.evaluation_transform(settings.data, points=1)
  return {
    i: np.asarray(transform(split[i], loader.shape_rng(settings.seed, i))["inputs"])
    for i in loader.evenly_spaced(len(split), count).tolist()
  }
