"""Fields of config.model for Deep Marching Cubes (Liao et al. 2018)."""

import ml_collections


def get_config() -> ml_collections.ConfigDict:
  model = ml_collections.ConfigDict()
  model.name = "dmc"
  model.resolution = 32  # cells a side of the grid, which covers a cube of side 1.2
  model.c_dim = 16  # features of each cell that the encoder of points makes
  # Whether curvature is weighed as in the published code, which hardly depends on how
  # likely a topology is (nn/dmc_losses.py); otherwise by the probabilities.
  model.published_curvature = False
  # Whether running variances are unbiased, as PyTorch's, or biased, as Flax's.
  model.unbiased_variance = True
  return model
